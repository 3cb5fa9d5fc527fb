import { complement, jsonCharacterIn, merged } from "./characters.ts";
import type { Range } from "./characters.ts";
import { choice, EMPTY, repeat, sequence } from "./grammar.ts";
import type { Grammar } from "./grammar.ts";
import { TEXT_CHARACTER } from "./json-grammar.ts";

/** What of a pattern cannot be kept. */
export class PatternProblem extends Error {}

const DIGITS: readonly Range[] = [[0x30, 0x39]];
const WORDS: readonly Range[] = [
  [0x30, 0x39],
  [0x41, 0x5a],
  [0x5f, 0x5f],
  [0x61, 0x7a],
];
/** White space as JavaScript has it. */
const SPACES: readonly Range[] = [
  [9, 13],
  [32, 32],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
];
const LINE_ENDS: readonly Range[] = [
  [10, 10],
  [13, 13],
  [0x2028, 0x2029],
];
const CLASSES: Readonly<Record<string, readonly Range[]>> = {
  d: DIGITS,
  D: complement(DIGITS),
  w: WORDS,
  W: complement(WORDS),
  s: SPACES,
  S: complement(SPACES),
};
const CONTROLS: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, f: 12, v: 11, "0": 0 };

/** Times that a part is repeated at most, where a pattern says how often. */
const MOST_TIMES = 100_000;
const MOST_DEPTH = 100;

/**
 * The inside of a JSON text that a regular expression of JavaScript (with its flag u) is found in, as "pattern" of a JSON
 * schema means it. Throws `PatternProblem` for what looks around, back, or at words' edges, and for anchors inside.
 */
export function patternText(pattern: string): Grammar {
  return new PatternReader(pattern).read();
}

class PatternReader {
  readonly #characters: readonly string[];
  #at = 0;

  constructor(pattern: string) {
    this.#characters = Array.from(pattern);
  }

  read(): Grammar {
    const options: Grammar[] = [];
    do options.push(this.#anchored());
    while (this.#takes("|"));
    if (this.#at < this.#characters.length)
      throw this.#problem("a closing bracket without its opening one");
    return choice(options);
  }

  /** An alternative of the whole pattern: without anchors anything may stand around it. */
  #anchored(): Grammar {
    const any = repeat(TEXT_CHARACTER);
    const before = this.#takes("^") ? EMPTY : any;
    const inside = this.#terms(0);
    const after = this.#takes("$") ? EMPTY : any;
    return sequence(before, inside, after);
  }

  #alternatives(depth: number): Grammar {
    if (depth > MOST_DEPTH) throw this.#problem("too many groups within groups");
    const options: Grammar[] = [];
    do options.push(this.#terms(depth));
    while (this.#takes("|"));
    return choice(options);
  }

  #terms(depth: number): Grammar {
    const parts: Grammar[] = [];
    for (;;) {
      const sign = this.#peek();
      if (sign === undefined || sign === "|" || sign === ")") break;
      // An anchor at the end of the whole pattern, or of one of its alternatives.
      if (sign === "$" && depth === 0 && [undefined, "|"].includes(this.#peek(1))) break;
      if (sign === "^" || sign === "$") throw this.#problem(`an anchor (${sign}) inside it`);
      parts.push(this.#repeated(this.#atom(depth)));
    }
    return sequence(...parts);
  }

  #atom(depth: number): Grammar {
    const sign = this.#next();
    switch (sign) {
      case "(": {
        if (this.#takes("?")) {
          const kind = this.#next();
          if (kind === "<" && !["=", "!"].includes(this.#peek() ?? "")) this.#until(">");
          else if (kind !== ":") throw this.#problem(`a group (?${kind}…), which looks around`);
        }
        const inside = this.#alternatives(depth + 1);
        if (!this.#takes(")")) throw this.#problem("a group that does not end");
        return inside;
      }
      case "[":
        return jsonCharacterIn(this.#class());
      case ".":
        return jsonCharacterIn(complement(LINE_ENDS));
      case "\\":
        return jsonCharacterIn(this.#escape());
      case "*":
      case "+":
      case "?":
      case "{":
      case "}":
      case "]":
        throw this.#problem(`${sign} without something before it`);
      default:
        return jsonCharacterIn([codeRange(sign)]);
    }
  }

  #repeated(item: Grammar): Grammar {
    const times = this.#times();
    if (times === undefined) return item;
    const [minimum, maximum] = times;
    if (minimum > maximum)
      throw this.#problem(`{${minimum},${maximum}}, which is the wrong way round`);
    if (minimum > MOST_TIMES) throw this.#problem(`more than ${MOST_TIMES} repetitions`);
    // Whether as many or as few are taken as possible makes no difference to what fits.
    this.#takes("?");
    if (this.#times() !== undefined) throw this.#problem("two repetitions in a row");
    return repeat(item, minimum, maximum);
  }

  #times(): readonly [minimum: number, maximum: number] | undefined {
    if (this.#takes("*")) return [0, Infinity];
    if (this.#takes("+")) return [1, Infinity];
    if (this.#peek() === "?") {
      this.#at++;
      return [0, 1];
    }
    if (this.#peek() !== "{") return undefined;
    const text = this.#characters.slice(this.#at).join("");
    const [whole, low = "", comma, high = ""] = /^\{(\d+)(,?)(\d*)\}/.exec(text) ?? [];
    if (whole === undefined) throw this.#problem("{ without a number of times");
    this.#at += whole.length;
    const minimum = Number(low);
    if (comma === "") return [minimum, minimum];
    return [minimum, high === "" ? Infinity : Number(high)];
  }

  /** A class behind its opening bracket. */
  #class(): readonly Range[] {
    const isNegated = this.#takes("^");
    const ranges: Range[] = [];
    for (;;) {
      if (this.#takes("]")) break;
      const first = this.#classPart();
      const isRange = this.#peek() === "-" && ![undefined, "]"].includes(this.#peek(1));
      if (!isRange) {
        ranges.push(...first);
        continue;
      }
      this.#at++;
      const last = this.#classPart();
      const [low, lowEnd] = first[0] ?? [0, -1];
      const [high, highEnd] = last[0] ?? [0, -1];
      if (low !== lowEnd || high !== highEnd || first.length !== 1 || last.length !== 1)
        throw this.#problem("a range between classes");
      if (low > high) throw this.#problem("a range that is the wrong way round");
      ranges.push([low, high]);
    }
    return isNegated ? complement(ranges) : merged(ranges);
  }

  #classPart(): readonly Range[] {
    const sign = this.#next();
    if (sign !== "\\") return [codeRange(sign)];
    if (this.#takes("b")) return [[8, 8]];
    return this.#escape();
  }

  /** What an escape stands for, behind its backslash. */
  #escape(): readonly Range[] {
    const sign = this.#next();
    const known = CLASSES[sign];
    if (known !== undefined) return known;
    const control = CONTROLS[sign];
    if (control !== undefined) return [[control, control]];
    if (sign === "x") return [codeRange(this.#hex(2))];
    if (sign === "u") {
      if (!this.#takes("{")) return [codeRange(this.#hex(4))];
      const digits = this.#until("}");
      const code = Number.parseInt(digits, 16);
      if (!/^[0-9a-f]+$/i.test(digits) || code > 0x10ffff) throw this.#problem(`\\u{${digits}}`);
      return [[code, code]];
    }
    if (/[\^$\\.*+?()[\]{}|/\-"'#&%=:;<>@,!~` ]/.test(sign)) return [codeRange(sign)];
    throw this.#problem(`\\${sign}`);
  }

  #hex(length: number): string {
    const digits = this.#characters.slice(this.#at, this.#at + length).join("");
    if (!new RegExp(`^[0-9a-fA-F]{${length}}$`).test(digits))
      throw this.#problem("an escape that is not whole");
    this.#at += length;
    return String.fromCodePoint(Number.parseInt(digits, 16));
  }

  #until(end: string): string {
    const start = this.#at;
    while (this.#peek() !== undefined && this.#peek() !== end) this.#at++;
    const text = this.#characters.slice(start, this.#at).join("");
    if (!this.#takes(end)) throw this.#problem(`no ${end} where one has to be`);
    return text;
  }

  #peek(ahead = 0): string | undefined {
    return this.#characters[this.#at + ahead];
  }

  #takes(sign: string): boolean {
    if (this.#peek() !== sign) return false;
    this.#at++;
    return true;
  }

  #next(): string {
    const sign = this.#characters[this.#at++];
    if (sign === undefined) throw this.#problem("an end where something has to follow");
    return sign;
  }

  #problem(what: string): PatternProblem {
    return new PatternProblem(`it has ${what}`);
  }
}

function codeRange(character: string): Range {
  const code = character.codePointAt(0) ?? 0;
  return [code, code];
}
