import { mostLikely } from "./sampling.ts";

/** A token and the natural logarithm of its probability under the model. */
export interface TokenScore {
  readonly id: number;
  readonly logprob: number;
}

/** A token of a text, and what else the model would have written there. */
export interface ScoredToken extends TokenScore {
  /** The most likely tokens, the most likely first. */
  readonly top: readonly TokenScore[];
}

/**
 * How likely a token is by logits [V], beside the `topCount` most likely ones. The model's own distribution: before
 * temperature, penalties, and whatever rules tokens out.
 */
export function scoreToken(logits: Float32Array, id: number, topCount: number): ScoredToken {
  const total = logSumExp(logits);
  const scored = (token: number): TokenScore => ({
    id: token,
    logprob: (logits[token] ?? -Infinity) - total,
  });
  return {
    ...scored(id),
    top: topCount === 0 ? [] : mostLikely(logits, topCount).slice(0, topCount).map(scored),
  };
}

/** log(sum(exp(x))) in double precision. */
function logSumExp(logits: Float32Array): number {
  let highest = -Infinity;
  for (let index = 0; index < logits.length; index++)
    highest = Math.max(highest, logits[index] ?? -Infinity);
  let sum = 0;
  for (let index = 0; index < logits.length; index++)
    sum += Math.exp((logits[index] ?? -Infinity) - highest);
  return highest + Math.log(sum);
}
