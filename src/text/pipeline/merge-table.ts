/** Which neighbours are joined first, and what they become. */
export interface Merges {
  /** The place of a pair, for `rankAt` and `mergedAt`; -1 where it is never merged. */
  find(left: number, right: number): number;
  rankAt(slot: number): number;
  mergedAt(slot: number): number;
}

/** The merges of a byte-pair encoding, however a vocabulary says them. */
export interface BpeMerges {
  /** All in order of rank: the ids of left, right and what they become, three numbers each. */
  triples(): Int32Array;
  /** Whether a merge takes one of these ids. */
  takes(ids: ReadonlySet<number>): boolean;
  /** The same merges, found one by one without preparing all; absent where all are prepared. */
  readonly single?: Merges | undefined;
}

/** Whether one of some triples (`BpeMerges`) joins one of these ids to another. */
export function takesAny(triples: Int32Array, ids: ReadonlySet<number>): boolean {
  for (let at = 0; at < triples.length; at += 3)
    if (ids.has(triples[at] ?? 0) || ids.has(triples[at + 1] ?? 0)) return true;
  return false;
}

/** Merges of pairs of ids, in an open hash table in typed arrays. */
export class MergeTable implements Merges {
  readonly #mask: number;
  readonly #left: Int32Array;
  readonly #right: Int32Array;
  readonly #rank: Int32Array;
  readonly #merged: Int32Array;

  /** `triples` as of `BpeMerges`; of a pair that stands twice, the last one counts. */
  constructor(triples: Int32Array) {
    const count = triples.length / 3;
    let size = 16;
    while (size < 2 * count) size *= 2;
    this.#mask = size - 1;
    this.#left = new Int32Array(size).fill(-1);
    this.#right = new Int32Array(size);
    this.#rank = new Int32Array(size);
    this.#merged = new Int32Array(size);
    for (let rank = 0; rank < count; rank++) {
      const left = triples[3 * rank] ?? 0;
      const right = triples[3 * rank + 1] ?? 0;
      const slot = this.#slotOf(left, right);
      this.#left[slot] = left;
      this.#right[slot] = right;
      this.#rank[slot] = rank;
      this.#merged[slot] = triples[3 * rank + 2] ?? 0;
    }
  }

  find(left: number, right: number): number {
    const slot = this.#slotOf(left, right);
    return this.#left[slot] === -1 ? -1 : slot;
  }

  rankAt(slot: number): number {
    return this.#rank[slot] ?? 0;
  }

  mergedAt(slot: number): number {
    return this.#merged[slot] ?? 0;
  }

  #slotOf(left: number, right: number): number {
    let slot = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
    slot = (slot ^ (slot >>> 15)) & this.#mask;
    while (this.#left[slot] !== -1 && (this.#left[slot] !== left || this.#right[slot] !== right))
      slot = (slot + 1) & this.#mask;
    return slot;
  }
}
