// Products of larger numbers by the rule of 2026-08: sums in two parts of 32 bits.
import { MAGIC, MAGIC_BITS } from "./grid-constants";
import { put } from "./sums";

/** 1.5 * 2^35: as `MAGIC`, in units of 2^12. */
const HIGH_MAGIC: f32 = 51539607552.0;
const HIGH_MAGIC_BITS: i32 = 0x51400000;
/**
 * A product becomes 0 where |p| < 1.5. Tested on p * p; p has 22 bits, so that rounding the square cannot carry it over
 * 2.25.
 */
const LEAST_SQUARE: f32 = 2.25;

/**
 * Four columns where every |a * b| < 2^17: each product is split into a multiple of 2^12 units and a rest, summed
 * apart in 32 bits. Ties stay ties to even, because the multiple is even.
 */
export function medium(
  a: usize,
  b: usize,
  depth: u32,
  out: usize,
  step: usize,
  mode: u32,
): void {
  const least = f32x4.splat(LEAST_SQUARE);
  const magic = f32x4.splat(MAGIC);
  const highMagic = f32x4.splat(HIGH_MAGIC);
  const end = a + (<usize>depth << 4);
  let low0 = i32x4.splat(-(<i32>depth) * MAGIC_BITS);
  let low1 = low0;
  let low2 = low0;
  let low3 = low0;
  let high0 = i32x4.splat(-(<i32>depth) * HIGH_MAGIC_BITS);
  let high1 = high0;
  let high2 = high0;
  let high3 = high0;
  while (a < end) {
    const y = v128.load(b);
    let p = kept(v128.load32_splat(a), y, least);
    let t = f32x4.add(p, highMagic);
    high0 = i32x4.add(high0, t);
    low0 = i32x4.add(low0, f32x4.add(f32x4.sub(p, f32x4.sub(t, highMagic)), magic));
    p = kept(v128.load32_splat(a, 4), y, least);
    t = f32x4.add(p, highMagic);
    high1 = i32x4.add(high1, t);
    low1 = i32x4.add(low1, f32x4.add(f32x4.sub(p, f32x4.sub(t, highMagic)), magic));
    p = kept(v128.load32_splat(a, 8), y, least);
    t = f32x4.add(p, highMagic);
    high2 = i32x4.add(high2, t);
    low2 = i32x4.add(low2, f32x4.add(f32x4.sub(p, f32x4.sub(t, highMagic)), magic));
    p = kept(v128.load32_splat(a, 12), y, least);
    t = f32x4.add(p, highMagic);
    high3 = i32x4.add(high3, t);
    low3 = i32x4.add(low3, f32x4.add(f32x4.sub(p, f32x4.sub(t, highMagic)), magic));
    a += 16;
    b += 64;
  }
  join4(high0, low0, out, mode);
  join4(high1, low1, out + step, mode);
  join4(high2, low2, out + 2 * step, mode);
  join4(high3, low3, out + 3 * step, mode);
}

@inline
function kept(a: v128, b: v128, least: v128): v128 {
  const p = f32x4.mul(a, b);
  return v128.and(p, f32x4.ge(f32x4.mul(p, p), least));
}

function join4(high: v128, low: v128, out: usize, mode: u32): void {
  put(joined(i32x4.extract_lane(high, 0), i32x4.extract_lane(low, 0)), out, mode);
  put(joined(i32x4.extract_lane(high, 1), i32x4.extract_lane(low, 1)), out + 4, mode);
  put(joined(i32x4.extract_lane(high, 2), i32x4.extract_lane(low, 2)), out + 8, mode);
  put(joined(i32x4.extract_lane(high, 3), i32x4.extract_lane(low, 3)), out + 12, mode);
}

@inline
function joined(high: i32, low: i32): i64 {
  return (<i64>high << 12) + <i64>low;
}

