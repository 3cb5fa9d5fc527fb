// fp16 numbers held as fp32.

/**
 * The nearest fp16 numbers, ties to even; from 65520 on infinity. Adding and taking away 1.5 * 2^(e + 13) rounds to
 * units of 2^(e - 10), where e is the exponent, -14 at least. Zeros keep their sign, NaN stays.
 */
@inline
export function roundHalf(x: v128): v128 {
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

@inline
export function roundOne(x: f32): f32 {
  return f32x4.extract_lane(roundHalf(f32x4.splat(x)), 0);
}
