import { float16Bits, float16Value } from "../../util/float16.ts";

/**
 * The engine's product arithmetic, slow and obvious. Products of fp16 numbers land on a fixed-point grid
 * of 2^-16: q = rint(a * b * 2^16), ties to even; |q| <= 1 becomes 0; sums are exact; a sum beyond
 * `PRODUCT_CEILING` is infinite. The model reproduces the published matrix-product errors of M1 Max,
 * M4 Max and M6 at N = 512 to 8192 within 2 % (docs/numerics.md); where the ceiling is decided, on the
 * final sum, is inferred.
 */
export const GRID = 2 ** 16;

/** Measured on M1 to M6, the same for every length of the sum (ANEForge numeric cliffs). */
export const PRODUCT_CEILING = 32758.8;

/** Sums of |q| beyond this are not exact in doubles. */
const EXACT = 2 ** 53;

/** One product in units of the grid. A product that is not a number counts as 0. */
export function gridProduct(a: number, b: number): number {
  const scaled = a * b * GRID;
  if (Number.isNaN(scaled)) return 0;
  const q = roundHalfEven(scaled);
  return Math.abs(q) <= 1 ? 0 : q;
}

/** How the sum becomes fp16: rounded to nearest, or cut off as convolutions of H17 and H18 do. */
export type OutputRounding = "nearest" | "truncate";

/** fp16 bits of a sum given in units of the grid. */
export function gridResult(sum: number | bigint, rounding: OutputRounding): number {
  const value = Number(sum) / GRID;
  if (Math.abs(value) > PRODUCT_CEILING) return value < 0 ? 0xfc00 : 0x7c00;
  // Exact: below the ceiling a sum has at most 31 bits.
  return rounding === "truncate" ? truncatedFloat16Bits(value) : float16Bits(value);
}

/**
 * The dot product of two rows of fp16 numbers as fp16 bits.
 *
 * @param stride distance in `b` between neighbouring terms
 */
export function gridDot(
  a: ArrayLike<number>,
  aStart: number,
  b: ArrayLike<number>,
  bStart: number,
  length: number,
  stride: number,
  rounding: OutputRounding,
): number {
  let sum = 0;
  let magnitude = 0;
  for (let k = 0; k < length; k++) {
    const q = gridProduct(a[aStart + k] ?? 0, b[bStart + k * stride] ?? 0);
    sum += q;
    magnitude += Math.abs(q);
  }
  if (magnitude < EXACT || !Number.isFinite(magnitude)) {
    return Number.isNaN(sum) ? 0x7e00 : gridResult(sum, rounding);
  }
  let exact = 0n;
  for (let k = 0; k < length; k++) {
    exact += BigInt(gridProduct(a[aStart + k] ?? 0, b[bStart + k * stride] ?? 0));
  }
  return gridResult(exact, rounding);
}

/**
 * `left` [rows, depth] times `right` [depth, columns], both fp16 numbers, as fp16 bits [rows, columns].
 */
export function gridMatmul(
  left: ArrayLike<number>,
  right: ArrayLike<number>,
  rows: number,
  depth: number,
  columns: number,
  rounding: OutputRounding = "nearest",
): Uint16Array {
  const result = new Uint16Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      result[row * columns + column] = gridDot(
        left,
        row * depth,
        right,
        column,
        depth,
        columns,
        rounding,
      );
    }
  }
  return result;
}

/**
 * The engine's `reduce_sum`: fp16 additions in a tree of neighbouring pairs. Inferred: sums of 8 integers
 * are exact up to 2048, and a tree gives the published relative error of 8e-4 for rows of 4096 normal
 * numbers, where adding one after the other would give 1e-2.
 */
export function narrowSum(terms: readonly number[]): number {
  let level = terms.map((term) => float16Value(float16Bits(term)));
  while (level.length > 1) {
    const next: number[] = [];
    for (let i = 0; i < level.length; i += 2) {
      next.push(float16Value(float16Bits((level[i] ?? 0) + (level[i + 1] ?? 0))));
    }
    level = next;
  }
  return level[0] ?? 0;
}

/** The fp16 number next to `value` on the side of zero, as bits. */
export function truncatedFloat16Bits(value: number): number {
  const bits = float16Bits(value);
  return Math.abs(float16Value(bits)) > Math.abs(value) ? bits - 1 : bits;
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest > 0.5 || (rest === 0.5 && floor % 2 !== 0)) return floor + 1;
  return floor;
}
