import type { Random } from "../util/random.ts";
import { GenerateError } from "./errors.ts";

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
 * Draws the next token. Order as in Hugging Face: repetition penalty, temperature, top-k, top-p, min-p.
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
  if (options.temperature === 0) return indexOfMaximum(scores);

  const candidates = mostLikely(scores, options.topK);
  const highest = scores[candidates[0] ?? 0] ?? 0;
  const weights = candidates.map((token) =>
    Math.exp(((scores[token] ?? -Infinity) - highest) / options.temperature),
  );
  let total = 0;
  for (const weight of weights) total += weight;

  let kept = candidates.length;
  if (options.topP < 1) {
    let sum = 0;
    for (kept = 0; kept < weights.length && sum < options.topP * total; kept++)
      sum += weights[kept] ?? 0;
  }
  if (options.minP > 0) {
    let floor = 0;
    while (floor < kept && (weights[floor] ?? 0) >= options.minP) floor++;
    kept = Math.max(1, floor);
  }

  let keptTotal = 0;
  for (let index = 0; index < kept; index++) keptTotal += weights[index] ?? 0;
  let threshold = random.uniform() * keptTotal;
  for (let index = 0; index < kept; index++) {
    threshold -= weights[index] ?? 0;
    if (threshold < 0) return candidates[index] ?? 0;
  }
  return candidates[kept - 1] ?? 0;
}

function indexOfMaximum(scores: Float32Array): number {
  let best = 0;
  for (let index = 1; index < scores.length; index++) {
    if ((scores[index] ?? 0) > (scores[best] ?? 0)) best = index;
  }
  return best;
}

/** Token ids by falling score (ties by id), the first `count` of them, or all for 0. */
function mostLikely(scores: Float32Array, count: number): number[] {
  const ids = Array.from(scores.keys());
  ids.sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0) || a - b);
  return count > 0 ? ids.slice(0, count) : ids;
}
