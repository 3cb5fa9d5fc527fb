import { didYouMean } from "../../util/nearest.ts";
import { DATA_TYPE_BITS, isDataType, scalarType, tensorType } from "../types.ts";
import type { DataType, Dimension, MilType, TensorType } from "../types.ts";
import { nextHash } from "./name-table.ts";
import { CHARACTER } from "./scanner.ts";
import type { Scanner } from "./scanner.ts";

const CONSTRUCTORS = ["tensor", "list", "tuple", "dict", "state", "tensor_buffer"] as const;

/** Dimensions that are read; far more than any tool makes. */
const RANK_LIMIT = 32;

const TYPE_WORDS: ReadonlySet<string> = new Set([...CONSTRUCTORS, ...Object.keys(DATA_TYPE_BITS)]);

/** Whether a name starts a type, if `<` or `(` follows it. */
export function isTypeWord(name: string): boolean {
  return TYPE_WORDS.has(name);
}

/** Reads types; a type that is spelt the same way twice is one object. */
export class TypeParser {
  readonly #scanner: Scanner;
  readonly #tensors = new Map<string, TensorType>();
  readonly #scalars = new Map<DataType, TensorType>();

  constructor(scanner: Scanner) {
    this.#scanner = scanner;
  }

  type(): MilType {
    const scanner = this.#scanner;
    scanner.peek();
    const start = scanner.position;
    return this.typeAfter(scanner.name("a type"), start);
  }

  /** The type whose first word, which begins at `start`, has just been taken. */
  typeAfter(word: string, start: number): MilType {
    const scanner = this.#scanner;
    if (isDataType(word)) return this.#scalar(word);
    switch (word) {
      case "tensor":
        return this.#tensor(start);
      case "list":
        return scanner.deeper(() => this.#list());
      case "tuple":
        return scanner.deeper(() => this.#tuple());
      case "dict":
        return scanner.deeper(() => this.#dictionary());
      case "state":
        return this.#state();
      case "tensor_buffer":
        return this.#tensorBuffer();
      default:
        throw scanner.error(
          start,
          `expected a type, found "${word.slice(0, 40)}".${didYouMean(word, TYPE_WORDS)}`,
        );
    }
  }

  #scalar(dataType: DataType): TensorType {
    let type = this.#scalars.get(dataType);
    if (type === undefined) {
      type = scalarType(dataType);
      this.#scalars.set(dataType, type);
    }
    return type;
  }

  #tensor(start: number): TensorType {
    const scanner = this.#scanner;
    const { bytes } = scanner;
    let end = start;
    let hash = 0;
    while (end < scanner.end && end - start < 128) {
      const byte = bytes[end] ?? 0;
      if (byte === CHARACTER.greater || byte >= 0x80) break;
      hash = nextHash(hash, byte);
      end++;
    }
    const spelling = bytes[end] === CHARACTER.greater ? scanner.intern(start, end, hash) : "";
    const known = this.#tensors.get(spelling);
    if (known !== undefined) {
      scanner.position = end + 1;
      return known;
    }
    scanner.take(CHARACTER.less);
    const dataType = this.#dataType();
    scanner.take(CHARACTER.comma);
    const shape = this.#dimensions();
    scanner.take(CHARACTER.greater);
    const type = shape.length === 0 ? this.#scalar(dataType) : tensorType(dataType, shape);
    if (spelling !== "" && scanner.position === end + 1) this.#tensors.set(spelling, type);
    return type;
  }

  #list(): MilType {
    const scanner = this.#scanner;
    scanner.take(CHARACTER.less);
    const element = this.type();
    scanner.take(CHARACTER.comma);
    const length = this.#dimension();
    scanner.take(CHARACTER.greater);
    return Object.freeze({ kind: "list", element, length });
  }

  #tuple(): MilType {
    const scanner = this.#scanner;
    scanner.take(CHARACTER.less);
    const items: MilType[] = [];
    scanner.list(CHARACTER.greater, () => items.push(this.type()));
    return Object.freeze({ kind: "tuple", items: Object.freeze(items) });
  }

  #dictionary(): MilType {
    const scanner = this.#scanner;
    scanner.take(CHARACTER.less);
    const key = this.type();
    scanner.take(CHARACTER.comma);
    const value = this.type();
    scanner.take(CHARACTER.greater);
    return Object.freeze({ kind: "dict", key, value });
  }

  #state(): MilType {
    const scanner = this.#scanner;
    scanner.take(CHARACTER.less);
    scanner.peek();
    const start = scanner.position;
    if (scanner.name("a tensor type") !== "tensor") {
      throw scanner.error(start, "expected a tensor type: a state wraps a tensor");
    }
    const wrapped = this.#tensor(start);
    scanner.take(CHARACTER.greater);
    return Object.freeze({ kind: "state", wrapped });
  }

  #tensorBuffer(): MilType {
    const scanner = this.#scanner;
    scanner.take(CHARACTER.less);
    const dataType = this.#dataType();
    const lists = new Map<string, readonly number[]>();
    let shape: readonly Dimension[] | undefined;
    while (scanner.tryTake(CHARACTER.comma)) {
      scanner.peek();
      const start = scanner.position;
      const name = scanner.name('"shape", "strides" or "interleave_factors"');
      scanner.take(CHARACTER.equals);
      const sizes = this.#dimensions();
      if (lists.has(name) || (name === "shape" && shape !== undefined)) {
        throw scanner.error(start, `"${name}" is given twice`);
      }
      if (name === "shape") shape = sizes;
      else if (name !== "strides" && name !== "interleave_factors") {
        throw scanner.error(start, 'expected "shape", "strides" or "interleave_factors"');
      } else {
        lists.set(
          name,
          Object.freeze(
            sizes.map((size) => {
              if (size === "?") throw scanner.error(start, `${name} must be numbers`);
              return size;
            }),
          ),
        );
      }
    }
    scanner.take(CHARACTER.greater, '"," or ">"');
    const strides = lists.get("strides");
    const interleaveFactors = lists.get("interleave_factors");
    if (shape === undefined || strides === undefined || interleaveFactors === undefined) {
      throw scanner.error(
        scanner.position - 1,
        "a tensor_buffer type needs shape, strides and interleave_factors",
      );
    }
    return Object.freeze({ kind: "tensor_buffer", dataType, shape, strides, interleaveFactors });
  }

  #dataType(): DataType {
    const scanner = this.#scanner;
    scanner.peek();
    const start = scanner.position;
    const word = scanner.name("an element type");
    if (isDataType(word)) return word;
    throw scanner.error(
      start,
      `expected an element type, found "${word.slice(0, 40)}".${didYouMean(word, Object.keys(DATA_TYPE_BITS))}`,
    );
  }

  #dimensions(): readonly Dimension[] {
    const scanner = this.#scanner;
    scanner.take(CHARACTER.openBracket);
    const shape: Dimension[] = [];
    scanner.list(CHARACTER.closeBracket, () => {
      if (shape.length === RANK_LIMIT) {
        throw scanner.error(scanner.position, `more than ${RANK_LIMIT} dimensions`);
      }
      shape.push(this.#dimension());
    });
    return Object.freeze(shape);
  }

  #dimension(): Dimension {
    return this.#scanner.tryTake(CHARACTER.question) ? "?" : this.#scanner.count('a size or "?"');
  }
}
