import type { Merges } from "./merge-table.ts";

/** Up to this many symbols, looking at all pairs again is faster than a queue. */
const FEW_SYMBOLS = 32;
/** Positions in a queue's keys; a rank stands above them. */
const POSITION_RANGE = 2 ** 26;

/**
 * Merges symbols in place as the reference does: always the pair of lowest rank, the leftmost of equals. Keeps its
 * scratch memory from one call to the next.
 */
export class Merger {
  readonly #table: Merges;
  #slots = new Int32Array(FEW_SYMBOLS);
  #next = new Int32Array(0);
  #previous = new Int32Array(0);
  #heap = new Float64Array(0);
  #heapLength = 0;

  constructor(table: Merges) {
    this.#table = table;
  }

  /**
   * Merges the first `count` of `symbols` and returns how many are left; `sizes[i]` becomes the number of symbols that
   * the i-th one was made of.
   */
  merge(symbols: Int32Array, sizes: Int32Array, count: number): number {
    for (let at = 0; at < count; at++) sizes[at] = 1;
    if (count < 2) return count;
    return count <= FEW_SYMBOLS
      ? this.#mergeFew(symbols, sizes, count)
      : this.#mergeMany(symbols, sizes, count);
  }

  #mergeFew(symbols: Int32Array, sizes: Int32Array, count: number): number {
    const table = this.#table;
    const slots = this.#slots;
    let length = count;
    for (let at = 0; at + 1 < length; at++)
      slots[at] = table.find(symbols[at] ?? 0, symbols[at + 1] ?? 0);
    for (;;) {
      let best = -1;
      let bestRank = Infinity;
      for (let at = 0; at + 1 < length; at++) {
        const slot = slots[at] ?? -1;
        if (slot < 0) continue;
        const rank = table.rankAt(slot);
        if (rank < bestRank) {
          bestRank = rank;
          best = at;
        }
      }
      if (best < 0) return length;
      symbols[best] = table.mergedAt(slots[best] ?? 0);
      sizes[best] = (sizes[best] ?? 0) + (sizes[best + 1] ?? 0);
      symbols.copyWithin(best + 1, best + 2, length);
      sizes.copyWithin(best + 1, best + 2, length);
      slots.copyWithin(best + 1, best + 2, length - 1);
      length--;
      if (best > 0) slots[best - 1] = table.find(symbols[best - 1] ?? 0, symbols[best] ?? 0);
      if (best + 1 < length) slots[best] = table.find(symbols[best] ?? 0, symbols[best + 1] ?? 0);
    }
  }

  #mergeMany(symbols: Int32Array, sizes: Int32Array, count: number): number {
    this.#reserve(count);
    const table = this.#table;
    const next = this.#next;
    const previous = this.#previous;
    for (let at = 0; at < count; at++) {
      next[at] = at + 1;
      previous[at] = at - 1;
    }
    this.#heapLength = 0;
    for (let at = 0; at + 1 < count; at++) this.#offer(symbols, at, at + 1);
    while (this.#heapLength > 0) {
      const key = this.#takeLowest();
      const at = key % POSITION_RANGE;
      const right = next[at] ?? count;
      if (sizes[at] === 0 || right >= count) continue;
      const slot = table.find(symbols[at] ?? 0, symbols[right] ?? 0);
      // What was queued for a pair that has since become another one.
      if (slot < 0 || table.rankAt(slot) !== Math.floor(key / POSITION_RANGE)) continue;
      symbols[at] = table.mergedAt(slot);
      sizes[at] = (sizes[at] ?? 0) + (sizes[right] ?? 0);
      sizes[right] = 0;
      const after = next[right] ?? count;
      next[at] = after;
      if (after < count) previous[after] = at;
      const before = previous[at] ?? -1;
      if (before >= 0) this.#offer(symbols, before, at);
      if (after < count) this.#offer(symbols, at, after);
    }
    let length = 0;
    for (let at = 0; at < count; at = next[at] ?? count) {
      symbols[length] = symbols[at] ?? 0;
      sizes[length++] = sizes[at] ?? 0;
    }
    return length;
  }

  #reserve(count: number): void {
    if (this.#next.length >= count) return;
    const capacity = Math.max(256, 2 ** Math.ceil(Math.log2(count)));
    this.#next = new Int32Array(capacity);
    this.#previous = new Int32Array(capacity);
    // A merge takes one entry for good and offers at most two: three a symbol are enough.
    this.#heap = new Float64Array(3 * capacity);
  }

  #offer(symbols: Int32Array, left: number, right: number): void {
    const slot = this.#table.find(symbols[left] ?? 0, symbols[right] ?? 0);
    if (slot < 0) return;
    const key = this.#table.rankAt(slot) * POSITION_RANGE + left;
    const heap = this.#heap;
    let at = this.#heapLength++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] ?? 0;
      if (above <= key) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = key;
  }

  #takeLowest(): number {
    const heap = this.#heap;
    const lowest = heap[0] ?? 0;
    const length = --this.#heapLength;
    const moved = heap[length] ?? 0;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= length) break;
      if (child + 1 < length && (heap[child + 1] ?? 0) < (heap[child] ?? 0)) child++;
      const below = heap[child] ?? 0;
      if (below >= moved) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = moved;
    return lowest;
  }
}
