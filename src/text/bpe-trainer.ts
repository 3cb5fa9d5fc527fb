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

export interface BpeTrainingOptions {
  /** Size to reach: 256 bytes, the merges, the special tokens. */
  readonly vocabularySize: number;
  /** Tokens that take the last ids and are never merged; the first one ends a document. Default <|endoftext|>. */
  readonly specialTokens?: readonly string[];
  /** A pair seen less often is not merged, so the vocabulary may stay smaller. Default 2. */
  readonly minimumFrequency?: number;
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

/**
 * Merges, in order, of byte-pair encoding over counted words: ids 0 to 255 are bytes, merge i makes id 256 + i.
 *
 * Counts of pairs are kept up to date: a merge visits only the words that hold its pair. A count in the heap may be
 * stale but only too large, so a popped pair whose count has sunk goes back with the true one.
 */
export function learnMerges(
  wordCounts: ReadonlyMap<string, number>,
  mergeTotal: number,
  minimumFrequency: number,
  onProgress: (mergeCount: number, mergeTotal: number) => void = () => undefined,
): (readonly [number, number])[] {
  const words: number[][] = [];
  const frequencies: number[] = [];
  const counts = new Map<number, number>();
  const holders = new Map<number, Set<number>>();
  const adjust = (key: number, change: number, word: number): void => {
    counts.set(key, (counts.get(key) ?? 0) + change);
    if (change <= 0) return;
    const held = holders.get(key);
    if (held === undefined) holders.set(key, new Set([word]));
    else held.add(word);
  };
  for (const [text, frequency] of wordCounts) {
    const ids = Array.from(Buffer.from(text));
    const word = words.push(ids) - 1;
    frequencies.push(frequency);
    for (let at = 1; at < ids.length; at++)
      adjust(pairKey(ids[at - 1] ?? 0, ids[at] ?? 0), frequency, word);
  }
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
    for (const word of holders.get(best.key) ?? []) {
      const ids = words[word] ?? [];
      const frequency = frequencies[word] ?? 0;
      const joined: number[] = [];
      let changed = false;
      for (let at = 0; at < ids.length; at++) {
        const id = ids[at] ?? 0;
        if (id === left && ids[at + 1] === right) {
          joined.push(merged);
          at++;
          changed = true;
        } else joined.push(id);
      }
      if (!changed) continue;
      for (let at = 1; at < ids.length; at++)
        adjust(pairKey(ids[at - 1] ?? 0, ids[at] ?? 0), -frequency, word);
      for (let at = 1; at < joined.length; at++) {
        const key = pairKey(joined[at - 1] ?? 0, joined[at] ?? 0);
        adjust(key, frequency, word);
        if (joined[at - 1] === merged || joined[at] === merged) touched.add(key);
      }
      words[word] = joined;
    }
    counts.delete(best.key);
    holders.delete(best.key);
    for (const key of touched) heap.push(key, counts.get(key) ?? 0);
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
