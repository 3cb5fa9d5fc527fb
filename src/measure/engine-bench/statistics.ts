import { quantile } from "../published/accuracy.ts";

const STEPS = 20;

/** Milliseconds of timed calls, quantiles every 5 % from the fastest to the slowest. Throws `RangeError` for no numbers. */
export function timingOf(samplesMs: readonly number[]) {
  if (samplesMs.length === 0) throw new RangeError("a timing needs at least one run");
  const at = (fraction: number): number => quantile(samplesMs, fraction);
  return {
    runs: samplesMs.length,
    median_ms: at(0.5),
    p10_ms: at(0.1),
    p90_ms: at(0.9),
    minimum_ms: at(0),
    quantiles_ms: Array.from({ length: STEPS + 1 }, (_, step) => at(step / STEPS)),
  };
}

/** Least squares y = intercept + slope x; nothing for fewer than two different x. */
export function lineThrough(
  points: readonly (readonly [number, number])[],
): { readonly intercept: number; readonly slope: number } | undefined {
  const count = points.length;
  let sumX = 0;
  let sumY = 0;
  for (const [x, y] of points) {
    sumX += x;
    sumY += y;
  }
  let covariance = 0;
  let variance = 0;
  for (const [x, y] of points) {
    covariance += (x - sumX / count) * (y - sumY / count);
    variance += (x - sumX / count) ** 2;
  }
  if (count < 2 || variance === 0) return undefined;
  const slope = covariance / variance;
  return { slope, intercept: sumY / count - (slope * sumX) / count };
}
