import { NameTable, nextHash } from "./name-table.ts";
import { syntaxErrorAt } from "./syntax-error.ts";
import type { MilSyntaxError } from "./syntax-error.ts";

export const CHARACTER = {
  quote: 0x22,
  open: 0x28,
  close: 0x29,
  plus: 0x2b,
  comma: 0x2c,
  minus: 0x2d,
  dot: 0x2e,
  slash: 0x2f,
  zero: 0x30,
  nine: 0x39,
  semicolon: 0x3b,
  less: 0x3c,
  equals: 0x3d,
  greater: 0x3e,
  question: 0x3f,
  openBracket: 0x5b,
  backslash: 0x5c,
  closeBracket: 0x5d,
  openBrace: 0x7b,
  closeBrace: 0x7d,
} as const;

const SPACE = 1;
const NAME_START = 2;
const NAME_PART = 4;

/** What each byte may be. */
const CLASSES = new Uint8Array(256);
for (const character of " \t\r\n\f\v") CLASSES[character.charCodeAt(0)] = SPACE;
for (let code = 0; code < 128; code++) {
  const character = String.fromCharCode(code);
  if (/[A-Za-z_]/.test(character)) CLASSES[code] = NAME_START | NAME_PART;
  else if (/[0-9@]/.test(character)) CLASSES[code] = NAME_PART;
}

/** How deep types, values and blocks may stand in one another. */
export const MAXIMUM_DEPTH = 128;

/** Strings of up to so many bytes are kept once. */
const INTERNED_LENGTH = 64;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** A position in the bytes of a text, with the small steps that the parsers are made of. */
export class Scanner {
  readonly bytes: Buffer;
  readonly fileName: string;
  readonly end: number;
  position: number;
  #depth = 0;
  readonly #names: NameTable;

  constructor(text: string | Uint8Array, fileName: string) {
    this.bytes =
      typeof text === "string"
        ? Buffer.from(text)
        : Buffer.from(text.buffer, text.byteOffset, text.byteLength);
    this.fileName = fileName;
    this.end = this.bytes.length;
    this.#names = new NameTable(this.bytes);
    const marked = this.bytes[0] === 0xef && this.bytes[1] === 0xbb && this.bytes[2] === 0xbf;
    this.position = marked ? 3 : 0;
  }

  /** Skips blanks and `//` comments and returns the byte there, or -1 at the end. */
  peek(): number {
    const { bytes, end } = this;
    let { position } = this;
    const next = bytes[position] ?? 0;
    if (next > 0x20 && next !== CHARACTER.slash) return next;
    for (;;) {
      while (position < end && CLASSES[bytes[position] ?? 0] === SPACE) position++;
      if (bytes[position] !== CHARACTER.slash || bytes[position + 1] !== CHARACTER.slash) break;
      const newline = bytes.indexOf(10, position);
      position = newline === -1 ? end : newline + 1;
    }
    this.position = position;
    return position < end ? (bytes[position] ?? -1) : -1;
  }

  tryTake(character: number): boolean {
    if (this.peek() !== character) return false;
    this.position++;
    return true;
  }

  /** `expected` says what should stand here, where the character alone does not. */
  take(character: number, expected?: string): void {
    if (this.peek() !== character) {
      throw this.expected(expected ?? JSON.stringify(String.fromCharCode(character)));
    }
    this.position++;
  }

  /** Reads items with commas between them up to `close`, which is taken too; the opening bracket has been. */
  list(close: number, readItem: () => void): void {
    if (this.tryTake(close)) return;
    do readItem();
    while (this.tryTake(CHARACTER.comma));
    this.take(close, `"," or "${String.fromCharCode(close)}"`);
  }

  /** Whether a name starts here. */
  atName(): boolean {
    return ((CLASSES[Math.max(this.peek(), 0)] ?? 0) & NAME_START) !== 0;
  }

  name(expected: string): string {
    if (!this.atName()) throw this.expected(expected);
    const start = this.position;
    const { bytes } = this;
    let position = start;
    let hash = 0;
    for (;;) {
      const byte = bytes[position] ?? 0;
      if (((CLASSES[byte] ?? 0) & NAME_PART) === 0) break;
      hash = nextHash(hash, byte);
      position++;
    }
    this.position = position;
    return this.#names.intern(start, position, hash);
  }

  /** The name here without taking it, or nothing. */
  peekName(): string | undefined {
    if (!this.atName()) return undefined;
    const start = this.position;
    const name = this.name("a name");
    this.position = start;
    return name;
  }

  /** The byte after the blanks that follow the name here. */
  peekAfterName(): number {
    const start = this.position;
    this.position = this.#nameEnd(start);
    const character = this.peek();
    this.position = start;
    return character;
  }

  word(word: string): void {
    if (this.peekName() !== word) throw this.expected(`"${word}"`);
    this.position += word.length;
  }

  /** The distinct string of a range of ASCII bytes. */
  intern(start: number, end: number, hash: number): string {
    return this.#names.intern(start, end, hash);
  }

  isNamePart(position: number): boolean {
    return position < this.end && ((CLASSES[this.bytes[position] ?? 0] ?? 0) & NAME_PART) !== 0;
  }

  /** A quoted string with the escapes \" \\ \n \t \r \0 \xHH \uHHHH. */
  string(): string {
    if (this.peek() !== CHARACTER.quote) throw this.expected("a string in double quotes");
    const { bytes, end } = this;
    const start = this.position + 1;
    let position = start;
    let escaped = false;
    let seen = 0;
    let hash = 0;
    for (;;) {
      const character = bytes[position] ?? 0;
      seen |= character;
      if (position >= end) throw this.error(start - 1, "this string has no closing quote");
      if (character === CHARACTER.quote) break;
      if (character === CHARACTER.backslash) {
        escaped = true;
        position++;
      }
      hash = nextHash(hash, character);
      position++;
    }
    this.position = position + 1;
    if (!escaped && seen < 0x80 && position - start <= INTERNED_LENGTH) {
      return this.#names.intern(start, position, hash);
    }
    let text: string;
    try {
      text = utf8.decode(bytes.subarray(start, position));
    } catch {
      throw this.error(start - 1, "this string is not UTF-8");
    }
    return escaped ? this.#unescape(text, start) : text;
  }

  /** A whole number of at most 2^53 - 1, such as a size. */
  count(expected: string): number {
    this.peek();
    const { bytes } = this;
    const start = this.position;
    let position = start;
    let value = 0;
    for (;;) {
      const digit = (bytes[position] ?? 0) - CHARACTER.zero;
      if (digit < 0 || digit > 9 || position >= this.end) break;
      value = value * 10 + digit;
      position++;
    }
    if (position === start || this.isNamePart(position)) throw this.expected(expected);
    if (value > Number.MAX_SAFE_INTEGER) throw this.error(start, "this number is too large");
    this.position = position;
    return value;
  }

  /** Runs a parser one level deeper. Throws where a text nests without end. */
  deeper<Result>(parse: () => Result): Result {
    if (this.#depth >= MAXIMUM_DEPTH) {
      throw this.error(this.position, `nested more than ${MAXIMUM_DEPTH} levels deep`);
    }
    this.#depth++;
    const result = parse();
    this.#depth--;
    return result;
  }

  error(offset: number, problem: string): MilSyntaxError {
    return syntaxErrorAt(this.bytes, this.fileName, offset, problem);
  }

  /** The error that something else stands at the position. */
  expected(what: string): MilSyntaxError {
    this.peek();
    return this.error(this.position, `expected ${what}, found ${this.#found()}`);
  }

  #found(): string {
    const { position } = this;
    if (position >= this.end) return "the end of the text";
    const byte = this.bytes[position] ?? 0;
    if (byte === CHARACTER.quote) return "a string";
    let length = 1;
    if (this.isNamePart(position))
      while (this.isNamePart(position + length) && length < 40) length++;
    else if (byte >= 0x80) length = 4;
    const text = new TextDecoder().decode(this.bytes.subarray(position, position + length));
    const [first = ""] = text;
    return JSON.stringify(byte >= 0x80 ? first : text);
  }

  #nameEnd(start: number): number {
    const { bytes, end } = this;
    let position = start + 1;
    while (position < end && ((CLASSES[bytes[position] ?? 0] ?? 0) & NAME_PART) !== 0) position++;
    return position;
  }

  #unescape(text: string, start: number): string {
    return text.replaceAll(
      /\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|(.|$))/gsu,
      (_, byte: string | undefined, unit: string | undefined, simple: string | undefined) => {
        const code = byte ?? unit;
        if (code !== undefined) return String.fromCharCode(Number.parseInt(code, 16));
        const replaced = SIMPLE_ESCAPES.get(simple ?? "");
        if (replaced === undefined) {
          throw this.error(start - 1, `this string has an unknown escape "\\${simple}"`);
        }
        return replaced;
      },
    );
  }
}

const SIMPLE_ESCAPES: ReadonlyMap<string, string> = new Map([
  ['"', '"'],
  ["'", "'"],
  ["\\", "\\"],
  ["/", "/"],
  ["n", "\n"],
  ["t", "\t"],
  ["r", "\r"],
  ["0", "\0"],
]);
