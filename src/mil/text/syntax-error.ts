import { MilError } from "../errors.ts";

/** A text that is not MIL: where, the line itself with a mark under the place, and what was expected. */
export class MilSyntaxError extends MilError {
  readonly fileName: string;
  /** Counted from 1. */
  readonly line: number;
  /** In characters, counted from 1. */
  readonly column: number;

  constructor(fileName: string, line: number, column: number, problem: string, excerpt: string) {
    super("mil.syntax", `${fileName}:${line}:${column}: ${problem}\n${excerpt}`);
    this.fileName = fileName;
    this.line = line;
    this.column = column;
  }
}

/** Characters of a long line that are shown on either side of the mark. */
const CONTEXT = 60;

const NEWLINE = 10;

/** The error for a byte position of a UTF-8 text. */
export function syntaxErrorAt(
  bytes: Uint8Array,
  fileName: string,
  offset: number,
  problem: string,
): MilSyntaxError {
  let line = 1;
  let start = 0;
  for (let at = bytes.indexOf(NEWLINE); at !== -1 && at < offset;) {
    line++;
    start = at + 1;
    at = bytes.indexOf(NEWLINE, start);
  }
  let column = 1;
  for (let i = start; i < offset; i++) if (((bytes[i] ?? 0) & 0xc0) !== 0x80) column++;
  const newline = bytes.indexOf(NEWLINE, offset);
  const end = newline === -1 ? bytes.length : newline;
  const from = Math.max(start, offset - CONTEXT);
  const to = Math.min(end, offset + CONTEXT);
  const before = shown(bytes, from, offset, from > start ? "..." : "");
  const after = shown(bytes, offset, to, "") + (to < end ? "..." : "");
  const gutter = `  ${line} | `;
  const mark = `${" ".repeat(gutter.length - 2)}| ${" ".repeat(Array.from(before).length)}^`;
  return new MilSyntaxError(fileName, line, column, problem, `${gutter}${before}${after}\n${mark}`);
}

function shown(bytes: Uint8Array, from: number, to: number, prefix: string): string {
  const text = new TextDecoder().decode(bytes.subarray(from, to));
  return prefix + text.replaceAll(/[^ -~\u00a0-\uffff]/g, " ");
}
