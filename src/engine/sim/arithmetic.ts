import { roundHalfToEven } from "../../mil/host-tensor.ts";
import type { Arithmetic } from "../../chip/arithmetic/arithmetic.ts";
import { float16Bits, float16Value } from "../../util/float16.ts";
import { float16BitsAway } from "./rounding.ts";

/**
 * The engine's product arithmetic, slow and obvious. Products of fp16 numbers land on a fixed-point grid of 2^-16 or
 * vanish, their sums are exact, large ones become infinite, results are rounded to fp16: by which rules says
 * `chip/arithmetic/rules.ts`.
 */
export const GRID = 2 ** 16;

/** How a sum becomes fp16. */
export type OutputRounding = "half-away" | "half-even" | "cut";

/** The rules of products, `output` for the kind of op. */
export interface ProductRules {
  readonly drop: Arithmetic["product.drop"];
  readonly rounding: Arithmetic["product.rounding"];
  readonly range: Arithmetic["sum.range"];
  readonly special: Arithmetic["product.special"];
  readonly output: OutputRounding;
}

export function productRules(arithmetic: Arithmetic, op: "matmul" | "conv"): ProductRules {
  const output = arithmetic["output.rounding"];
  return {
    drop: arithmetic["product.drop"],
    rounding: arithmetic["product.rounding"],
    range: arithmetic["sum.range"],
    special: arithmetic["product.special"],
    output: output !== "convolutions-cut" ? output : op === "conv" ? "cut" : "half-even",
  };
}

/** A sum of so many units is infinite: 32768. */
const CEILING = 2 ** 31;
/** Beyond so many it was thought to be: 32758.8. */
const OLD_CEILING = 32758.8 * GRID;

/** The exponent of an fp16 number; subnormals and 0 count as -14. */
function exponentOf(value: number): number {
  return Math.max(((float16Bits(value) >>> 10) & 31) - 15, -14);
}

/** An operand as the multiplier reads it: infinity and NaN may be numbers of exponent 16. */
function operand(value: number, { special }: ProductRules): number {
  if (special === "ieee" || Number.isFinite(value)) return value;
  return Number.isNaN(value) ? 98304 : Math.sign(value) * 65536;
}

/** One product in units of the grid. A product that is not a number counts as 0. */
export function gridProduct(left: number, right: number, rules: ProductRules): number {
  const a = operand(left, rules);
  const b = operand(right, rules);
  const scaled = a * b * GRID;
  if (Number.isNaN(scaled)) return 0;
  if (rules.drop === "exponents") {
    if (exponentOf(a) + exponentOf(b) <= -17) return 0;
  } else if (Math.abs(scaled) < 1.5) return 0;
  return rules.rounding === "half-away" ? roundHalfAway(scaled) : roundHalfToEven(scaled);
}

/** fp16 bits of a finite sum given in units of the grid. -0 becomes +0. */
export function gridResult(sum: number, output: OutputRounding): number {
  // Exact: below the ceiling a sum has at most 31 bits.
  const value = (sum + 0) / GRID;
  if (output === "half-away") return float16BitsAway(value);
  return output === "cut" ? truncatedFloat16Bits(value) : float16Bits(value);
}

const infiniteBits = (sign: number): number => (sign < 0 ? 0xfc00 : 0x7c00);

/** fp16 bits of a sum of products, given in units of the grid in the order of channels. */
export function gridSum(terms: Iterable<number>, { range, output }: ProductRules): number {
  switch (range) {
    case "channel-order": {
      let sum = 0;
      for (const q of terms) {
        sum += q;
        if (Math.abs(sum) >= CEILING) return infiniteBits(sum);
      }
      return gridResult(sum, output);
    }
    case "any-order": {
      let above = 0;
      let below = 0;
      for (const q of terms) {
        if (q > 0) above += q;
        else below += q;
      }
      if (above >= CEILING) return 0x7c00;
      if (below <= -CEILING) return 0xfc00;
      return gridResult(above + below, output);
    }
    case "final-sum":
    case "final-sum-32758": {
      let exact = 0n;
      let infinite = 0;
      for (const q of terms) {
        if (Number.isFinite(q)) exact += BigInt(q);
        else infinite += q;
      }
      if (Number.isNaN(infinite)) return 0x7e00;
      const sum = infinite === 0 ? Number(exact) : infinite;
      const isBeyond =
        range === "final-sum" ? Math.abs(sum) >= CEILING : Math.abs(sum) > OLD_CEILING;
      return isBeyond ? infiniteBits(sum) : gridResult(sum, output);
    }
  }
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
  rules: ProductRules,
): number {
  const terms = function* (): Generator<number> {
    for (let k = 0; k < length; k++) {
      yield gridProduct(a[aStart + k] ?? 0, b[bStart + k * stride] ?? 0, rules);
    }
  };
  return gridSum(terms(), rules);
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
  rules: ProductRules,
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
        rules,
      );
    }
  }
  return result;
}

/**
 * The engine's `reduce_sum` as a tree: fp16 additions of neighbouring pairs. Inferred: sums of 8 integers are exact up
 * to 2048, and a tree gives the published relative error of 8e-4 for rows of 4096 normal numbers, where adding one
 * after the other would give 1e-2.
 */
export function narrowSum(terms: readonly number[], round: (value: number) => number): number {
  let level = terms.map(round);
  while (level.length > 1) {
    const next: number[] = [];
    for (let i = 0; i < level.length; i += 2) {
      next.push(round((level[i] ?? 0) + (level[i + 1] ?? 0)));
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

export function roundHalfAway(value: number): number {
  return Number.isFinite(value) ? Math.sign(value) * Math.floor(Math.abs(value) + 0.5) : value;
}
