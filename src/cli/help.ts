import { Command, Option } from "commander";
import type { AddHelpTextContext, AddHelpTextPosition } from "commander";
import { COMMON_OPTIONS } from "./common-options.ts";
import { styled } from "./terminal.ts";
import { asTyped } from "./typed-command.ts";

/** What help tells of an option beside its words. */
interface OptionNote {
  /** Other spellings, as flags. */
  readonly aliases: readonly string[];
  /** What holds where it is not given. */
  readonly fallback: unknown;
}

const NOTES = new WeakMap<Option, OptionNote>();

/** Notes what help tells of an option. */
export function noteHelp(option: Option, note: OptionNote): void {
  NOTES.set(option, note);
}

/** Commands with more options show the common ones alone. */
const MANY_OPTIONS = 12;
const NARROWEST = 40;
const WIDEST = 100;
/** Columns of an option's flags; longer ones have a line of their own. */
const TERM_COLUMNS = 26;

/**
 * A command whose help fits the terminal: examples first, then the options that most people need with what holds
 * where they are not given. `--help-all` has all of them, in groups, with their other spellings.
 */
export class HelpfulCommand extends Command {
  /** Texts of `addHelpText`: paragraphs, of which those that begin with "Example" are examples. */
  readonly #texts: string[] = [];
  #showsAll = false;

  override createCommand(name?: string): Command {
    return new HelpfulCommand(name);
  }

  override addHelpText(position: AddHelpTextPosition, text: string): this;
  override addHelpText(
    position: AddHelpTextPosition,
    text: (context: AddHelpTextContext) => string,
  ): this;
  override addHelpText(
    position: AddHelpTextPosition,
    text: string | ((context: AddHelpTextContext) => string),
  ): this {
    if (typeof text !== "string") return super.addHelpText(position, text);
    if (position !== "after") return super.addHelpText(position, text);
    this.#texts.push(text);
    return this;
  }

  /** Prints all there is to tell, and ends. */
  helpAll(): never {
    this.showAll();
    this.help();
  }

  /** Makes help tell all options. */
  showAll(): this {
    this.#showsAll = true;
    return this;
  }

  override helpInformation(): string {
    const width = Math.min(WIDEST, Math.max(NARROWEST, process.stdout.columns ?? 80));
    const bold = (text: string): string => styled(process.stdout, "bold", text);
    const paragraphs = this.#texts.flatMap((text) =>
      asTyped(text)
        .trim()
        .split(/\n{2,}/),
    );
    const isExample = (text: string): boolean => /^Examples?:/.test(text);
    const parts = [
      `${bold("Usage:")} ${pathOf(this)} ${this.usage()}`,
      wrapped(this.description(), width).join("\n"),
      ...paragraphs
        .filter(isExample)
        .map((text) => headed(text, bold, (line) => broken(line, width))),
      this.#argumentLines(width, bold),
      this.#commandLines(width, bold),
      ...this.#optionLines(width, bold),
      ...paragraphs
        .filter((text) => !isExample(text))
        .map((text) =>
          text.includes("\n  ")
            ? headed(text, bold, (line) => hanging(line, width))
            : flowed(text, width),
        ),
    ];
    return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
  }

  #argumentLines(width: number, bold: (text: string) => string): string {
    const rows = this.registeredArguments
      .filter(({ description }) => description !== "")
      .map((argument) => listed(argument.name(), argument.description, width));
    return rows.length === 0 ? "" : [bold("Arguments:"), ...rows].join("\n");
  }

  #commandLines(width: number, bold: (text: string) => string): string {
    const rows = this.commands.map((child) => listed(child.name(), child.description(), width));
    if (this.parent === null) rows.push(listed("help <command>", "the help of a command", width));
    return rows.length === 0 ? "" : [bold("Commands:"), ...rows].join("\n");
  }

  #optionLines(width: number, bold: (text: string) => string): readonly string[] {
    const visible = this.options.filter(({ hidden }) => !hidden);
    const common = COMMON_OPTIONS[nameOf(this)];
    const rowOf = (option: Option): string => listed(option.flags, this.#describe(option), width);
    if (this.#tellsAll || common === undefined) {
      const groups = new Map<string, string[]>();
      for (const option of visible) {
        const group = option.helpGroupHeading?.replace(/:$/, "") ?? "Options";
        groups.set(group, [...(groups.get(group) ?? []), rowOf(option)]);
      }
      const first = groups.get("Options") ?? [];
      groups.set("Options", [...first, listed("-h, --help", "show this help", width)]);
      return [...groups].map(([group, rows]) => [bold(`${group}:`), ...rows].join("\n"));
    }
    const shown = common.flatMap((flag) => visible.filter(({ long }) => long === flag));
    const others = visible.length - shown.length;
    const more = `${others} more options${groupsOf(visible, shown)}:`;
    return [
      [bold("Options that most people need:"), ...shown.map(rowOf)].join("\n"),
      [...wrapped(more, width), `  ${asTyped(`${pathOf(this)} --help-all`)}`].join("\n"),
    ];
  }

  get #tellsAll(): boolean {
    return this.#showsAll || !hasMany(this);
  }

  #describe(option: Option): string {
    const { aliases, fallback } = NOTES.get(option) ?? { aliases: [], fallback: undefined };
    const value: unknown = fallback ?? option.defaultValue;
    // That options which may be given several times begin with none tells nothing; nor does a flag that is not set.
    const isTold =
      value !== undefined &&
      value !== false &&
      !Array.isArray(value) &&
      !option.negate &&
      !option.description.includes("default");
    const known = isTold
      ? ` (default: ${typeof value === "string" ? value : JSON.stringify(value)})`
      : "";
    const also = this.#tellsAll && aliases.length > 0 ? ` (also ${aliases.join(", ")})` : "";
    return `${option.description}${known}${also}`;
  }
}

/** Adds `--help-all` to commands whose help leaves options out. */
export function addHelpAll(command: Command): void {
  if (command instanceof HelpfulCommand && hasMany(command)) {
    command.addOption(new Option("--help-all", "all options").hideHelp());
    command.on("option:help-all", () => command.helpAll());
  }
  for (const child of command.commands) addHelpAll(child);
}

function hasMany(command: Command): boolean {
  return (
    COMMON_OPTIONS[nameOf(command)] !== undefined &&
    command.options.filter(({ hidden }) => !hidden).length > MANY_OPTIONS
  );
}

/** Words from the program's name on. */
function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;
}

function nameOf(command: Command): string {
  return pathOf(command).split(" ").slice(1).join(" ");
}

/** Headings of the options that are not shown, as words. */
function groupsOf(visible: readonly Option[], shown: readonly Option[]): string {
  const names = visible
    .filter((option) => !shown.includes(option))
    .map(({ helpGroupHeading: name }) => (name ?? "").replace(/:$/, "").toLowerCase());
  const known = [...new Set(names)].filter((name) => name !== "" && name !== "options");
  return known.length === 0 ? "" : `, for ${known.join(", ")}`;
}

/** A paragraph with its first line as a heading. */
function headed(
  text: string,
  bold: (text: string) => string,
  lined: (line: string) => readonly string[],
): string {
  const [first = "", ...rest] = text.split("\n");
  return [first.endsWith(":") ? bold(first) : first, ...rest.flatMap(lined)].join("\n");
}

/** A command line in lines of a shell: it goes on after a backslash, before a flag. */
function broken(line: string, width: number): readonly string[] {
  const lines: string[] = [];
  let current = "";
  for (const part of line.trimEnd().split(/ (?=--|#)/)) {
    if (current !== "" && current.length + 1 + part.length + 2 > width) {
      lines.push(part.startsWith("#") ? current : `${current} \\`);
      current = `    ${part}`;
    } else current = current === "" ? part : `${current} ${part}`;
  }
  return [...lines, current];
}

/** A row of a list: what does not fit goes on below its second column. */
function hanging(line: string, width: number): readonly string[] {
  const [, term = "", description = ""] = /^(\s*\S+\s{2,})(.*)$/.exec(line) ?? [];
  if (line.length <= width || term === "") return [line];
  const [first = "", ...rest] = wrapped(description, width - term.length);
  return [term + first, ...rest.map((more) => " ".repeat(term.length) + more)];
}

function flowed(text: string, width: number): string {
  return wrapped(text.replaceAll("\n", " "), width).join("\n");
}

/** A term with its description beside it, or below it where the term is long. */
function listed(term: string, description: string, width: number): string {
  const indent = " ".repeat(TERM_COLUMNS + 2);
  const lines = wrapped(description, width - indent.length);
  if (term.length + 3 > indent.length) {
    return [`  ${term}`, ...lines.map((line) => indent + line)].join("\n");
  }
  const [first = "", ...rest] = lines;
  return [`  ${term}`.padEnd(indent.length) + first, ...rest.map((line) => indent + line)].join(
    "\n",
  );
}

/** Lines of whole words; a word that is longer than a line stands alone. */
function wrapped(text: string, columns: number): readonly string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/\s+/).filter((part) => part !== "")) {
    if (line !== "" && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return line === "" ? lines : [...lines, line];
}
