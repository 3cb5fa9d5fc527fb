// Functions of four fp32 numbers at once, and sums over lanes in one order.

/** The sum of the four lanes, always (0 + 1) + (2 + 3). */
// @ts-ignore: decorator
@inline
export function laneSum(v: v128): f32 {
  return (
    f32x4.extract_lane(v, 0) +
    f32x4.extract_lane(v, 1) +
    (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3))
  );
}

/** The sums of the lanes of four vectors, each as `laneSum` adds. */
// @ts-ignore: decorator
@inline
export function laneSums(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab0 = v128.shuffle<i32>(a, b, 0, 2, 4, 6);
  const ab1 = v128.shuffle<i32>(a, b, 1, 3, 5, 7);
  const cd0 = v128.shuffle<i32>(c, d, 0, 2, 4, 6);
  const cd1 = v128.shuffle<i32>(c, d, 1, 3, 5, 7);
  // Lanes: a01, a23, b01, b23 and c01, c23, d01, d23.
  const ab = f32x4.add(ab0, ab1);
  const cd = f32x4.add(cd0, cd1);
  return f32x4.add(
    v128.shuffle<i32>(ab, cd, 0, 2, 4, 6),
    v128.shuffle<i32>(ab, cd, 1, 3, 5, 7),
  );
}

/** sum + a b: rounded once where the build has relaxed SIMD and the processor fuses it, twice otherwise. */
// @ts-ignore: decorator
@inline
export function plusProduct(sum: v128, a: v128, b: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD
    ? f32x4.relaxed_madd(a, b, sum)
    : f32x4.add(sum, f32x4.mul(a, b));
}

/** e^r for r within half of ln 2. */
// @ts-ignore: decorator
@inline
function powerOfRest(r: v128): v128 {
  let p = f32x4.splat(1.9875691500e-4);
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.3981999507e-3));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(8.3334519073e-3));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(4.1665795894e-2));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.6666665459e-1));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(5.0000001201e-1));
  return f32x4.add(f32x4.add(f32x4.mul(p, f32x4.mul(r, r)), r), f32x4.splat(1));
}

/** What is left of x beside n times ln 2, which stands in two parts so that this is exact. */
// @ts-ignore: decorator
@inline
function restOf(x: v128, n: v128): v128 {
  const r = f32x4.sub(x, f32x4.mul(n, f32x4.splat(0.693359375)));
  return f32x4.add(r, f32x4.mul(n, f32x4.splat(2.12194440e-4)));
}

const LEAST_EXPONENT: f32 = -87.33654;
const LARGEST_EXPONENT: f32 = 88.72283;

/** e^x for x of at most 0, as `exponentials`; NaN for NaN. */
// @ts-ignore: decorator
@inline
export function powersBelowOne(x: v128): v128 {
  const isSeen = f32x4.ge(x, f32x4.splat(LEAST_EXPONENT));
  const n = f32x4.nearest(f32x4.mul(x, f32x4.splat(1.44269504)));
  const power = powerOfRest(restOf(x, n));
  const whole = i32x4.add(i32x4.trunc_sat_f32x4_s(n), i32x4.splat(127));
  const result = v128.and(f32x4.mul(power, i32x4.shl(whole, 23)), isSeen);
  // What is no number is neither.
  return v128.or(result, f32x4.ne(x, x));
}

/** e^x to 2 units in the last place; 0 below -87.3, infinite above 88.7, NaN for NaN. */
export function exponentials(x: v128): v128 {
  const limited = f32x4.max(
    f32x4.min(x, f32x4.splat(LARGEST_EXPONENT)),
    f32x4.splat(LEAST_EXPONENT),
  );
  const n = f32x4.nearest(f32x4.mul(limited, f32x4.splat(1.44269504)));
  const p = powerOfRest(restOf(limited, n));
  // 2^n in two factors, since 2^128 is no fp32.
  const whole = i32x4.trunc_sat_f32x4_s(n);
  const half = i32x4.shr_s(whole, 1);
  const low = i32x4.shl(i32x4.add(half, i32x4.splat(127)), 23);
  const high = i32x4.shl(i32x4.add(i32x4.sub(whole, half), i32x4.splat(127)), 23);
  const power = f32x4.mul(f32x4.mul(p, low), high);
  const isTiny = f32x4.lt(x, f32x4.splat(LEAST_EXPONENT));
  const isHuge = f32x4.gt(x, f32x4.splat(LARGEST_EXPONENT));
  const bounded = v128.bitselect(f32x4.splat(f32.MAX_VALUE * f32.MAX_VALUE), power, isHuge);
  const known = v128.bitselect(f32x4.splat(0), bounded, isTiny);
  return v128.bitselect(x, known, f32x4.ne(x, x));
}

/** tanh x: a series near 0, where 1 - 2 / (e^2x + 1) would cancel. */
export function hyperbolicTangents(x: v128): v128 {
  const magnitude = f32x4.abs(x);
  const power = exponentials(f32x4.add(magnitude, magnitude));
  const one = f32x4.splat(1);
  const far = f32x4.sub(one, f32x4.div(f32x4.splat(2), f32x4.add(power, one)));
  const square = f32x4.mul(x, x);
  let p = f32x4.splat(-5.70498872745e-3);
  p = f32x4.add(f32x4.mul(p, square), f32x4.splat(2.06390887954e-2));
  p = f32x4.add(f32x4.mul(p, square), f32x4.splat(-5.37397155531e-2));
  p = f32x4.add(f32x4.mul(p, square), f32x4.splat(1.33314422036e-1));
  p = f32x4.add(f32x4.mul(p, square), f32x4.splat(-3.33332819422e-1));
  const near = f32x4.add(x, f32x4.mul(f32x4.mul(p, square), x));
  const isNear = f32x4.lt(magnitude, f32x4.splat(0.625));
  const signed = v128.or(far, v128.and(x, f32x4.splat(-0.0)));
  return v128.bitselect(near, signed, isNear);
}

/** 1 / (1 + e^-x). */
// @ts-ignore: decorator
@inline
export function sigmoids(x: v128): v128 {
  const one = f32x4.splat(1);
  return f32x4.div(one, f32x4.add(one, exponentials(f32x4.neg(x))));
}

/** The error function to 1.5e-7 (Abramowitz and Stegun, 7.1.26). */
export function errorFunctions(x: v128): v128 {
  const magnitude = f32x4.abs(x);
  const one = f32x4.splat(1);
  const t = f32x4.div(one, f32x4.add(one, f32x4.mul(magnitude, f32x4.splat(0.3275911))));
  let p = f32x4.splat(1.061405429);
  p = f32x4.add(f32x4.mul(p, t), f32x4.splat(-1.453152027));
  p = f32x4.add(f32x4.mul(p, t), f32x4.splat(1.421413741));
  p = f32x4.add(f32x4.mul(p, t), f32x4.splat(-0.284496736));
  p = f32x4.add(f32x4.mul(p, t), f32x4.splat(0.254829592));
  const tail = exponentials(f32x4.neg(f32x4.mul(magnitude, magnitude)));
  const far = f32x4.sub(one, f32x4.mul(f32x4.mul(p, t), tail));
  return v128.or(far, v128.and(x, f32x4.splat(-0.0)));
}
