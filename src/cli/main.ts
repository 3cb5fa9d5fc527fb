import { Command, CommanderError, Help } from "commander";
import { EXIT_CODES, exitCodeOf, reportError } from "./errors.ts";
import { registerCommands } from "./commands.ts";
import { exitAtOnce, hasStuckThread } from "../util/stuck-thread.ts";
import { didYouMean } from "../util/nearest.ts";
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
  const usual = new Help();
  const program = new Command("anecdote")
    .description(
      "Trains language models on the Apple Neural Engine, and the same programs anywhere.",
    )
    .version(VERSION)
    .exitOverride()
    .configureHelp({
      sortSubcommands: false,
      // That options which may be given several times begin with none tells nothing.
      optionDescription: (option) => usual.optionDescription(option).replace(" (default: [])", ""),
    })
    .showHelpAfterError("(add --help for the options)");
  let exitCode: number = EXIT_CODES.ok;
  const exit = (code: number): void => {
    exitCode = code;
  };
  await registerCommands(program, exit, argv);
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

/** Throws for `help zork`, which commander answers with the help of all commands. */
function requireCommand(program: Command, [first, name]: readonly string[]): void {
  if (first !== "help" || name === undefined || name.startsWith("-")) return;
  const names = program.commands.map((command) => command.name());
  if (name === "help" || names.includes(name)) return;
  program.error(`error: unknown command '${name}'.${didYouMean(name, names)}`);
}
