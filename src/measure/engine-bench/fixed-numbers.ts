import { roundToFloat16 } from "../../util/float16.ts";
import { Random } from "../../util/random.ts";

/** A prime, so that no row of a matrix repeats the one before. */
const PERIOD = 65_521;
/** Steps between the places where different tensors start. */
const STRIDE = 7_919;

const tables = new Map<number, Float32Array>();

function tableOf(scale: number): Float32Array {
  const known = tables.get(scale);
  if (known !== undefined) return known;
  const random = new Random(1);
  const table = Float32Array.from({ length: PERIOD }, () =>
    roundToFloat16(random.normal() * scale),
  );
  tables.set(scale, table);
  return table;
}

/**
 * Normal numbers of a standard deviation, the same on every machine, each an fp16 number. Tensors of different
 * `seed` start at different places of one long table: cheap enough for a hundred million weights.
 */
export function fixedNormals(count: number, seed: number, scale: number): Float32Array {
  const table = tableOf(scale);
  const numbers = new Float32Array(count);
  let from = (seed * STRIDE) % PERIOD;
  for (let at = 0; at < count;) {
    const run = Math.min(count - at, PERIOD - from);
    numbers.set(table.subarray(from, from + run), at);
    at += run;
    from = 0;
  }
  return numbers;
}

/**
 * An orthogonal matrix [channels, channels] with random signs: a chain of them neither grows nor dies, however
 * long it is. A Sylvester matrix times a reflection, for the factor of `channels` that is no power of two.
 */
export function orthogonalMatrix(channels: number, seed: number): Float32Array {
  let outer = channels;
  let inner = 1;
  while (outer % 2 === 0) {
    outer /= 2;
    inner *= 2;
  }
  const random = new Random(seed + 1);
  const signs = (): readonly number[] =>
    Array.from({ length: channels }, () => (random.below(2) === 0 ? 1 : -1));
  const rows = signs();
  const columns = signs();
  const matrix = new Float32Array(channels * channels);
  for (let i = 0; i < channels; i++) {
    for (let j = 0; j < channels; j++) {
      const across = Math.floor(i / inner) === Math.floor(j / inner) ? 1 : 0;
      const reflected = outer === 1 ? 1 : across - 2 / outer;
      const sign = parity((i % inner) & (j % inner)) * (rows[i] ?? 1) * (columns[j] ?? 1);
      matrix[i * channels + j] = roundToFloat16((sign * reflected) / Math.sqrt(inner));
    }
  }
  return matrix;
}

/** 1 for an even number of set bits, else -1. */
function parity(bits: number): 1 | -1 {
  let rest = bits;
  let sign: 1 | -1 = 1;
  for (; rest !== 0; rest &= rest - 1) sign = sign === 1 ? -1 : 1;
  return sign;
}

/** Numbers as int8 with one scale for the whole tensor; `scale` is an fp16 number. */
export function quantized(numbers: Float32Array): {
  readonly integers: Int8Array;
  readonly scale: number;
} {
  let largest = 0;
  for (const number of numbers) largest = Math.max(largest, Math.abs(number));
  const scale = roundToFloat16(largest / 127) || roundToFloat16(2 ** -14);
  return {
    scale,
    integers: Int8Array.from(numbers, (number) =>
      Math.max(-127, Math.min(127, Math.round(number / scale))),
    ),
  };
}
