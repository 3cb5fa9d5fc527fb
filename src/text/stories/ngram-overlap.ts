/** Words in lower case, without punctuation. */
export function wordsInText(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}]+(?:['’-][\p{L}\p{N}]+)*/gu) ?? [];
}

function hashOfWord(word: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < word.length; index++)
    hash = Math.imul(hash ^ word.charCodeAt(index), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return (hash ^ (hash >>> 13)) >>> 0;
}

/**
 * The word n-grams of a corpus, each as a 64-bit hash in an open table: 16 bytes an n-gram or less, so the 4 million
 * of a training corpus take some 64 MB. N-grams never span two texts.
 */
export class NgramIndex {
  readonly n: number;
  #size = 0;
  #low: Uint32Array;
  #high: Uint32Array;

  constructor(n: number) {
    this.n = n;
    this.#low = new Uint32Array(1 << 12);
    this.#high = new Uint32Array(1 << 12);
  }

  /** Distinct n-grams held. */
  get size(): number {
    return this.#size;
  }

  /** Adds a text's n-grams. */
  add(text: string): void {
    for (const [low, high] of this.#hashes(text)) {
      if (this.#size * 2 >= this.#low.length) this.#grow();
      if (this.#insert(low, high)) this.#size++;
    }
  }

  /** Share of the n-grams of a text that the index holds, from 0 to 1; 0 for a text shorter than n words. */
  overlap(text: string): number {
    let found = 0;
    let total = 0;
    for (const [low, high] of this.#hashes(text)) {
      total++;
      const slot = this.#slotOf(low, high);
      if (this.#low[slot] === low && this.#high[slot] === high) found++;
    }
    return total === 0 ? 0 : found / total;
  }

  *#hashes(text: string): Generator<readonly [number, number]> {
    const words = wordsInText(text).map(hashOfWord);
    for (let start = 0; start + this.n <= words.length; start++) {
      let low = 0x9e3779b9;
      let high = 0x7f4a7c15;
      for (let index = start; index < start + this.n; index++) {
        const word = words[index] ?? 0;
        low = Math.imul(low ^ word, 0x85ebca6b);
        low ^= low >>> 15;
        high = Math.imul(high + word, 0xc2b2ae35);
        high ^= high >>> 13;
      }
      // A low half of 0 marks an empty slot.
      yield [(low | 1) >>> 0, high >>> 0];
    }
  }

  #slotOf(low: number, high: number): number {
    const mask = this.#low.length - 1;
    let slot = (low ^ Math.imul(high, 0x9e3779b1)) & mask;
    while (this.#low[slot] !== 0 && (this.#low[slot] !== low || this.#high[slot] !== high))
      slot = (slot + 1) & mask;
    return slot;
  }

  #insert(low: number, high: number): boolean {
    const slot = this.#slotOf(low, high);
    if (this.#low[slot] !== 0) return false;
    this.#low[slot] = low;
    this.#high[slot] = high;
    return true;
  }

  #grow(): void {
    const [lows, highs] = [this.#low, this.#high];
    this.#low = new Uint32Array(lows.length * 2);
    this.#high = new Uint32Array(lows.length * 2);
    for (const [index, low] of lows.entries()) if (low !== 0) this.#insert(low, highs[index] ?? 0);
  }
}

/** Share of the word n-grams of `text` that occur in the corpus, from 0 to 1. */
export function ngramOverlap(
  text: string,
  corpus: Iterable<string> | NgramIndex,
  n: number,
): number {
  if (corpus instanceof NgramIndex) return corpus.overlap(text);
  const index = new NgramIndex(n);
  for (const other of corpus) index.add(other);
  return index.overlap(text);
}
