import { statSync } from "node:fs";
import { CommanderError } from "commander";
import type { Command } from "commander";
import { HelpfulCommand, addHelpAll } from "./help.ts";
import { EXIT_CODES, UsageError, exitCodeOf, reportError } from "./errors.ts";
import { namedIn, registerCommands } from "./commands.ts";
import { exitAtOnce, hasStuckThread } from "../util/stuck-thread.ts";
import { didYouMean } from "../util/nearest.ts";
import { FOREIGN_NAMES } from "../train/config/foreign-names.ts";
import { foreignHint } from "../util/foreign-names.ts";
import { VERSION } from "../util/version.ts";

/** Runs the command line and returns the exit code; never throws. */
export async function main(argv: readonly string[]): Promise<number> {
  outliveStreams();
  const code = await run(argv);
  if (hasStuckThread()) await exitAtOnce(code);
  return code;
}

/** A pipe whose reader has gone, and a terminal that was closed. */
const LOST: ReadonlySet<string | undefined> = new Set(["EPIPE", "EIO", "ECONNRESET"]);

/**
 * Nobody reads the output any more (`anecdote ops | head`, a closed terminal): the process ends, after saving where a
 * command listens for a hangup. Without a reader of notes it goes on.
 */
function outliveStreams(): void {
  if (isWatched) return;
  isWatched = true;
  const ifLost =
    (then: () => void) =>
    (error: NodeJS.ErrnoException): void => {
      if (!LOST.has(error.code)) throw error;
      then();
    };
  process.stderr.on(
    "error",
    ifLost(() => undefined),
  );
  process.stdout.on(
    "error",
    ifLost(() => {
      if (!process.emit("SIGHUP", "SIGHUP")) process.exit(EXIT_CODES.ok);
    }),
  );
}
let isWatched = false;

async function run(argv: readonly string[]): Promise<number> {
  const program = new HelpfulCommand("anecdote")
    .description(
      "Trains language models on the Apple Neural Engine, and the same programs anywhere.",
    )
    .version(VERSION)
    .exitOverride()
    .addHelpText(
      "after",
      `
Examples:
  anecdote train
  anecdote train --preset nanogpt-char --data input.txt --output-dir runs/mine
  anecdote generate --model runs/mine --prompt "ROMEO:"`,
    )
    .showHelpAfterError("(add --help for the options)")
    .showSuggestionAfterError(false)
    .configureOutput({
      outputError: (text, write) => write(withHint(text, commandOf(program, argv))),
    });
  let exitCode: number = EXIT_CODES.ok;
  const exit = (code: number): void => {
    exitCode = code;
  };
  await registerCommands(program, exit, namedIn(argv));
  addHelpAll(program);
  refuseRepeated(program);
  program.hook("preAction", async (_, command) => {
    if (!argv.some(mayNameModel)) return;
    const { fetchNamedModels } = await import("./fetch-models.ts");
    await fetchNamedModels(command);
  });
  const json = argv.includes("--json");
  try {
    if (argv.length === 0) {
      program.outputHelp();
      return EXIT_CODES.ok;
    }
    requireCommand(program, argv);
    await program.parseAsync([...argv], { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) {
      return error.exitCode === 0 ? EXIT_CODES.ok : EXIT_CODES.usage;
    }
    reportError(error, json);
    return exitCodeOf(error);
  }
}

/** Whether an argument may be a model's name on the Hub, or a file that has one: most are not, and nothing is loaded. */
function mayNameModel(text: string): boolean {
  return (
    /^(?:--[\w-]+=)?[\w.-]+\/[\w.:@=/-]+$/.test(text) ||
    text.startsWith("--config") ||
    text === "-c"
  );
}

/** The command that words name, or the program. */
function commandOf(program: Command, argv: readonly string[]): Command {
  let command = program;
  for (const word of argv) {
    const next = command.commands.find((child) => child.name() === word);
    if (next === undefined) break;
    command = next;
  }
  return command;
}

/** An error of the command line, with what was meant by a name that nothing has. */
function withHint(text: string, command: Command): string {
  const [, flag] = /unknown option '([^']*)'/.exec(text) ?? [];
  const [, word] = /unknown command '([^']*)'/.exec(text) ?? [];
  const at = text.indexOf("\n");
  const [line, rest] = at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at)];
  if (flag !== undefined) {
    const name = flag.split("=")[0] ?? flag;
    return `${line}.${foreignHint(name, FOREIGN_NAMES) ?? nearestFlag(name, command)}${rest}`;
  }
  if (line.includes("too many arguments")) return `${line}${excessHint(command)}${rest}`;
  if (word === undefined || line.includes("Did you mean")) return text;
  const names = command.commands.map((child) => child.name());
  return `${line}.${didYouMean(word, names)}${rest}`;
}

/** Which option the first word may be meant for that a command has no place for. */
function excessHint(command: Command): string {
  const [word] = command.args.slice(command.registeredArguments.length);
  if (word === undefined) return "";
  const has = (flag: string): boolean => command.options.some(({ long }) => long === flag);
  const isFolder = statSync(word, { throwIfNoEntry: false })?.isDirectory();
  const order =
    isFolder === undefined
      ? ["--prompt", "--preset", "--model"]
      : isFolder
        ? ["--model", "--data", "--runs-dir"]
        : ["--data", "--config"];
  const flag = order.find(has);
  const quoted = /\s/.test(word) ? JSON.stringify(word) : word;
  return flag === undefined ? ` "${word}" has no place here.` : ` Did you mean ${flag} ${quoted}?`;
}

function nearestFlag(flag: string, command: Command): string {
  const flags = [...command.options, ...(command.parent?.options ?? [])].flatMap(
    ({ long, short }) => [long, short].filter((name) => name !== undefined && name !== null),
  );
  return didYouMean(flag, [...flags, "--help"]);
}

/** Makes an error of an option that takes one value and is given twice: one of them would do nothing. */
function refuseRepeated(command: Command): void {
  for (const option of command.options) {
    // An option with a parser of its own, or for several values, collects what it is given.
    if (option.parseArg !== undefined || option.variadic) continue;
    let isGiven = false;
    command.on(`option:${option.name()}`, () => {
      if (isGiven) {
        throw new UsageError("cli.option.twice", `--${option.name()} is given twice`, {
          remedy: "Keep one of them.",
        });
      }
      isGiven = true;
    });
  }
  for (const child of command.commands) refuseRepeated(child);
}

/** Throws for `help zork`, which commander answers with the help of all commands. */
function requireCommand(program: Command, [first, name]: readonly string[]): void {
  if (first !== "help" || name === undefined || name.startsWith("-")) return;
  const names = program.commands.map((command) => command.name());
  if (name === "help" || names.includes(name)) return;
  program.error(`error: unknown command '${name}'.${didYouMean(name, names)}`);
}
