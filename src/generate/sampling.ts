import type { Random } from "../util/random.ts";
import { GenerateError } from "./errors.ts";
import { startThatReaches } from "./selection.ts";

/** How the next token is drawn. Names follow Hugging Face. */
export interface SamplingOptions {
  /** 0 takes the most likely token; 1 samples the model's own distribution. */
  readonly temperature: number;
  /** Keeps the k most likely tokens; 0 keeps all. */
  readonly topK: number;
  /** Keeps the smallest set of most likely tokens whose probabilities reach p; 1 keeps all. */
  readonly topP: number;
  /** Keeps tokens at least this share as likely as the most likely one; 0 keeps all. */
  readonly minP: number;
  /** Divides positive and multiplies negative logits of tokens seen before (CTRL, Keskar 2019); 1 is off. */
  readonly repetitionPenalty: number;
}

/** The most likely token is taken; nothing is drawn. */
export const GREEDY: SamplingOptions = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
};

/** Throws `GenerateError` for a setting out of its range. */
export function checkSampling(options: SamplingOptions): void {
  const rules: readonly (readonly [string, number, boolean, string])[] = [
    ["temperature", options.temperature, options.temperature >= 0, "0 or more"],
    [
      "top_k",
      options.topK,
      options.topK >= 0 && Number.isInteger(options.topK),
      "a whole number, 0 or more",
    ],
    ["top_p", options.topP, options.topP > 0 && options.topP <= 1, "above 0 and at most 1"],
    ["min_p", options.minP, options.minP >= 0 && options.minP <= 1, "from 0 to 1"],
    ["repetition_penalty", options.repetitionPenalty, options.repetitionPenalty > 0, "above 0"],
  ];
  for (const [name, value, holds, range] of rules) {
    if (!holds)
      throw new GenerateError("generate.sampling", `${name} is ${value}; it must be ${range}`);
  }
}

/**
 * Draws the next token. Order as in Hugging Face: repetition penalty, temperature, top-k, top-p, min-p. Throws
 * `GenerateError` `generate.not_finite` for scores that are no numbers or infinite.
 * @param logits [vocabulary]; not changed
 * @param seen tokens of the text so far, for the repetition penalty
 */
export function sampleToken(
  logits: Float32Array,
  options: SamplingOptions,
  random: Random,
  seen: Iterable<number> = [],
): number {
  let scores = logits;
  if (options.repetitionPenalty !== 1) {
    scores = Float32Array.from(logits);
    for (const token of new Set(seen)) {
      const score = scores[token];
      if (score === undefined) continue;
      scores[token] =
        score > 0 ? score / options.repetitionPenalty : score * options.repetitionPenalty;
    }
  }
  const best = indexOfMaximum(scores);
  if (options.temperature === 0) return best;
  const highest = scores[best] ?? 0;
  const weightOf = (token: number): number =>
    Math.exp(((scores[token] ?? -Infinity) - highest) / options.temperature);
  const draw = random.uniform();
  if (options.topK > 0) {
    const candidates = mostLikely(scores, options.topK);
    const weights = candidates.map(weightOf);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return drawn(candidates, weights, { ...options, total, draw, isAll: true }) ?? best;
  }
  let total = 0;
  for (let token = 0; token < scores.length; token++) total += weightOf(token);
  // Mostly few tokens decide; where they do not, the draw is found without putting the others in order.
  const candidates = mostLikely(scores, FEW);
  const weights = candidates.map(weightOf);
  const isAll = candidates.length === scores.length;
  return (
    drawn(candidates, weights, { ...options, total, draw, isAll }) ??
    selected(scores, weightOf, { ...options, total, draw }) ??
    best
  );
}

/** As `drawn`, among all tokens. */
function selected(
  scores: Float32Array,
  weightOf: (token: number) => number,
  { topP, minP, total, draw }: Pick<SamplingOptions, "topP" | "minP"> & Draw,
): number | undefined {
  const keys = keysOf(scores);
  const ranked = { keys, weightOf: (key: number): number => weightOf(key % MOST_IDS) };
  let kept = { count: keys.length, total };
  if (topP < 1) kept = startThatReaches(ranked, kept.count, topP * total);
  if (minP > 0) {
    // A weight is 1 for the likeliest: what is likely enough is a start of the ranking.
    let count = 0;
    let sum = 0;
    for (let place = 0; place < kept.count; place++) {
      const key = keys[place] ?? 0;
      const weight = ranked.weightOf(key);
      if (weight < minP) continue;
      keys[place] = keys[count] ?? 0;
      keys[count++] = key;
      sum += weight;
    }
    kept = { count, total: sum };
  }
  const { count } = startThatReaches(ranked, kept.count, draw * kept.total, true);
  const key = keys[count - 1];
  return key === undefined ? undefined : key % MOST_IDS;
}

interface Draw {
  /** Weights of all tokens. */
  readonly total: number;
  /** From [0, 1). */
  readonly draw: number;
}

/** Tokens that are put in order first. */
const FEW = 64;

/**
 * The token that a draw from [0, 1) falls on among candidates, the likeliest first; nothing where others than these
 * would decide. `total`: the weights of all tokens.
 */
function drawn(
  candidates: readonly number[],
  weights: readonly number[],
  {
    topP,
    minP,
    total,
    draw,
    isAll,
  }: Pick<SamplingOptions, "topP" | "minP"> & Draw & { readonly isAll: boolean },
): number | undefined {
  let kept = candidates.length;
  let isCut = false;
  if (topP < 1) {
    let sum = 0;
    for (kept = 0; kept < weights.length && sum < topP * total; kept++) sum += weights[kept] ?? 0;
    isCut = sum >= topP * total;
  }
  if (minP > 0) {
    let floor = 0;
    while (floor < kept && (weights[floor] ?? 0) >= minP) floor++;
    isCut ||= floor < kept;
    kept = Math.max(1, floor);
  }
  if (!isCut && !isAll && (topP < 1 || minP > 0)) return undefined;
  let keptTotal = 0;
  if (isCut || isAll) for (let index = 0; index < kept; index++) keptTotal += weights[index] ?? 0;
  else keptTotal = total;
  let threshold = draw * keptTotal;
  for (let index = 0; index < kept; index++) {
    threshold -= weights[index] ?? 0;
    if (threshold < 0) return candidates[index];
  }
  return isCut || isAll ? candidates[kept - 1] : undefined;
}

/**
 * The likeliest token, the first of several. Throws `GenerateError` for scores that nothing can be drawn from: a model that
 * overflowed.
 */
function indexOfMaximum(scores: Float32Array): number {
  let best = 0;
  let highest = -Infinity;
  for (let start = 0; start < scores.length; start += 4) {
    // Most tokens are no better than the best so far: four of them by one look. What is no number compares with nothing.
    if (
      (scores[start] ?? NaN) <= highest &&
      (scores[start + 1] ?? NaN) <= highest &&
      (scores[start + 2] ?? NaN) <= highest &&
      (scores[start + 3] ?? NaN) <= highest
    )
      continue;
    for (let token = start; token < Math.min(start + 4, scores.length); token++) {
      const score = scores[token] ?? NaN;
      if (score > highest) {
        best = token;
        highest = score;
      }
      // Minus infinity is a token that is ruled out.
      if (score < Infinity) continue;
      throw new GenerateError(
        "generate.not_finite",
        `the score of token ${token} is ${score}: the model's numbers are broken`,
        { remedy: "Check its weights with `anecdote eval`, or choose another --engine." },
      );
    }
  }
  return best;
}

/** Token ids fit beside a score's 32 bits into the whole numbers that a double holds. */
const MOST_IDS = 2 ** 21;

/**
 * Token ids by falling score (ties by id), the first `count` of them, or all for 0. A score and its id are one number, so
 * that the few best are found in one pass and all are sorted without a comparison function.
 */
export function mostLikely(scores: Float32Array, count: number): readonly number[] {
  if (scores.length > MOST_IDS)
    throw new GenerateError(
      "generate.vocabulary",
      `a vocabulary of ${scores.length} is too large to draw from; at most ${MOST_IDS} tokens are`,
    );
  const bits = new Uint32Array(scores.buffer, scores.byteOffset, scores.length);
  if (count === 0 || count >= scores.length) {
    return Array.from(keysOf(scores).sort(), (key) => key % MOST_IDS);
  }
  return Array.from(smallestKeys(bits, count), (key) => key % MOST_IDS);
}

/** A key for each token [V]: the likeliest has the smallest. */
function keysOf(scores: Float32Array): Float64Array {
  const bits = new Uint32Array(scores.buffer, scores.byteOffset, scores.length);
  const keys = new Float64Array(scores.length);
  for (let id = 0; id < keys.length; id++) keys[id] = keyOf(bits[id] ?? 0, id);
  return keys;
}

/** Grows as the score falls, and with the id where scores are equal. `pattern`: the bits of an fp32. */
function keyOf(pattern: number, id: number): number {
  // As a whole number that grows with the float: negative ones have all bits turned, others the sign; -0 is 0.
  const bits = pattern === 0x80000000 ? 0 : pattern;
  const ordered = (bits < 0x80000000 ? bits ^ 0x80000000 : ~bits) >>> 0;
  return (0xffffffff - ordered) * MOST_IDS + id;
}

/** The `count` smallest keys, smallest first: the best so far in a heap with the worst of them on top. */
function smallestKeys(bits: Uint32Array, count: number): Float64Array {
  const heap = new Float64Array(count);
  const at = (index: number): number => heap[index] ?? Infinity;
  const sink = (key: number, size: number): void => {
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= size) break;
      if (child + 1 < size && at(child + 1) > at(child)) child++;
      if (at(child) <= key) break;
      heap[place] = at(child);
      place = child;
    }
    heap[place] = key;
  };
  for (let id = 0; id < count; id++) heap[id] = keyOf(bits[id] ?? 0, id);
  // Sorted from the worst on it is a heap.
  heap.sort().reverse();
  for (let id = count; id < bits.length; id++) {
    const key = keyOf(bits[id] ?? 0, id);
    if (key < at(0)) sink(key, count);
  }
  return heap.sort();
}
