// What the parts of the product kernel agree on.

/** 1.5 * 2^23: adding it to |p| < 2^22 leaves rint(p) in the low bits, ties to even. */
export const MAGIC: f32 = 12582912.0;
export const MAGIC_BITS: i32 = 0x4b400000;
/** Steps of the depth that have a bound of their own. */
export const BLOCK: u32 = 64;

// Bits of a product's mode, as grid-mode.ts makes them.
/** How a sum becomes fp16: ties to even, cut off, ties away from zero. */
export const OUTPUT_MASK: u32 = 3;
export const OUTPUT_EVEN: u32 = 0;
export const OUTPUT_CUT: u32 = 1;
export const OUTPUT_AWAY: u32 = 2;
/** Ordinary fp32 sums. */
export const PLAIN_SUMS: u32 = 4;
/** Products vanish by their operands' exponents, else by their size. */
export const DROP_EXPONENTS: u32 = 8;
/** Products are rounded half away from zero, else half to even. */
export const ROUND_AWAY: u32 = 16;
/** What makes a sum infinite. */
export const RANGE_MASK: u32 = 96;
export const RANGE_FINAL_OLD: u32 = 0;
export const RANGE_FINAL: u32 = 32;
export const RANGE_CHANNELS: u32 = 64;
export const RANGE_ANY: u32 = 96;

/** Products of magnitudes below this become 0 by size: one and a half units of the grid. */
const LEAST_SIZE: f32 = 0.00002288818359375;
/** Half a unit. */
const HALF_UNIT: f32 = 0.00000762939453125;

/** Exponent of an fp16 number with the bias of fp32; that of subnormals and 0 is -14. */
@inline
function exponentOf(x: f32): i32 {
  return max<i32>((reinterpret<i32>(x) >> 23) & 255, 113);
}

/** Whether no product of magnitudes up to these two counts. */
@inline
export function isNothing(a: f32, b: f32, mode: u32): bool {
  if (mode & DROP_EXPONENTS) return a * b < HALF_UNIT || exponentOf(a) + exponentOf(b) <= 237;
  return a * b < LEAST_SIZE;
}

/**
 * Magnitudes of the right operand, in units of the grid, from which on a product with each of four numbers counts:
 * by exponents e_a + e_b >= -16, where those of subnormals and 0 are -14.
 */
@inline
export function exponentThresholds(x: v128): v128 {
  const exponents = i32x4.max_s(
    v128.and(x, i32x4.splat(0x7f800000)),
    i32x4.splat(113 << 23),
  );
  const thresholds = i32x4.sub(i32x4.splat(254 << 23), exponents);
  // From -2 on every exponent of the other is enough.
  return v128.and(thresholds, i32x4.lt_s(exponents, i32x4.splat(125 << 23)));
}
