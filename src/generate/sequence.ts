import type { ModelConfig } from "../model/index.ts";
import { GenerateError } from "./errors.ts";

let nextId = 1;

/** Fewer numbers than this are copied sooner one by one than through views of both. */
const FEW_NUMBERS = 128;

/** `count` numbers from a place of one array to a place of another. */
export function copyNumbers(
  source: Float32Array,
  from: number,
  target: Float32Array,
  to: number,
  count: number,
): void {
  if (count > FEW_NUMBERS) target.set(source.subarray(from, from + count), to);
  else for (let i = 0; i < count; i++) target[to + i] = source[from + i] ?? 0;
}

/** Sizes of one sequence's keys or values in a layer. */
export type CacheSizes = Pick<ModelConfig, "layerCount" | "keyValueHeadCount" | "headSize">;

/** Keys and values of one layer, among others' perhaps. */
export interface LayerRows {
  readonly keys: Float32Array;
  readonly values: Float32Array;
}

/** Where keys and values of one sequence stand: [Hkv, T, D] of each layer, from an element on. */
export interface RowPlace {
  readonly layers: readonly LayerRows[];
  readonly start: number;
  /** T. */
  readonly rowCount: number;
}

/**
 * One sequence under a model. A decoder (decoder.ts) appends to it; between two calls it belongs to nobody, so that it may
 * wait for its next turn, join a batch, or be thrown away. Its keys and values stand in a slot of a loaded plan as long as
 * nobody else needs the slot, else in arrays of its own.
 */
export class Sequence {
  /** Tells it from every other one, dead ones included. */
  readonly id = nextId++;
  readonly #sizes: CacheSizes;
  /** Of a loaded plan, where all of its rows stand. */
  #place: RowPlace | undefined;
  /** Its own arrays, with rows of the first `#ownCount` positions. */
  #own: RowPlace | undefined;
  #ownCount = 0;
  #capacity = 0;
  #length = 0;
  /** Positions that the cache holds at least: some engines cannot let it grow. */
  readonly leastCapacity: number;

  constructor(sizes: CacheSizes, leastCapacity = 0) {
    this.#sizes = sizes;
    this.leastCapacity = leastCapacity;
  }

  /** Positions filled. */
  get length(): number {
    return this.#length;
  }

  /** Positions of the caches that it is computed in. */
  get capacity(): number {
    return this.#capacity;
  }

  /** The slot that holds its rows; absent where they stand in its own arrays. */
  get place(): RowPlace | undefined {
    return this.#place;
  }

  /** Bytes of keys and values, wherever they stand. */
  get byteLength(): number {
    return 2 * 4 * this.#sizes.layerCount * this.#numbersOf(this.#capacity);
  }

  /** It is computed in caches of so many positions from now on; never fewer than before. */
  grow(capacity: number): void {
    this.#capacity = Math.max(this.#capacity, capacity);
  }

  /** Copies its rows into a slot, where they stand from now on. The slot has room for all of them. */
  moveTo(place: RowPlace): void {
    if (place === this.#place) return;
    const rows = this.#place ?? this.#own;
    if (rows !== undefined) this.#copy(rows, place, 0);
    this.#place = place;
  }

  /** Takes its rows out of the slot that holds them: somebody else needs it. */
  leave(): void {
    const place = this.#place;
    this.#place = undefined;
    if (place === undefined || this.#length === 0) return;
    if (this.#own === undefined || this.#own.rowCount < this.#length) {
      // It may come back, be continued by a row, and leave again, many times.
      this.#own = this.#arrays(this.#length + Math.ceil(this.#length / 4));
      this.#ownCount = 0;
    }
    this.#copy(place, this.#own, this.#ownCount);
    this.#ownCount = this.#length;
  }

  /** Counts `count` positions whose rows were written into its slot. */
  advance(count: number): void {
    this.#length += count;
  }

  /** Forgets all positions from `length` on. Throws `GenerateError` for more than there are. */
  truncate(length = 0): void {
    if (!Number.isInteger(length) || length < 0 || length > this.#length)
      throw new GenerateError(
        "generate.length",
        `a sequence of ${this.#length} positions cannot be cut to ${length}`,
      );
    this.#length = length;
    this.#ownCount = Math.min(this.#ownCount, length);
  }

  /** Forgets all of it: nobody needs its rows any more. */
  release(): void {
    this.truncate();
    this.#place = undefined;
    this.#own = undefined;
  }

  /** Another sequence with the same first positions: several texts that begin alike. */
  fork(length = this.#length): Sequence {
    const copy = new Sequence(this.#sizes, this.leastCapacity);
    copy.#capacity = this.#capacity;
    copy.#length = length;
    copy.#ownCount = length;
    copy.#own = copy.#arrays(length);
    const rows = this.#place ?? this.#own;
    if (rows !== undefined) copy.#copy(rows, copy.#own, 0);
    return copy;
  }

  #arrays(rowCount: number): RowPlace {
    const size = this.#numbersOf(rowCount);
    const layers = Array.from({ length: this.#sizes.layerCount }, () => ({
      keys: new Float32Array(size),
      values: new Float32Array(size),
    }));
    return { layers, start: 0, rowCount };
  }

  #numbersOf(rowCount: number): number {
    return this.#sizes.keyValueHeadCount * rowCount * this.#sizes.headSize;
  }

  /** Rows of all positions from `first` on. */
  #copy(source: RowPlace, target: RowPlace, first: number): void {
    const { keyValueHeadCount, headSize } = this.#sizes;
    const count = (this.#length - first) * headSize;
    if (count === 0) return;
    for (const [layer, { keys, values }] of source.layers.entries()) {
      const to = target.layers[layer];
      if (to === undefined) continue;
      for (let head = 0; head < keyValueHeadCount; head++) {
        const from = source.start + (head * source.rowCount + first) * headSize;
        const at = target.start + (head * target.rowCount + first) * headSize;
        copyNumbers(keys, from, to.keys, at, count);
        copyNumbers(values, from, to.values, at, count);
      }
    }
  }
}
