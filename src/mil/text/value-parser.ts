import { literalNumbers } from "../literal.ts";
import type { Literal, LiteralData } from "../program.ts";
import { formatType, sameType } from "../types.ts";
import type { DictionaryType, ListType, MilType, TupleType } from "../types.ts";
import { CHARACTER } from "./scanner.ts";
import type { Scanner } from "./scanner.ts";
import { parseElements } from "./tensor-parser.ts";
import { isTypeWord, TypeParser } from "./type-parser.ts";

/** Reads values with their types: `tensor<int32, [2]>([1, 1])`. */
export class ValueParser {
  readonly types: TypeParser;
  readonly #scanner: Scanner;

  constructor(scanner: Scanner) {
    this.#scanner = scanner;
    this.types = new TypeParser(scanner);
  }

  /** Whether a typed value starts here, rather than the name of a value. */
  atLiteral(): boolean {
    const name = this.#scanner.peekName();
    if (name === undefined || !isTypeWord(name)) return false;
    const after = this.#scanner.peekAfterName();
    return after === CHARACTER.open || after === CHARACTER.less;
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
        return parseElements(scanner, type);
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
    if (!scanner.tryTake(CHARACTER.closeBracket)) {
      do items.push(this.#item(type.element));
      while (scanner.tryTake(CHARACTER.comma));
      scanner.take(CHARACTER.closeBracket, '"," or "]"');
    }
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
    if (!scanner.tryTake(CHARACTER.closeBrace)) {
      do {
        scanner.take(CHARACTER.openBrace);
        const key = this.#item(type.key);
        scanner.take(CHARACTER.comma);
        const value = this.#item(type.value);
        scanner.take(CHARACTER.closeBrace);
        pairs.push(Object.freeze([key, value] as const));
      } while (scanner.tryTake(CHARACTER.comma));
      scanner.take(CHARACTER.closeBrace, '"," or "}"');
    }
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
    const { data } = this.literal();
    const path = data.kind === "strings" ? data.strings[0] : undefined;
    if (path === undefined) throw scanner.error(start, "the path of a BLOBFILE is a string");
    return path;
  }

  #blobOffset(): number {
    const scanner = this.#scanner;
    const start = scanner.position;
    const literal = this.literal();
    const [offset] = literal.data.kind === "numbers" ? literalNumbers(literal) : [];
    if (offset === undefined || !Number.isSafeInteger(offset) || offset < 0) {
      throw scanner.error(start, "the offset of a BLOBFILE is a whole number below 2^53");
    }
    return offset;
  }
}
