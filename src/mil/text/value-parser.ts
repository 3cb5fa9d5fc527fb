import type { Literal, LiteralData } from "../program.ts";
import { formatType, isInteger, sameType } from "../types.ts";
import type { DictionaryType, ListType, MilType, TupleType } from "../types.ts";
import { nextHash } from "./name-table.ts";
import { CHARACTER } from "./scanner.ts";
import type { Scanner } from "./scanner.ts";
import { ElementParser } from "./tensor-parser.ts";
import { isTypeWord, TypeParser } from "./type-parser.ts";

/** Bytes and number of values that are kept to be found again. */
const SETTING_LENGTH = 64;
const SETTING_COUNT = 4096;

/** Reads values with their types: `tensor<int32, [2]>([1, 1])`. */
export class ValueParser {
  readonly types: TypeParser;
  readonly #scanner: Scanner;
  readonly #elements: ElementParser;
  readonly #settings = new Map<string, Literal>();

  constructor(scanner: Scanner) {
    this.#scanner = scanner;
    this.types = new TypeParser(scanner);
    this.#elements = new ElementParser(scanner);
  }

  /** Whether a typed value starts here, rather than the name of a value. */
  atLiteral(): boolean {
    const name = this.#scanner.peekName();
    if (name === undefined || !isTypeWord(name)) return false;
    const after = this.#scanner.peekAfterName();
    return after === CHARACTER.open || after === CHARACTER.less;
  }

  /**
   * A value that is likely to stand in the text again, such as `int32(1)`: spelt alike, it is one object. The scanner
   * stands at its type.
   */
  setting(): Literal {
    const scanner = this.#scanner;
    const { bytes } = scanner;
    scanner.peek();
    const start = scanner.position;
    let depth = 0;
    let hash = 0;
    let end = -1;
    for (let position = start; position < start + SETTING_LENGTH; position++) {
      const byte = bytes[position] ?? 0x80;
      if (byte >= 0x80 || byte === CHARACTER.backslash) break;
      if (byte === CHARACTER.slash || byte === CHARACTER.equals) break;
      hash = nextHash(hash, byte);
      if (byte === CHARACTER.open) depth++;
      else if (byte === CHARACTER.close && --depth <= 0) {
        end = position + 1;
        break;
      }
    }
    if (end === -1 || depth !== 0) return this.literal();
    const spelling = scanner.intern(start, end, hash);
    const known = this.#settings.get(spelling);
    if (known !== undefined) {
      scanner.position = end;
      return known;
    }
    const literal = this.literal();
    if (scanner.position === end && this.#settings.size < SETTING_COUNT) {
      this.#settings.set(spelling, literal);
    }
    return literal;
  }

  literal(): Literal {
    const scanner = this.#scanner;
    const type = this.types.type();
    scanner.take(CHARACTER.open);
    const data = this.#data(type);
    scanner.take(CHARACTER.close, '")" after the value');
    return Object.freeze({ kind: "literal", type, data });
  }

  #data(type: MilType): LiteralData {
    const scanner = this.#scanner;
    if (scanner.peekName() === "BLOBFILE") return this.#blob();
    switch (type.kind) {
      case "tensor":
        return this.#elements.parse(type);
      case "list":
        return scanner.deeper(() => this.#list(type));
      case "tuple":
        return scanner.deeper(() => this.#tuple(type));
      case "dict":
        return scanner.deeper(() => this.#dictionary(type));
      case "state":
      case "tensor_buffer":
        throw scanner.expected(
          `BLOBFILE: a ${formatType(type)} value cannot be written in the text`,
        );
    }
  }

  /** An item of a container: its type is known from the container's, and may be repeated. */
  #item(type: MilType): Literal {
    if (!this.atLiteral()) {
      return Object.freeze({ kind: "literal", type, data: this.#data(type) });
    }
    const start = this.#scanner.position;
    const literal = this.literal();
    if (!sameType(literal.type, type)) {
      throw this.#scanner.error(
        start,
        `expected a ${formatType(type)}, found a ${formatType(literal.type)}`,
      );
    }
    return literal;
  }

  #list(type: ListType): LiteralData {
    const scanner = this.#scanner;
    scanner.take(CHARACTER.openBracket);
    const start = scanner.position - 1;
    const items: Literal[] = [];
    scanner.list(CHARACTER.closeBracket, () => items.push(this.#item(type.element)));
    if (type.length !== "?" && type.length !== items.length) {
      throw scanner.error(start, `a list of ${type.length} holds ${items.length}`);
    }
    return Object.freeze({ kind: "items", items: Object.freeze(items) });
  }

  #tuple(type: TupleType): LiteralData {
    const scanner = this.#scanner;
    scanner.take(CHARACTER.open);
    const items: Literal[] = [];
    for (const [index, itemType] of type.items.entries()) {
      if (index > 0) scanner.take(CHARACTER.comma, `"," and ${type.items.length} items`);
      items.push(this.#item(itemType));
    }
    scanner.take(CHARACTER.close, `")" after ${type.items.length} items`);
    return Object.freeze({ kind: "items", items: Object.freeze(items) });
  }

  #dictionary(type: DictionaryType): LiteralData {
    const scanner = this.#scanner;
    scanner.take(CHARACTER.openBrace);
    const pairs: (readonly [Literal, Literal])[] = [];
    scanner.list(CHARACTER.closeBrace, () => {
      scanner.take(CHARACTER.openBrace);
      const key = this.#item(type.key);
      scanner.take(CHARACTER.comma);
      const value = this.#item(type.value);
      scanner.take(CHARACTER.closeBrace);
      pairs.push(Object.freeze([key, value] as const));
    });
    return Object.freeze({ kind: "pairs", pairs: Object.freeze(pairs) });
  }

  /** `BLOBFILE(path = string("..."), offset = uint64(64))`, in either order. */
  #blob(): LiteralData {
    const scanner = this.#scanner;
    scanner.word("BLOBFILE");
    scanner.take(CHARACTER.open);
    let path: string | undefined;
    let offset: number | undefined;
    do {
      scanner.peek();
      const start = scanner.position;
      const name = scanner.name('"path" or "offset"');
      scanner.take(CHARACTER.equals);
      if (name === "path" && path === undefined) {
        path = scanner.peek() === CHARACTER.quote ? scanner.string() : this.#blobPath();
      } else if (name === "offset" && offset === undefined) {
        offset = this.atLiteral() ? this.#blobOffset() : scanner.count("an offset");
      } else throw scanner.error(start, `expected one "path" and one "offset"`);
    } while (scanner.tryTake(CHARACTER.comma));
    scanner.take(CHARACTER.close);
    if (path === undefined || offset === undefined) {
      throw scanner.error(scanner.position - 1, "BLOBFILE needs a path and an offset");
    }
    return Object.freeze({ kind: "blob", path, offset });
  }

  #blobPath(): string {
    const scanner = this.#scanner;
    const start = scanner.position;
    const type = this.types.type();
    if (type.kind !== "tensor" || type.dataType !== "string" || type.shape.length > 0) {
      throw scanner.error(start, "the path of a BLOBFILE is a string");
    }
    scanner.take(CHARACTER.open);
    const path = scanner.string();
    scanner.take(CHARACTER.close);
    return path;
  }

  #blobOffset(): number {
    const scanner = this.#scanner;
    const start = scanner.position;
    const type = this.types.type();
    if (type.kind !== "tensor" || !isInteger(type.dataType) || type.shape.length > 0) {
      throw scanner.error(start, "the offset of a BLOBFILE is a whole number below 2^53");
    }
    scanner.take(CHARACTER.open);
    const offset = scanner.count("a whole number");
    scanner.take(CHARACTER.close);
    return offset;
  }
}
