// fp16 numbers held as fp32.

/**
 * The nearest fp16 numbers, ties to even; from 65520 on infinity. Adding and taking away 1.5 * 2^(e + 13) rounds to
 * units of 2^(e - 10), where e is the exponent, -14 at least. Zeros keep their sign, NaN stays.
 */
@inline
export function roundHalfEven(x: v128): v128 {
  const exponent = v128.and(x, i32x4.splat(0x7f800000));
  const anchor = i32x4.add(
    i32x4.max_s(exponent, i32x4.splat(0x38800000)),
    i32x4.splat((13 << 23) | 0x400000),
  );
  const sign = v128.and(x, i32x4.splat(0x80000000));
  const rounded = v128.or(f32x4.sub(f32x4.add(x, anchor), anchor), sign);
  const beyond = f32x4.ge(f32x4.abs(x), f32x4.splat(65520));
  return v128.bitselect(v128.or(i32x4.splat(0x7f800000), sign), rounded, beyond);
}

/**
 * The nearest fp16 numbers, ties away from zero; from 65520 on infinity. Half a step is added to the magnitude and what
 * fp16 has no place for is cut off. Zeros keep their sign, NaN stays.
 */
@inline
export function roundHalfAway(x: v128): v128 {
  const magnitude = f32x4.abs(x);
  const sign = v128.and(x, i32x4.splat(0x80000000));
  let rounded = v128.and(i32x4.add(magnitude, i32x4.splat(0x1000)), i32x4.splat(0xffffe000));
  const beyond = f32x4.ge(rounded, f32x4.splat(65536));
  rounded = v128.bitselect(i32x4.splat(0x7f800000), rounded, beyond);
  // Below 2^-14 and not 0: seldom.
  const isSmall = i32x4.lt_u(i32x4.sub(magnitude, i32x4.splat(1)), i32x4.splat(0x387fffff));
  if (v128.any_true(isSmall)) rounded = v128.bitselect(roundSmall(magnitude), rounded, isSmall);
  return v128.or(rounded, sign);
}

/** Magnitudes below 2^-14, where the step is 2^-24. */
function roundSmall(magnitude: v128): v128 {
  const steps = f32x4.mul(magnitude, f32x4.splat(16777216));
  const whole = f32x4.floor(steps);
  const up = v128.and(f32x4.ge(f32x4.sub(steps, whole), f32x4.splat(0.5)), f32x4.splat(1));
  return f32x4.mul(f32x4.add(whole, up), f32x4.splat(5.9604644775390625e-8));
}

/** The nearest fp16 numbers by either rule. */
@inline
export function roundHalf(x: v128, isAway: bool): v128 {
  return isAway ? roundHalfAway(x) : roundHalfEven(x);
}

@inline
export function roundOne(x: f32, isAway: bool): f32 {
  return f32x4.extract_lane(roundHalf(f32x4.splat(x), isAway), 0);
}

/**
 * A double to fp16. Halves that go away from 0 are found by the double itself: what is cut off behind fp32's digits never
 * reaches one. Ties to even go through fp32.
 */
@inline
export function roundDouble(x: f64, isAway: bool): f32 {
  let single = <f32>x;
  if (isAway && abs<f64>(<f64>single) > abs<f64>(x))
    single = reinterpret<f32>(reinterpret<u32>(single) - 1);
  return roundOne(single, isAway);
}

/** Two doubles to fp32 in the lower lanes; where `isAway`, what is behind fp32's digits is cut off, as by `roundDouble`. */
@inline
export function singlesToRound(x: v128, isAway: bool): v128 {
  const singles = f32x4.demote_f64x2_zero(x);
  if (!isAway) return singles;
  const grown = f64x2.gt(f64x2.abs(f64x2.promote_low_f32x4(singles)), f64x2.abs(x));
  return i32x4.add(singles, v128.shuffle<i32>(grown, i32x4.splat(0), 0, 2, 4, 4));
}

/** fp16 bits of fp16 numbers: times 2^-112 the exponent is fp16's, subnormals included. */
@inline
export function bitsOf(x: v128): v128 {
  const magnitude = f32x4.pmin(f32x4.splat(65536), f32x4.abs(x));
  const scaled = f32x4.mul(magnitude, f32x4.splat(1.925929944387236e-34));
  const sign = v128.and(i32x4.shr_u(x, 16), i32x4.splat(0x8000));
  const nan = v128.and(f32x4.ne(x, x), i32x4.splat(0x200));
  return v128.or(v128.or(i32x4.shr_u(scaled, 13), sign), nan);
}
