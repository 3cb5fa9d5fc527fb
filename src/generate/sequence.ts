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

/**
 * One sequence under a model: the keys and values of its positions, in host memory. A decoder (decoder.ts) appends to
 * it; between two calls it belongs to nobody, so that it may wait for its next turn, join a batch, or be thrown away.
 */
export class Sequence {
  /** Tells it from every other one, dead ones included. */
  readonly id = nextId++;
  readonly #sizes: CacheSizes;
  /** [Hkv, capacity, D] of each layer. Rows from `length` on are zeros or left from a truncated sequence. */
  #keys: readonly Float32Array[] = [];
  #values: readonly Float32Array[] = [];
  #capacity = 0;
  #length = 0;
  #revision = 0;
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

  /** Positions that have room before the cache must grow. */
  get capacity(): number {
    return this.#capacity;
  }

  /** Changes whenever rows do that stood already: a copy of an earlier one is stale. */
  get revision(): number {
    return this.#revision;
  }

  /** Bytes of keys and values. */
  get byteLength(): number {
    return this.#keys.length * 2 * this.#rowsLength(this.#capacity) * 4;
  }

  /** [Hkv, capacity, D]. */
  keys(layer: number): Float32Array {
    return this.#keys[layer] ?? new Float32Array();
  }

  /** [Hkv, capacity, D]. */
  values(layer: number): Float32Array {
    return this.#values[layer] ?? new Float32Array();
  }

  /** Makes room for so many positions; never shrinks. */
  grow(capacity: number): void {
    if (capacity <= this.#capacity) return;
    const grown = (old: Float32Array | undefined): Float32Array => {
      const array = new Float32Array(this.#rowsLength(capacity));
      if (old !== undefined) this.#copyHeads(old, this.#capacity, 0, array, capacity, 0);
      return array;
    };
    const layers = Array.from({ length: this.#sizes.layerCount });
    this.#keys = layers.map((_, layer) => grown(this.#keys[layer]));
    this.#values = layers.map((_, layer) => grown(this.#values[layer]));
    this.#capacity = capacity;
    this.#revision++;
  }

  /**
   * Writes `count` rows of new keys or values, [Hkv, rows, D] from `start` elements on, behind the last position of a
   * layer. They count once `advance` is called.
   */
  write(
    kind: "keys" | "values",
    layer: number,
    source: Float32Array,
    start: number,
    rows: number,
    count: number,
  ): void {
    const target = kind === "keys" ? this.keys(layer) : this.values(layer);
    const { keyValueHeadCount, headSize } = this.#sizes;
    for (let head = 0; head < keyValueHeadCount; head++) {
      const from = start + head * rows * headSize;
      const to = (head * this.#capacity + this.#length) * headSize;
      copyNumbers(source, from, target, to, count * headSize);
    }
  }

  /** Counts `count` positions that were written as part of the text. */
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
    if (length === this.#length) return;
    this.#length = length;
    this.#revision++;
  }

  /** Another sequence with the same positions: several texts that begin alike. */
  fork(): Sequence {
    const copy = new Sequence(this.#sizes, this.leastCapacity);
    copy.#keys = this.#keys.map((array) => array.slice());
    copy.#values = this.#values.map((array) => array.slice());
    copy.#capacity = this.#capacity;
    copy.#length = this.#length;
    return copy;
  }

  #rowsLength(rows: number): number {
    return this.#sizes.keyValueHeadCount * rows * this.#sizes.headSize;
  }

  /** `count` rows of every head between [Hkv, rows, D] arrays. */
  #copyHeads(
    source: Float32Array,
    sourceRows: number,
    sourceRow: number,
    target: Float32Array,
    targetRows: number,
    targetRow: number,
    count = this.#length,
  ): void {
    const { keyValueHeadCount, headSize } = this.#sizes;
    for (let head = 0; head < keyValueHeadCount; head++) {
      const from = (head * sourceRows + sourceRow) * headSize;
      target.set(
        source.subarray(from, from + count * headSize),
        (head * targetRows + targetRow) * headSize,
      );
    }
  }
}
