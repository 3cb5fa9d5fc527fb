import { BYTE_ALPHABET, GPT2_SPLIT } from "./byte-level.ts";
import { TextError } from "./errors.ts";
import {
  bpeModel,
  describe,
  END_OF_TEXT,
  tokenizerConfig,
  tokenizerJson,
} from "./simple-tokenizers.ts";
import type { DescribedTokenizer } from "./simple-tokenizers.ts";
import { specialToken } from "./tokenizer-json.ts";

/** How a tokenizer is trained. */
export interface BpeTrainingOptions {
  /** Size to reach: 256 bytes, the merges, the special tokens. */
  readonly vocabularySize: number;
  /** Tokens that take the last ids and are never merged; the first one ends a document. Default <|endoftext|>. */
  readonly specialTokens?: readonly string[];
  /** A pair seen less often is not merged, so the vocabulary may stay smaller. Default 2. */
  readonly minimumFrequency?: number;
  /** Hears how many merges are found. */
  readonly onProgress?: (mergeCount: number, mergeTotal: number) => void;
}

const LARGEST_VOCABULARY = 1 << 20;
/** A pair of ids as one number; both are below 2^20. */
const pairKey = (left: number, right: number): number => left * LARGEST_VOCABULARY + right;

/** How often each word occurs, over all texts. */
export function countWords(
  texts: Iterable<string>,
  separators: readonly string[],
): Map<string, number> {
  const counts = new Map<string, number>();
  for (const text of texts) {
    let sections = [text];
    for (const separator of separators)
      sections = sections.flatMap((section) => section.split(separator));
    for (const section of sections) {
      for (const word of section.match(GPT2_SPLIT) ?? [])
        counts.set(word, (counts.get(word) ?? 0) + 1);
    }
  }
  return counts;
}

/** Pairs by count, largest first; among equal counts the smaller key wins, so the result never depends on order. */
class PairHeap {
  readonly #keys: number[] = [];
  readonly #counts: number[] = [];

  push(key: number, count: number): void {
    let at = this.#keys.length;
    this.#keys.push(key);
    this.#counts.push(count);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#isBefore(at, parent)) break;
      this.#swap(at, parent);
      at = parent;
    }
  }

  pop(): { readonly key: number; readonly count: number } | undefined {
    const key = this.#keys[0];
    const count = this.#counts[0];
    if (key === undefined || count === undefined) return undefined;
    this.#swap(0, this.#keys.length - 1);
    this.#keys.pop();
    this.#counts.pop();
    let at = 0;
    for (;;) {
      let next = 2 * at + 1;
      if (next >= this.#keys.length) break;
      if (next + 1 < this.#keys.length && this.#isBefore(next + 1, next)) next++;
      if (!this.#isBefore(next, at)) break;
      this.#swap(at, next);
      at = next;
    }
    return { key, count };
  }

  #isBefore(a: number, b: number): boolean {
    const countA = this.#counts[a] ?? 0;
    const countB = this.#counts[b] ?? 0;
    return countA === countB ? (this.#keys[a] ?? 0) < (this.#keys[b] ?? 0) : countA > countB;
  }

  #swap(a: number, b: number): void {
    const [keyA, keyB] = [this.#keys[a] ?? 0, this.#keys[b] ?? 0];
    const [countA, countB] = [this.#counts[a] ?? 0, this.#counts[b] ?? 0];
    this.#keys[a] = keyB;
    this.#keys[b] = keyA;
    this.#counts[a] = countB;
    this.#counts[b] = countA;
  }
}

/** Symbols of all words, one after the other, linked to their neighbours within a word. */
class SymbolChains {
  readonly ids: Int32Array;
  /** How often the word of each symbol occurs. */
  readonly frequencies: Float64Array;
  /** Neighbours, -1 at the ends of a word. */
  readonly next: Int32Array;
  readonly previous: Int32Array;

  constructor(wordCounts: ReadonlyMap<string, number>) {
    let length = 0;
    for (const word of wordCounts.keys()) length += Buffer.byteLength(word);
    this.ids = new Int32Array(length);
    this.frequencies = new Float64Array(length);
    this.next = new Int32Array(length).fill(-1);
    this.previous = new Int32Array(length).fill(-1);
    let at = 0;
    for (const [word, frequency] of wordCounts) {
      const bytes = Buffer.from(word);
      for (let index = 0; index < bytes.length; index++, at++) {
        this.ids[at] = bytes[index] ?? 0;
        this.frequencies[at] = frequency;
        if (index === 0) continue;
        this.previous[at] = at - 1;
        this.next[at - 1] = at;
      }
    }
  }

  /** The pair that begins at a symbol; -1 where none does. */
  pairAt(at: number): number {
    const next = this.next[at] ?? -1;
    const id = this.ids[at] ?? -1;
    return next < 0 || id < 0 ? -1 : pairKey(id, this.ids[next] ?? 0);
  }

  /** Joins a symbol with the next one. */
  join(at: number, merged: number): void {
    const gone = this.next[at] ?? -1;
    const after = this.next[gone] ?? -1;
    this.ids[at] = merged;
    this.ids[gone] = -1;
    this.next[at] = after;
    if (after >= 0) this.previous[after] = at;
  }
}

/**
 * Merges, in order, of byte-pair encoding over counted words: ids 0 to 255 are bytes, merge i makes id 256 + i.
 *
 * Counts of pairs are kept up to date, and a merge visits only the places where its pair stands, so that one word of a
 * million letters is learnt in about the time of as many short ones. A count in the heap may be stale but only too
 * large, so a popped pair whose count has sunk goes back with the true one.
 */
export function learnMerges(
  wordCounts: ReadonlyMap<string, number>,
  mergeTotal: number,
  minimumFrequency: number,
  onProgress: (mergeCount: number, mergeTotal: number) => void = () => undefined,
): (readonly [number, number])[] {
  const chains = new SymbolChains(wordCounts);
  const counts = new Map<number, number>();
  /** Where pairs begin, or began. */
  const places = new Map<number, number[]>();
  const add = (at: number): number => {
    const key = chains.pairAt(at);
    if (key < 0) return key;
    counts.set(key, (counts.get(key) ?? 0) + (chains.frequencies[at] ?? 0));
    const known = places.get(key);
    if (known === undefined) places.set(key, [at]);
    else known.push(at);
    return key;
  };
  const remove = (at: number): void => {
    const key = chains.pairAt(at);
    if (key >= 0) counts.set(key, (counts.get(key) ?? 0) - (chains.frequencies[at] ?? 0));
  };
  for (let at = 0; at < chains.ids.length; at++) add(at);
  const heap = new PairHeap();
  for (const [key, count] of counts) heap.push(key, count);

  const merges: (readonly [number, number])[] = [];
  while (merges.length < mergeTotal) {
    const best = heap.pop();
    if (best === undefined) break;
    const count = counts.get(best.key) ?? 0;
    if (count < best.count) {
      if (count >= minimumFrequency) heap.push(best.key, count);
      continue;
    }
    if (count < minimumFrequency) break;
    const left = Math.floor(best.key / LARGEST_VOCABULARY);
    const right = best.key % LARGEST_VOCABULARY;
    const merged = 256 + merges.push([left, right]) - 1;
    const touched = new Set<number>();
    // From left to right: of three equal letters, the first two are joined.
    for (const at of Int32Array.from(places.get(best.key) ?? []).sort()) {
      if (chains.pairAt(at) !== best.key) continue;
      const before = chains.previous[at] ?? -1;
      const after = chains.next[at] ?? -1;
      remove(at);
      remove(after);
      if (before >= 0) remove(before);
      chains.join(at, merged);
      touched.add(add(at));
      if (before >= 0) touched.add(add(before));
    }
    counts.delete(best.key);
    places.delete(best.key);
    for (const key of touched) {
      const fresh = counts.get(key) ?? 0;
      if (fresh > 0) heap.push(key, fresh);
    }
    onProgress(merges.length, mergeTotal);
  }
  return merges;
}

/**
 * Trains a byte-level BPE tokenizer in GPT-2's manner. The same texts and options give the same tokenizer.
 * Throws `TextError` `text.vocabulary` for an impossible size and `text.empty` when there is no text.
 */
export function trainBpe(texts: Iterable<string>, options: BpeTrainingOptions): DescribedTokenizer {
  const specialTokens = options.specialTokens ?? [END_OF_TEXT];
  const smallest = 256 + specialTokens.length;
  const { vocabularySize } = options;
  if (
    !Number.isInteger(vocabularySize) ||
    vocabularySize < smallest ||
    vocabularySize > LARGEST_VOCABULARY
  ) {
    throw new TextError(
      "text.vocabulary",
      `a vocabulary of ${vocabularySize} tokens cannot be trained: it needs ${smallest} (256 bytes and ${specialTokens.length} special) to ${LARGEST_VOCABULARY}`,
    );
  }
  const wordCounts = countWords(texts, specialTokens);
  if (wordCounts.size === 0)
    throw new TextError("text.empty", "there is no text to train a tokenizer on");
  const merges = learnMerges(
    wordCounts,
    vocabularySize - smallest,
    options.minimumFrequency ?? 2,
    options.onProgress,
  );
  const spellings: string[] = [...BYTE_ALPHABET];
  const spelledMerges = merges.map(([left, right]): [string, string] => {
    const pair: [string, string] = [spellings[left] ?? "", spellings[right] ?? ""];
    spellings.push(pair[0] + pair[1]);
    return pair;
  });
  const vocab = Object.fromEntries(spellings.map((spelling, id) => [spelling, id]));
  const added = specialTokens.map((content, index) =>
    specialToken(spellings.length + index, content),
  );
  for (const token of added) vocab[token.content] = token.id;
  const byteLevel = {
    type: "ByteLevel",
    add_prefix_space: false,
    trim_offsets: true,
    use_regex: true,
  };
  const json = tokenizerJson({
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: bpeModel(vocab, spelledMerges, null),
  });
  return describe(json, tokenizerConfig({ endOfText: specialTokens[0] }), "trained tokenizer");
}
