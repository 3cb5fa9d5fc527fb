// Kernels over one shared memory; every address is in bytes. None keeps state, so any thread may run any part.
export { runRows } from "./shared/row-program";
import { plusProduct } from "./shared/vectors";

/** sum + a b as products of row programs add it: tells whether this build and this processor round it once. */
export function sumWithProduct(sum: f32, a: f32, b: f32): f32 {
  return f32x4.extract_lane(plusProduct(f32x4.splat(sum), f32x4.splat(a), f32x4.splat(b)), 0);
}

/** Moments are bf16 patterns, the gradient is fp16: bits of `kind`. */
const SHORT_MOMENTS: u32 = 1;
const HALF_GRADIENT: u32 = 2;

/**
 * One AdamW step over `count` numbers; the arithmetic is that of the MIL function, op by op in fp32. Moments as bf16
 * patterns are rounded up where the lower half of the pattern and that of the weight's old pattern carry
 * (train/step/moment-patterns.ts is the definition).
 */
export function adamw(
  kind: u32,
  weight: usize,
  gradient: usize,
  m: usize,
  v: usize,
  count: u32,
  scale: f32,
  beta1: f32,
  beta1Rest: f32,
  beta2: f32,
  beta2Rest: f32,
  inverse1: f32,
  inverse2: f32,
  epsilon: f32,
  keep: f32,
  rate: f32,
): void {
  switch (kind) {
    case 0: adamwBy(false, false, weight, gradient, m, v, count, scale, beta1, beta1Rest, beta2, beta2Rest, inverse1, inverse2, epsilon, keep, rate); break;
    case SHORT_MOMENTS: adamwBy(true, false, weight, gradient, m, v, count, scale, beta1, beta1Rest, beta2, beta2Rest, inverse1, inverse2, epsilon, keep, rate); break;
    case HALF_GRADIENT: adamwBy(false, true, weight, gradient, m, v, count, scale, beta1, beta1Rest, beta2, beta2Rest, inverse1, inverse2, epsilon, keep, rate); break;
    default: adamwBy(true, true, weight, gradient, m, v, count, scale, beta1, beta1Rest, beta2, beta2Rest, inverse1, inverse2, epsilon, keep, rate);
  }
}

/** Inlined for each kind, so that none of them asks in its loop. */
@inline
function adamwBy(
  isShort: bool,
  isHalf: bool,
  weight: usize,
  gradient: usize,
  m: usize,
  v: usize,
  count: u32,
  scale: f32,
  beta1: f32,
  beta1Rest: f32,
  beta2: f32,
  beta2Rest: f32,
  inverse1: f32,
  inverse2: f32,
  epsilon: f32,
  keep: f32,
  rate: f32,
): void {
  const scales = f32x4.splat(scale);
  const beta1s = f32x4.splat(beta1);
  const beta1Rests = f32x4.splat(beta1Rest);
  const beta2s = f32x4.splat(beta2);
  const beta2Rests = f32x4.splat(beta2Rest);
  const inverse1s = f32x4.splat(inverse1);
  const inverse2s = f32x4.splat(inverse2);
  const epsilons = f32x4.splat(epsilon);
  const keeps = f32x4.splat(keep);
  const rates = f32x4.splat(rate);
  const whole: u32 = count & ~3;
  let i: u32 = 0;
  while (i < whole) {
    const at = (<usize>i) << 2;
    const short = (<usize>i) << 1;
    const old = v128.load(weight + at);
    const raw = isHalf
      ? singles(v128.load_ext<u16>(gradient + short))
      : v128.load(gradient + at);
    const g = f32x4.mul(raw, scales);
    const oldM = isShort ? longer(m + short) : v128.load(m + at);
    const oldV = isShort ? longer(v + short) : v128.load(v + at);
    const newM = f32x4.add(f32x4.mul(oldM, beta1s), f32x4.mul(g, beta1Rests));
    const newV = f32x4.add(f32x4.mul(oldV, beta2s), f32x4.mul(f32x4.mul(g, g), beta2Rests));
    if (isShort) {
      const dither = ditherOf(old);
      const shortM = shorter(newM, dither);
      const shortV = shorter(newV, dither);
      v128.store_lane<u64>(m + short, i16x8.narrow_i32x4_u(shortM, shortM), 0);
      v128.store_lane<u64>(v + short, i16x8.narrow_i32x4_u(shortV, shortV), 0);
    } else {
      v128.store(m + at, newM);
      v128.store(v + at, newV);
    }
    const root = f32x4.sqrt(f32x4.mul(newV, inverse2s));
    const direction = f32x4.div(f32x4.mul(newM, inverse1s), f32x4.add(root, epsilons));
    const kept = f32x4.mul(old, keeps);
    v128.store(weight + at, f32x4.sub(kept, f32x4.mul(direction, rates)));
    i += 4;
  }
  while (i < count) {
    const at = (<usize>i) << 2;
    const short = (<usize>i) << 1;
    const old = load<f32>(weight + at);
    const raw: f32 = isHalf
      ? f32x4.extract_lane(singles(i32x4.splat(<i32>load<u16>(gradient + short))), 0)
      : load<f32>(gradient + at);
    const g: f32 = raw * scale;
    const oldM: f32 = isShort
      ? reinterpret<f32>((<u32>load<u16>(m + short)) << 16)
      : load<f32>(m + at);
    const oldV: f32 = isShort
      ? reinterpret<f32>((<u32>load<u16>(v + short)) << 16)
      : load<f32>(v + at);
    const newM: f32 = oldM * beta1 + g * beta1Rest;
    const newV: f32 = oldV * beta2 + g * g * beta2Rest;
    if (isShort) {
      const dither = ditherOf(f32x4.splat(old));
      store<u16>(m + short, <u16>i32x4.extract_lane(shorter(f32x4.splat(newM), dither), 0));
      store<u16>(v + short, <u16>i32x4.extract_lane(shorter(f32x4.splat(newV), dither), 0));
    } else {
      store<f32>(m + at, newM);
      store<f32>(v + at, newV);
    }
    const root: f32 = sqrt<f32>(newV * inverse2);
    const direction: f32 = (newM * inverse1) / (root + epsilon);
    store<f32>(weight + at, old * keep - direction * rate);
    i++;
  }
}

/** Four bf16 patterns as fp32. */
@inline
function longer(source: usize): v128 {
  return i32x4.shl(v128.load_ext<u16>(source), 16);
}

/** The lower halves of fp32 patterns, 0 of NaN; that of an infinite number is 0. */
@inline
function ditherOf(numbers: v128): v128 {
  return v128.and(v128.and(numbers, i32x4.splat(0xffff)), f32x4.eq(numbers, numbers));
}

/** fp32 numbers as bf16 patterns, one in each 32-bit lane. */
@inline
function shorter(numbers: v128, dither: v128): v128 {
  const rounded = i32x4.shr_u(i32x4.add(numbers, dither), 16);
  return v128.bitselect(i32x4.splat(0x7fc0), rounded, f32x4.ne(numbers, numbers));
}

/** The sum of squares of `count` numbers, fp32 or fp16, in double precision, always added in the same order. */
export function sumOfSquares(x: usize, count: u32, isHalf: u32): f64 {
  return isHalf ? sumOfSquaresBy(true, x, count) : sumOfSquaresBy(false, x, count);
}

@inline
function sumOfSquaresBy(isHalf: bool, x: usize, count: u32): f64 {
  let sum0 = f64x2.splat(0);
  let sum1 = f64x2.splat(0);
  let sum2 = f64x2.splat(0);
  let sum3 = f64x2.splat(0);
  const width: usize = isHalf ? 2 : 4;
  const whole: u32 = count & ~7;
  let i: u32 = 0;
  while (i < whole) {
    const at = x + <usize>i * width;
    const a = isHalf ? singles(v128.load_ext<u16>(at)) : v128.load(at);
    const b = isHalf ? singles(v128.load_ext<u16>(at, 8)) : v128.load(at, 16);
    const a0 = f64x2.promote_low_f32x4(a);
    const a1 = f64x2.promote_low_f32x4(v128.shuffle<i32>(a, a, 2, 3, 2, 3));
    const b0 = f64x2.promote_low_f32x4(b);
    const b1 = f64x2.promote_low_f32x4(v128.shuffle<i32>(b, b, 2, 3, 2, 3));
    sum0 = f64x2.add(sum0, f64x2.mul(a0, a0));
    sum1 = f64x2.add(sum1, f64x2.mul(a1, a1));
    sum2 = f64x2.add(sum2, f64x2.mul(b0, b0));
    sum3 = f64x2.add(sum3, f64x2.mul(b1, b1));
    i += 8;
  }
  const sums = f64x2.add(f64x2.add(sum0, sum1), f64x2.add(sum2, sum3));
  let sum: f64 = f64x2.extract_lane(sums, 0) + f64x2.extract_lane(sums, 1);
  while (i < count) {
    const at = x + <usize>i * width;
    const value = <f64>(isHalf
      ? f32x4.extract_lane(singles(i32x4.splat(<i32>load<u16>(at))), 0)
      : load<f32>(at));
    sum += value * value;
    i++;
  }
  return sum;
}

/**
 * Rows of `gradient` [rows, columns] added at rows `indices` of `table`, as far as they lie in
 * [firstRow, lastRow); that part of the table is set to zero before where `clear` is not 0.
 * Threads that share a table take ranges of its rows, so every row is added in the order of the indices.
 */
export function embeddingGradient(
  indices: usize,
  gradient: usize,
  table: usize,
  rows: u32,
  columns: u32,
  firstRow: i32,
  lastRow: i32,
  vocabulary: i32,
  clear: i32,
): void {
  const rowBytes: usize = (<usize>columns) << 2;
  const whole: usize = rowBytes & ~(<usize>15);
  if (clear) memory.fill(table + <usize>firstRow * rowBytes, 0, <usize>(lastRow - firstRow) * rowBytes);
  for (let row: u32 = 0; row < rows; row++) {
    let index = load<i32>(indices + ((<usize>row) << 2));
    if (index < 0) index += vocabulary;
    if (index < firstRow || index >= lastRow) continue;
    const source = gradient + <usize>row * rowBytes;
    const target = table + <usize>index * rowBytes;
    let at: usize = 0;
    while (at < whole) {
      v128.store(target + at, f32x4.add(v128.load(target + at), v128.load(source + at)));
      at += 16;
    }
    while (at < rowBytes) {
      store<f32>(target + at, load<f32>(target + at) + load<f32>(source + at));
      at += 4;
    }
  }
}

/** fp32 to fp16 bits, nearest-even; NaN becomes 0x7e00 with its sign. */
export function float32ToFloat16(source: usize, target: usize, count: u32): void {
  const whole: u32 = count & ~7;
  let i: u32 = 0;
  while (i < whole) {
    const from = source + ((<usize>i) << 2);
    const low = halves(v128.load(from));
    const high = halves(v128.load(from, 16));
    v128.store(target + ((<usize>i) << 1), i16x8.narrow_i32x4_u(low, high));
    i += 8;
  }
  while (i < count) {
    const bits = halves(i32x4.splat(load<i32>(source + ((<usize>i) << 2))));
    store<u16>(target + ((<usize>i) << 1), <u16>i32x4.extract_lane(bits, 0));
    i++;
  }
}

/** Four fp32 bit patterns as fp16 bits, one in each 32-bit lane. */
@inline
function halves(word: v128): v128 {
  const sign = v128.and(i32x4.shr_u(word, 16), i32x4.splat(0x8000));
  const magnitude = v128.and(word, i32x4.splat(0x7fffffff));
  // Normal results: the exponent is rebased and the fraction rounded to even by an integer addition.
  const odd = v128.and(i32x4.shr_u(magnitude, 13), i32x4.splat(1));
  const rebased = i32x4.add(magnitude, i32x4.splat(0xc8000fff));
  const normal = i32x4.shr_u(i32x4.add(rebased, odd), 13);
  // Results below 2^-14: adding 0.5 lets the addition of floats round to multiples of 2^-24.
  const half = f32x4.splat(0.5);
  const small = i32x4.sub(f32x4.add(magnitude, half), i32x4.splat(0x3f000000));
  const isSmall = i32x4.lt_u(magnitude, i32x4.splat(0x38800000));
  const finite = v128.bitselect(small, normal, isSmall);
  const isLarge = i32x4.ge_u(magnitude, i32x4.splat(0x477ff000));
  const isNan = i32x4.gt_u(magnitude, i32x4.splat(0x7f800000));
  const special = v128.bitselect(i32x4.splat(0x7e00), i32x4.splat(0x7c00), isNan);
  return v128.or(sign, v128.bitselect(special, finite, isLarge));
}

/** fp16 bits to fp32. */
export function float16ToFloat32(source: usize, target: usize, count: u32): void {
  const whole: u32 = count & ~3;
  let i: u32 = 0;
  while (i < whole) {
    v128.store(
      target + ((<usize>i) << 2),
      singles(v128.load_ext<u16>(source + ((<usize>i) << 1))),
    );
    i += 4;
  }
  while (i < count) {
    const word = singles(i32x4.splat(<i32>load<u16>(source + ((<usize>i) << 1))));
    store<f32>(target + ((<usize>i) << 2), f32x4.extract_lane(word, 0));
    i++;
  }
}

/** Four fp16 bit patterns, one in each 32-bit lane, as fp32. */
@inline
function singles(bits: v128): v128 {
  const sign = i32x4.shl(v128.and(bits, i32x4.splat(0x8000)), 16);
  const magnitude = v128.and(bits, i32x4.splat(0x7fff));
  // As fp32 with an exponent too small by 112, which an exact product repairs, subnormals included.
  const scaled = f32x4.mul(i32x4.shl(magnitude, 13), f32x4.splat(5.192296858534828e33));
  const isSpecial = i32x4.ge_u(magnitude, i32x4.splat(0x7c00));
  const special = v128.or(scaled, i32x4.splat(0x7f800000));
  return v128.or(sign, v128.bitselect(special, scaled, isSpecial));
}

/** fp16 bits added to fp32 numbers. */
export function addFloat16(source: usize, target: usize, count: u32, factor: f32): void {
  const factors = f32x4.splat(factor);
  const whole: u32 = count & ~3;
  let i: u32 = 0;
  while (i < whole) {
    const at = target + ((<usize>i) << 2);
    const added = singles(v128.load_ext<u16>(source + ((<usize>i) << 1)));
    v128.store(at, f32x4.add(v128.load(at), f32x4.mul(added, factors)));
    i += 4;
  }
  while (i < count) {
    const at = target + ((<usize>i) << 2);
    const word = singles(i32x4.splat(<i32>load<u16>(source + ((<usize>i) << 1))));
    store<f32>(at, load<f32>(at) + f32x4.extract_lane(word, 0) * factor);
    i++;
  }
}

/** Adds `lost` to numbers, in place, and gives the largest magnitude of the sums; NaN where one of them is none. */
export function addLost(numbers: usize, lost: usize, count: u32): f32 {
  let largest4 = f32x4.splat(0);
  const whole: u32 = count & ~3;
  let i: u32 = 0;
  while (i < whole) {
    const offset = (<usize>i) << 2;
    const sum = f32x4.add(v128.load(numbers + offset), v128.load(lost + offset));
    v128.store(numbers + offset, sum);
    largest4 = f32x4.max(largest4, f32x4.abs(sum));
    i += 4;
  }
  let largest = f32.max(
    f32.max(f32x4.extract_lane(largest4, 0), f32x4.extract_lane(largest4, 1)),
    f32.max(f32x4.extract_lane(largest4, 2), f32x4.extract_lane(largest4, 3)),
  );
  while (i < count) {
    const offset = (<usize>i) << 2;
    const sum = load<f32>(numbers + offset) + load<f32>(lost + offset);
    store<f32>(numbers + offset, sum);
    largest = f32.max(largest, f32.abs(sum));
    i++;
  }
  return largest;
}

/**
 * Numbers times `scale`, a power of two, as fp16 into `target`; the numbers become what a reader of the halves gets, and
 * `lost` what they were beyond that.
 */
export function roundScaled(
  numbers: usize,
  lost: usize,
  target: usize,
  count: u32,
  scale: f32,
  back: f32,
): void {
  const scale4 = f32x4.splat(scale);
  const back4 = f32x4.splat(back);
  const whole: u32 = count & ~3;
  let i: u32 = 0;
  while (i < whole) {
    const offset = (<usize>i) << 2;
    const exact = v128.load(numbers + offset);
    const bits = halves(f32x4.mul(exact, scale4));
    v128.store_lane<u64>(target + ((<usize>i) << 1), i16x8.narrow_i32x4_u(bits, bits), 0);
    const sent = f32x4.mul(singles(bits), back4);
    v128.store(numbers + offset, sent);
    v128.store(lost + offset, f32x4.sub(exact, sent));
    i += 4;
  }
  while (i < count) {
    const offset = (<usize>i) << 2;
    const exact = load<f32>(numbers + offset);
    const bits = halves(f32x4.splat(exact * scale));
    store<u16>(target + ((<usize>i) << 1), <u16>i32x4.extract_lane(bits, 0));
    const sent = f32x4.extract_lane(singles(bits), 0) * back;
    store<f32>(numbers + offset, sent);
    store<f32>(lost + offset, exact - sent);
    i++;
  }
}

/** fp16 bits times `factor` to fp32. */
export function readScaled(source: usize, target: usize, count: u32, factor: f32): void {
  const factor4 = f32x4.splat(factor);
  const whole: u32 = count & ~3;
  let i: u32 = 0;
  while (i < whole) {
    const word = singles(v128.load_ext<u16>(source + ((<usize>i) << 1)));
    v128.store(target + ((<usize>i) << 2), f32x4.mul(word, factor4));
    i += 4;
  }
  while (i < count) {
    const word = singles(i32x4.splat(<i32>load<u16>(source + ((<usize>i) << 1))));
    store<f32>(target + ((<usize>i) << 2), f32x4.extract_lane(word, 0) * factor);
    i++;
  }
}
