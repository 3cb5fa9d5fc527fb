// The approximate mode.
import { roundHalfEven } from "./half";

/**
 * Ordinary fp32 products and sums, rounded to fp16 once, with the depth's last chunk: the approximate mode. `b` is not
 * scaled here.
 */
export function plain(a: usize, b: usize, depth: u32, out: usize, step: usize, isLast: bool): void {
  const row1 = out + step;
  const row2 = row1 + step;
  const row3 = row2 + step;
  let s00 = v128.load(out);
  let s01 = v128.load(out, 16);
  let s10 = v128.load(row1);
  let s11 = v128.load(row1, 16);
  let s20 = v128.load(row2);
  let s21 = v128.load(row2, 16);
  let s30 = v128.load(row3);
  let s31 = v128.load(row3, 16);
  const end = a + (<usize>depth << 4);
  while (a < end) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let x = v128.load32_splat(a);
    s00 = plainTerm(x, b0, s00);
    s01 = plainTerm(x, b1, s01);
    x = v128.load32_splat(a, 4);
    s10 = plainTerm(x, b0, s10);
    s11 = plainTerm(x, b1, s11);
    x = v128.load32_splat(a, 8);
    s20 = plainTerm(x, b0, s20);
    s21 = plainTerm(x, b1, s21);
    x = v128.load32_splat(a, 12);
    s30 = plainTerm(x, b0, s30);
    s31 = plainTerm(x, b1, s31);
    a += 16;
    b += 32;
  }
  put8(s00, s01, out, isLast);
  put8(s10, s11, row1, isLast);
  put8(s20, s21, row2, isLast);
  put8(s30, s31, row3, isLast);
}

@inline
function plainTerm(a: v128, b: v128, sum: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD
    ? f32x4.relaxed_madd(a, b, sum)
    : f32x4.add(sum, f32x4.mul(a, b));
}

function put8(s0: v128, s1: v128, out: usize, isRounded: bool): void {
  v128.store(out, isRounded ? roundHalfEven(s0) : s0);
  v128.store(out, isRounded ? roundHalfEven(s1) : s1, 16);
}
