/** Straight lines between the knots 2^(i / 10) times an exact power: `tableExp` of fitted-tables.ts, same order of operations. */
const SEGMENTS: f64 = 10;

/** exp(x) for x <= 0: through the fitted table of knots, or nearly exact where `knots` is 0. */
@inline
export function exponential(x: f64, knots: usize): f64 {
  const scaled = x * 1.4426950408889634;
  // Beside the 1 of the largest term, what lies below is lost.
  if (scaled <= -1022.0) return 0;
  if (scaled != scaled) return NaN;
  if (knots == 0) return smooth(x);
  const whole = floor<f64>(scaled);
  const position = (scaled - whole) * SEGMENTS;
  const knot = floor<f64>(position);
  const at = knots + (<usize>(<i32>knot) << 3);
  const low = load<f64>(at);
  const high = load<f64>(at, 8);
  return (low + (high - low) * (position - knot)) * power(<i32>whole);
}

/** 1.5 * 2^52: added to a whole number it leaves the number in the low bits. */
const WHOLE_MAGIC: f64 = 6755399441055744.0;

/** `exponential` of two numbers, the same bits. */
@inline
export function exponentialPair(x: v128, knots: usize): v128 {
  const scaled = f64x2.mul(x, f64x2.splat(1.4426950408889634));
  const inRange = f64x2.gt(scaled, f64x2.splat(-1022));
  if (knots == 0 || !i64x2.all_true(inRange)) {
    const first = exponential(f64x2.extract_lane(x, 0), knots);
    return f64x2.replace_lane(f64x2.splat(first), 1, exponential(f64x2.extract_lane(x, 1), knots));
  }
  const whole = f64x2.floor(scaled);
  const position = f64x2.mul(f64x2.sub(scaled, whole), f64x2.splat(SEGMENTS));
  const knot = f64x2.floor(position);
  const index = f64x2.add(knot, f64x2.splat(WHOLE_MAGIC));
  const at0 = v128.load(knots + (<usize>i32x4.extract_lane(index, 0) << 3));
  const at1 = v128.load(knots + (<usize>i32x4.extract_lane(index, 2) << 3));
  const low = v128.shuffle<i64>(at0, at1, 0, 2);
  const high = v128.shuffle<i64>(at0, at1, 1, 3);
  const share = f64x2.sub(position, knot);
  const value = f64x2.add(low, f64x2.mul(f64x2.sub(high, low), share));
  const exponent = f64x2.add(whole, f64x2.splat(WHOLE_MAGIC + 1023.0));
  return f64x2.mul(value, i64x2.shl(exponent, 52));
}

@inline
function power(exponent: i32): f64 {
  return reinterpret<f64>((<i64>exponent + 1023) << 52);
}

/** Error below 1e-13: powers of two taken out, then the series. */
@inline
function smooth(x: f64): f64 {
  const whole = nearest<f64>(x * 1.4426950408889634);
  const r = x - whole * 0.6931471803691238 - whole * 1.9082149292705877e-10;
  let sum: f64 = 1.0 / 39916800.0;
  sum = sum * r + 1.0 / 3628800.0;
  sum = sum * r + 1.0 / 362880.0;
  sum = sum * r + 1.0 / 40320.0;
  sum = sum * r + 1.0 / 5040.0;
  sum = sum * r + 1.0 / 720.0;
  sum = sum * r + 1.0 / 120.0;
  sum = sum * r + 1.0 / 24.0;
  sum = sum * r + 1.0 / 6.0;
  sum = sum * r + 0.5;
  sum = sum * r + 1.0;
  sum = sum * r + 1.0;
  return sum * power(<i32>whole);
}
