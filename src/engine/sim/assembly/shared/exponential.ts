/** Straight lines between the knots 2^(i / 10) times an exact power: `tableExp` of tables.ts, same order of operations. */
const SEGMENTS: f64 = 10;

/** exp(x) for x <= 0: through the engine's table of knots, or nearly exact where `knots` is 0. */
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
