import { elementCount, staticShape } from "../mil/types.ts";
import { packNumbers, storedPart, unpackNumbers } from "../plan/stored-numbers.ts";
import type { StoredArray, StoredNumbers } from "../plan/stored-numbers.ts";
import { isGrouped } from "../plan/storage.ts";
import { ModelError } from "./errors.ts";
import type { Weight } from "./parameters.ts";
import { biasesName, isPacked, scalesName } from "./plan-weights.ts";

/** Gives the memory of a plan's buffer by name. */
export type WeightView = (name: string) => StoredArray;

/** The memory of a weight that stands in fp32. Throws `ModelError` for another. */
export function fp32Numbers(viewOf: WeightView, name: string): Float32Array {
  const view = viewOf(name);
  if (view instanceof Float32Array) return view;
  throw new ModelError("model.weights.view", `"${name}" does not stand in fp32`);
}

/** Numbers converted at once, so that memory stays bounded; a multiple of every group's size. */
export const WINDOW_ELEMENTS = 1 << 21;

/** One weight in the buffers of a plan, however it is stored. */
export class WeightMemory {
  readonly length: number;
  readonly #weight: Weight;
  readonly #stored: StoredNumbers;
  /** Numbers that are converted at once: whole groups. */
  readonly #window: number;

  /** Throws `ModelError` where a buffer has another size than the weight. */
  constructor(weight: Weight, viewOf: WeightView) {
    const { name, type, storage } = weight;
    this.#weight = weight;
    this.length = elementCount(staticShape(type));
    const groupSize = isGrouped(storage) ? storage.groupSize : 1;
    this.#window = Math.max(groupSize, WINDOW_ELEMENTS - (WINDOW_ELEMENTS % groupSize));
    this.#stored = {
      codes: viewOf(name),
      ...(isGrouped(storage) && { scales: viewOf(scalesName(name)) }),
      ...(isGrouped(storage) && storage.hasBiases && { biases: viewOf(biasesName(name)) }),
    };
    const { codes } = this.#stored;
    const perElement = storage.kind === "int4" ? 2 : 1;
    const isSuited = isPacked(weight) || codes instanceof Float32Array;
    if (codes.length * perElement !== this.length || !isSuited) {
      throw new ModelError(
        "model.weights.view",
        `weight "${name}" has ${this.length} elements as ${storage.kind}, its memory ${codes.length} of ${codes.constructor.name}`,
      );
    }
  }

  /** All numbers where the memory holds them as they are, fp32. */
  get whole(): Float32Array | undefined {
    const { codes } = this.#stored;
    return codes instanceof Float32Array && !isPacked(this.#weight) ? codes : undefined;
  }

  /** Has every window of numbers written by `fill`, which gets the first one's place. */
  write(fill: (start: number, numbers: Float32Array) => void): void {
    const { storage } = this.#weight;
    for (const { start, count } of this.#windows()) {
      const part = storedPart(this.#stored, storage, start, count);
      if (part.codes instanceof Float32Array && !isPacked(this.#weight)) {
        fill(start, part.codes);
        continue;
      }
      const numbers = new Float32Array(count);
      fill(start, numbers);
      packNumbers(storage, numbers, part);
    }
  }

  /** Has the stored form of every window written by `fill`, and gives the numbers it means to `check`. */
  writePacked(
    fill: (start: number, count: number, target: StoredNumbers) => void,
    check: (start: number, numbers: Float32Array) => void,
  ): void {
    const { storage } = this.#weight;
    for (const { start, count } of this.#windows()) {
      const part = storedPart(this.#stored, storage, start, count);
      fill(start, count, part);
      const numbers = new Float32Array(count);
      unpackNumbers(storage, part, numbers);
      check(start, numbers);
    }
  }

  /** All numbers; those of an fp32 weight are its memory itself. */
  numbers(): Float32Array {
    if (this.whole !== undefined) return this.whole;
    const numbers = new Float32Array(this.length);
    let start = 0;
    for (const window of this.read()) {
      numbers.set(window, start);
      start += window.length;
    }
    return numbers;
  }

  /** All numbers, in windows that follow one another; each is valid until the next. */
  *read(): Generator<Float32Array> {
    const { storage } = this.#weight;
    for (const { start, count } of this.#windows()) {
      const part = storedPart(this.#stored, storage, start, count);
      if (part.codes instanceof Float32Array && !isPacked(this.#weight)) {
        yield part.codes;
        continue;
      }
      const numbers = new Float32Array(count);
      unpackNumbers(storage, part, numbers);
      yield numbers;
    }
  }

  *#windows(): Generator<{ readonly start: number; readonly count: number }> {
    for (let start = 0; start < this.length; start += this.#window)
      yield { start, count: Math.min(this.#window, this.length - start) };
  }
}
