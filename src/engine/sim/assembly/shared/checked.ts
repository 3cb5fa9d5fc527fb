// Products of larger numbers whose sums may become infinite on the way, in 32 bits: a sum of 32768 is 2^31 units, so
// that an addition that runs over is one that makes the sum infinite. The engine's rule of 2026-11 alone: products
// vanish by exponents and are rounded half away from zero.
import { exponentThresholds, OUTPUT_MASK, RANGE_ANY, RANGE_MASK } from "./grid-constants";
import { halves } from "./sums";

/** Four columns where every |a * b| < 2^15. `b` holds numbers in units of the grid and 32 bytes on their magnitudes. */
export function checked(a: usize, b: usize, depth: u32, out: usize, step: usize, mode: u32): void {
  const isAny = (mode & RANGE_MASK) == RANGE_ANY;
  for (let row: u32 = 0; row < 4; row++) {
    const sums = isAny ? anyOrder(a, b, depth, row, mode) : channelOrder(a, b, depth, row, mode);
    v128.store(out, sums);
    out += step;
  }
}

/** Rounded products of a step's left number with four right ones. */
@inline
function rounded(a: usize, b: usize, row: u32): v128 {
  const x = v128.load32_splat(a + (<usize>row << 2));
  const isKept = f32x4.ge(v128.load(b, 32), exponentThresholds(x));
  const p = v128.and(f32x4.mul(x, v128.load(b)), isKept);
  const half = v128.or(v128.and(p, i32x4.splat(0x80000000)), f32x4.splat(0.5));
  return i32x4.trunc_sat_f32x4_s(f32x4.add(p, half));
}

/** The sum so far decides, and its sign stays. */
function channelOrder(a: usize, b: usize, depth: u32, row: u32, mode: u32): v128 {
  const lowest = i32x4.splat(0x80000000);
  let sum = i32x4.splat(0);
  let done = sum;
  let signs = sum;
  for (const end = a + (<usize>depth << 4); a < end; a += 16, b += 64) {
    const q = rounded(a, b, row);
    const next = i32x4.add(sum, q);
    const over = i32x4.shr_s(v128.and(v128.xor(sum, next), v128.xor(q, next)), 31);
    const now = v128.or(over, i32x4.eq(next, lowest));
    // Both the sum and what is added have the sign.
    signs = v128.or(signs, v128.and(v128.andnot(now, done), q));
    done = v128.or(done, now);
    sum = next;
  }
  return select(sum, done, signs, mode);
}

/** The sum of what is positive decides, and that of what is negative. */
function anyOrder(a: usize, b: usize, depth: u32, row: u32, mode: u32): v128 {
  const zero = i32x4.splat(0);
  let above = zero;
  let below = zero;
  let aboveDone = zero;
  let belowDone = zero;
  for (const end = a + (<usize>depth << 4); a < end; a += 16, b += 64) {
    const q = rounded(a, b, row);
    above = i32x4.add(above, i32x4.max_s(q, zero));
    below = i32x4.sub(below, i32x4.min_s(q, zero));
    aboveDone = v128.or(aboveDone, above);
    belowDone = v128.or(belowDone, below);
  }
  const done = i32x4.shr_s(v128.or(aboveDone, belowDone), 31);
  return select(i32x4.sub(above, below), done, v128.not(aboveDone), mode);
}

@inline
function select(sum: v128, done: v128, signs: v128, mode: u32): v128 {
  const sign = v128.and(signs, i32x4.splat(0x80000000));
  const infinite = v128.or(i32x4.splat(0x7f800000), sign);
  return v128.bitselect(infinite, halves(sum, mode & OUTPUT_MASK), done);
}
