import { roundToHalf } from "./rounding.ts";

/**
 * Sums of runs of `count` numbers in fp16, in a tree of neighbouring pairs: what `reduce_sum` does on the
 * engine (arithmetic.ts, `narrowSum`).
 */
export function narrowSums(values: Float64Array, count: number): Float64Array {
  const runs = count === 0 ? 0 : values.length / count;
  let level = Float64Array.from(values);
  let width = count;
  roundToHalf(level);
  while (width > 1) {
    const half = Math.ceil(width / 2);
    const next = new Float64Array(runs * half);
    for (let run = 0; run < runs; run++) {
      const from = run * width;
      const to = run * half;
      for (let i = 0; i < half; i++) {
        const second = 2 * i + 1 < width ? (level[from + 2 * i + 1] ?? 0) : 0;
        next[to + i] = (level[from + 2 * i] ?? 0) + second;
      }
    }
    roundToHalf(next);
    level = next;
    width = half;
  }
  return count === 0 ? new Float64Array(1) : level;
}

export function wideSums(values: Float64Array, count: number): Float64Array {
  const sums = new Float64Array(count === 0 ? 1 : values.length / count);
  for (let run = 0; run < sums.length; run++) {
    let sum = 0;
    for (let i = run * count; i < (run + 1) * count; i++) sum += values[i] ?? 0;
    sums[run] = sum;
  }
  return sums;
}
