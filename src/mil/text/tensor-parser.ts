import { allocateNumbers } from "../literal.ts";
import type { LiteralData, NumericData } from "../program.ts";
import { DATA_TYPE_BITS, formatType } from "../types.ts";
import type { DataType, TensorType } from "../types.ts";
import { floatFormat } from "../float-format.ts";
import { scanBigInteger, scanFloat, scanInteger } from "./number-scanner.ts";
import { CHARACTER } from "./scanner.ts";
import type { Scanner } from "./scanner.ts";

/** Collects the elements of one tensor literal. */
interface ElementSink {
  readonly count: number;
  /** Reads the element at the scanner's position. */
  take(): void;
  finish(shape: readonly number[] | undefined): LiteralData;
}

type Store = (numbers: NumericData, index: number) => void;

/** Reads the elements of tensor literals. */
export class ElementParser {
  readonly #scanner: Scanner;
  readonly #stores = new Map<DataType, Store>();

  constructor(scanner: Scanner) {
    this.#scanner = scanner;
  }

  /**
   * One literal's elements: one alone for a scalar, else brackets nested as deep as the shape, or one flat list. The
   * numbers go straight into their typed array, whose size follows the text and not the declared shape.
   */
  parse(type: TensorType): LiteralData {
    const scanner = this.#scanner;
    const { shape } = type;
    if (shape.length === 0 && type.dataType === "string") {
      return Object.freeze({ kind: "strings", strings: Object.freeze([scanner.string()]) });
    }
    const start = scanner.position;
    let declared: number | undefined = 1;
    for (const size of shape) {
      declared = size === "?" || declared === undefined ? undefined : declared * size;
    }
    const sink = this.#sink(type.dataType, declared);
    if (shape.length === 0) {
      scanner.peek();
      sink.take();
      return sink.finish(undefined);
    }
    const reader = new RowReader(scanner, sink, shape.length);
    reader.rows(0);
    const { sizes } = reader;
    if (reader.isFlat || (sink.count === 0 && declared === 0)) {
      if (declared === undefined || declared !== sink.count) {
        throw scanner.error(
          start,
          `a ${formatType(type)} literal needs ${declared === undefined ? "nested brackets" : `${declared} elements, here are ${sink.count}`}`,
        );
      }
      return sink.finish(undefined);
    }
    for (const [axis, size] of shape.entries()) {
      const found = Math.max(sizes[axis] ?? 0, 0);
      if (size !== "?" && size !== found) {
        throw scanner.error(
          start,
          `a ${formatType(type)} literal needs ${size} elements in dimension ${axis}, here are ${found}`,
        );
      }
    }
    return sink.finish(
      declared === undefined && shape.length > 1
        ? Object.freeze(sizes.map((size) => Math.max(size, 0)))
        : undefined,
    );
  }

  #sink(dataType: DataType, declared: number | undefined): ElementSink {
    const scanner = this.#scanner;
    if (dataType === "string") return new StringSink(scanner);
    let store = this.#stores.get(dataType);
    if (store === undefined) {
      store = storeFunction(scanner, dataType);
      this.#stores.set(dataType, store);
    }
    // An element takes at least one character and the comma after it.
    const room = Math.ceil((scanner.end - scanner.position) / 2) + 1;
    return new NumberSink(scanner, dataType, Math.min(declared ?? 16, room), declared, store);
  }
}

/** Walks nested brackets and checks that rows of one dimension are of one length. */
class RowReader {
  readonly #scanner: Scanner;
  readonly #sink: ElementSink;
  readonly #rank: number;
  /** Length of each dimension, -1 where none was seen. */
  readonly sizes: number[];
  isFlat = false;

  constructor(scanner: Scanner, sink: ElementSink, rank: number) {
    this.#scanner = scanner;
    this.#sink = sink;
    this.#rank = rank;
    this.sizes = Array.from({ length: rank }, () => -1);
  }

  rows(depth: number): void {
    const scanner = this.#scanner;
    scanner.take(CHARACTER.openBracket);
    const start = scanner.position - 1;
    let length = 0;
    if (scanner.peek() !== CHARACTER.closeBracket) {
      if (depth === 0 && this.#rank > 1) this.isFlat = scanner.peek() !== CHARACTER.openBracket;
      if (this.isFlat || depth === this.#rank - 1) {
        do {
          scanner.peek();
          this.#sink.take();
          length++;
        } while (scanner.tryTake(CHARACTER.comma));
      } else {
        do {
          this.rows(depth + 1);
          length++;
        } while (scanner.tryTake(CHARACTER.comma));
      }
    }
    scanner.take(CHARACTER.closeBracket, '"," or "]"');
    const expected = this.sizes[depth];
    if (expected !== -1 && expected !== length) {
      throw scanner.error(start, `rows of ${expected} and of ${length} elements`);
    }
    this.sizes[depth] = length;
  }
}

class StringSink implements ElementSink {
  readonly #scanner: Scanner;
  readonly #strings: string[] = [];

  constructor(scanner: Scanner) {
    this.#scanner = scanner;
  }

  get count(): number {
    return this.#strings.length;
  }

  take(): void {
    this.#strings.push(this.#scanner.string());
  }

  finish(shape: readonly number[] | undefined): LiteralData {
    return Object.freeze({
      kind: "strings",
      strings: Object.freeze(this.#strings),
      ...(shape !== undefined && { shape }),
    });
  }
}

class NumberSink implements ElementSink {
  count = 0;
  readonly #scanner: Scanner;
  readonly #dataType: DataType;
  readonly #declared: number | undefined;
  readonly #store: Store;
  #numbers: NumericData;

  constructor(
    scanner: Scanner,
    dataType: DataType,
    capacity: number,
    declared: number | undefined,
    store: Store,
  ) {
    this.#scanner = scanner;
    this.#dataType = dataType;
    this.#declared = declared;
    this.#numbers = allocateNumbers(dataType, capacity);
    this.#store = store;
  }

  take(): void {
    if (this.count === this.#numbers.length) this.#grow();
    this.#store(this.#numbers, this.count);
    this.count++;
  }

  #grow(): void {
    if (this.#declared !== undefined && this.count >= this.#declared) {
      throw this.#scanner.error(
        this.#scanner.position,
        `more than the ${this.#declared} elements that the type has`,
      );
    }
    const larger = allocateNumbers(this.#dataType, Math.max(16, this.count * 2));
    copyInto(larger, this.#numbers);
    this.#numbers = larger;
  }

  finish(shape: readonly number[] | undefined): LiteralData {
    let numbers = this.#numbers;
    if (numbers.length !== this.count) {
      numbers = allocateNumbers(this.#dataType, this.count);
      copyInto(numbers, this.#numbers.subarray(0, this.count));
    }
    return Object.freeze({ kind: "numbers", numbers, ...(shape !== undefined && { shape }) });
  }
}

/** Copies between two arrays of one class. */
function copyInto(target: NumericData, source: NumericData): void {
  const bytes = new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(bytes);
}

function storeFunction(scanner: Scanner, dataType: DataType): Store {
  const format = floatFormat(dataType);
  if (format !== undefined) {
    return (numbers, index) => {
      numbers[index] = scanFloat(scanner, format);
    };
  }
  if (dataType === "bool") {
    return (numbers, index) => {
      numbers[index] = scanBool(scanner);
    };
  }
  const bits = DATA_TYPE_BITS[dataType];
  const isUnsigned = dataType.startsWith("uint");
  if (bits < 64) {
    const minimum = isUnsigned ? 0 : -(2 ** (bits - 1));
    const maximum = isUnsigned ? 2 ** bits - 1 : 2 ** (bits - 1) - 1;
    return (numbers, index) => {
      numbers[index] = scanInteger(scanner, minimum, maximum);
    };
  }
  const minimum = isUnsigned ? 0n : -(2n ** 63n);
  const maximum = isUnsigned ? 2n ** 64n - 1n : 2n ** 63n - 1n;
  return (numbers, index) => {
    const start = scanner.position;
    const value = BigInt(scanBigInteger(scanner));
    if (value < minimum || value > maximum) {
      throw scanner.error(
        start,
        `this number is outside the type's range, ${minimum} to ${maximum}`,
      );
    }
    numbers[index] = value;
  };
}

function scanBool(scanner: Scanner): number {
  const word = scanner.peekName();
  if (word === "true" || word === "false") {
    scanner.position += word.length;
    return word === "true" ? 1 : 0;
  }
  const digit = scanner.peek() - CHARACTER.zero;
  if ((digit !== 0 && digit !== 1) || scanner.isNamePart(scanner.position + 1)) {
    throw scanner.expected("true or false");
  }
  scanner.position++;
  return digit;
}
