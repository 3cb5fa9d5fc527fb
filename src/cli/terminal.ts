import { styleText } from "node:util";
import { asTyped } from "./typed-command.ts";
import { printable } from "../util/printable.ts";

type Style = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";

/** Whether a stream is a terminal that wants colours (NO_COLOR and CI switch them off). */
export function wantsColor(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY && !process.env["NO_COLOR"] && !process.env["CI"];
}

/** Text in a style where the stream shows styles, plain otherwise. */
export function styled(stream: NodeJS.WriteStream, style: Style, text: string): string {
  return wantsColor(stream) ? styleText(style, text) : text;
}

/** A value as one line of JSON on standard output. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** What a command tells: with `--json` a value, else a text. */
export function answer(
  { json }: { readonly json?: boolean },
  value: unknown,
  text: () => string,
): void {
  if (json === true) printJson(value);
  else process.stdout.write(text());
}

/** What a user should know and no program reads: a line on standard error. */
export function printNote(message: string): void {
  process.stderr.write(
    `${styled(process.stderr, "yellow", "note:")} ${printable(asTyped(message))}\n`,
  );
}

/** One line at the bottom of a terminal that is rewritten in place; silent where there is no terminal. */
export class StatusLine {
  readonly #stream: NodeJS.WriteStream;
  readonly #live: boolean;
  #shown = "";
  #lastDrawnMs = 0;

  constructor(stream: NodeJS.WriteStream = process.stderr) {
    this.#stream = stream;
    this.#live = stream.isTTY && !process.env["CI"];
  }

  get isLive(): boolean {
    return this.#live;
  }

  /** Shows `text`, at most ten times a second unless it is `important`. */
  show(text: string, important = false): void {
    if (!this.#live) return;
    const nowMs = Date.now();
    if (!important && nowMs - this.#lastDrawnMs < 100) return;
    this.#lastDrawnMs = nowMs;
    this.#shown = text.slice(0, Math.max(20, this.#stream.columns - 1));
    this.#stream.write(`\r\u001b[2K${this.#shown}`);
  }

  /** Prints a line that stays, above the status. */
  print(line: string): void {
    if (this.#live && this.#shown !== "") this.#stream.write("\r\u001b[2K");
    this.#stream.write(`${line}\n`);
    if (this.#live && this.#shown !== "") this.#stream.write(this.#shown);
  }

  clear(): void {
    if (this.#live && this.#shown !== "") this.#stream.write("\r\u001b[2K");
    this.#shown = "";
  }
}
