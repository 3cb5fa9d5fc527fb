// Matrix products on the engine's fixed-point grid. Addresses are in bytes.
//
// A product of two fp16 numbers becomes q = rint(a * b * 2^16), ties to even; |q| <= 1 becomes 0; the q of one
// result are summed exactly. Operands are packed (pack.ts): left in groups of 4 rows, right in panels of 8 columns
// times 2^16, so that each product is exact in fp32. Bounds of group and panel pick the narrowest path that is exact
// for their tile: every path gives the same bits.
import { roundHalf } from "./shared/half";

/** 1.5 * 2^23: adding it to |p| < 2^22 leaves rint(p) in the low bits, ties to even. */
const MAGIC: f32 = 12582912.0;
const MAGIC_BITS: i32 = 0x4b400000;
/** 1.5 * 2^35: the same in units of 2^12. */
const HIGH_MAGIC: f32 = 51539607552.0;
const HIGH_MAGIC_BITS: i32 = 0x51400000;
/**
 * rint(p) is -1, 0 or 1 exactly where |p| < 1.5: 1.5 itself rounds to 2. Tested on p * p, which costs less than
 * |p| here; p has 22 bits, so that rounding the square cannot carry it over 2.25.
 */
const KEPT_SQUARE: f32 = 2.25;
/** Beyond this magnitude the engine answers infinity: 32758.8 * 2^16. */
const CEILING: u64 = 2146880716;
const INFINITY_BITS: i32 = 0x7f800000;

const NARROW: u32 = 0;
const MEDIUM: u32 = 1;
const WIDE: u32 = 2;
const PLAIN: u32 = 3;
/** Narrow and medium by blocks of the depth. */
const MIXED: u32 = 4;
/** Steps of the depth in a block. */
const BLOCK: u32 = 64;

/** Where this thread puts a tile that the result's edge cuts, 4 rows of 8 numbers, and behind it a tile's sums. */
let tile: usize = 0;
let sums: usize = 0;

export function useTile(address: usize): void {
  tile = address;
  sums = address + 128;
}

/**
 * Groups [firstGroup, endGroup) of 4 rows times panels [firstPanel, endPanel) of 8 columns. `mode` is 0 for sums
 * rounded to nearest, 1 for sums cut off, 2 for ordinary fp32 sums. `counters`: multiply-accumulates by path, u64.
 */
export function multiply(
  left: usize,
  leftBounds: usize,
  right: usize,
  rightBounds: usize,
  result: usize,
  rows: u32,
  depth: u32,
  columns: u32,
  mode: u32,
  counters: usize,
  firstGroup: u32,
  endGroup: u32,
  firstPanel: u32,
  endPanel: u32,
): void {
  const groupBytes: usize = <usize>depth << 4;
  const stride: usize = <usize>columns << 2;
  const blocks = (depth + BLOCK - 1) / BLOCK;
  const leftBlocks = leftBounds + (<usize>((rows + 3) >> 2) << 4);
  const rightBlocks = rightBounds + (<usize>((columns + 7) >> 3) << 4);
  for (let panel = firstPanel; panel < endPanel; panel++) {
    const b = right + <usize>panel * (groupBytes << 1);
    const width = min<u32>(8, columns - (panel << 3));
    for (let group = firstGroup; group < endGroup; group++) {
      const a = left + <usize>group * groupBytes;
      const height = min<u32>(4, rows - (group << 2));
      const isWhole = width == 8 && height == 4;
      const target = result + (<usize>group << 2) * stride + (<usize>panel << 5);
      const out = isWhole ? target : tile;
      const step: usize = isWhole ? stride : 32;
      const isCut = mode == 1;
      let path = mode == 2 ? PLAIN : choose(leftBounds + (group << 4), rightBounds + (panel << 4), depth);
      let wider: u32 = 0;
      if (path == NARROW) {
        clear();
        narrow(a, b, depth);
        flush(out, step, isCut);
      } else if (path == MIXED) {
        clear();
        const x = leftBlocks + (<usize>(group * blocks) << 2);
        wider = mixed(a, b, depth, x, rightBlocks + (<usize>(panel * blocks) << 2));
        flush(out, step, isCut);
        path = NARROW;
      } else if (path == PLAIN) plain(a, b, depth, out, step);
      else if (path == MEDIUM) {
        medium(a, b, depth, out, step, isCut);
        medium(a, b + 16, depth, out + 16, step, isCut);
      } else wide(a, b, depth, out, step, isCut);
      if (!isWhole) {
        for (let row: u32 = 0; row < height; row++)
          memory.copy(target + <usize>row * stride, tile + (row << 5), width << 2);
      }
      const each = <u64>height * width;
      atomic.add<u64>(counters + (path << 3), each * (depth - wider));
      if (wider > 0) atomic.add<u64>(counters + (MEDIUM << 3), each * wider);
    }
  }
}

/** The narrowest exact path for a group and a panel. */
function choose(left: usize, right: usize, depth: u32): u32 {
  const leftMaximum = <f64>load<f32>(left);
  const rightMaximum = <f64>load<f32>(right);
  const product = leftMaximum * rightMaximum;
  const sums = min(leftMaximum * <f64>load<f32>(right, 4), <f64>load<f32>(left, 4) * rightMaximum);
  const norms = sqrt(<f64>load<f32>(left, 8) * <f64>load<f32>(right, 8));
  // The sums were made in fp32, and each rounding to the grid adds half a unit at most.
  const slack = 1.0 + <f64>depth * 2.4e-7;
  const total = min(sums, norms) * slack + <f64>depth * 7.7e-6;
  if (total < 32767.0 && product < 131072.0) return product < 64.0 ? NARROW : MIXED;
  return product < 131072.0 && total < 67108864.0 ? MEDIUM : WIDE;
}

@inline
function term(a: v128, b: v128, kept: v128, magic: v128): v128 {
  const p = f32x4.mul(a, b);
  return f32x4.add(v128.and(p, f32x4.ge(f32x4.mul(p, p), kept)), magic);
}

@inline
function clear(): void {
  const zero = i32x4.splat(0);
  for (let at: usize = 0; at < 128; at += 16) v128.store(sums + at, zero);
}

@inline
function addSum(at: usize, value: v128): void {
  v128.store(sums + at, i32x4.add(v128.load(sums + at), value));
}

/** The tile's sums, below 2^31 in magnitude, as fp16 numbers. */
function flush(out: usize, step: usize, truncate: bool): void {
  for (let at: usize = sums; at < sums + 128; at += 32) {
    v128.store(out, halves(v128.load(at), truncate));
    v128.store(out, halves(v128.load(at, 16), truncate), 16);
    out += step;
  }
}

/**
 * Sums of magnitudes below 2^15, so that 32 bits hold them whatever is in between, but some |a * b| of 64 and more:
 * only blocks that may have one take the wider terms. Returns the steps of the depth in those.
 */
function mixed(a: usize, b: usize, depth: u32, leftBlocks: usize, rightBlocks: usize): u32 {
  let wider: u32 = 0;
  for (let start: u32 = 0; start < depth; start += BLOCK) {
    const count = min(BLOCK, depth - start);
    if (load<f32>(leftBlocks) * load<f32>(rightBlocks) < 64) narrow(a, b, count);
    else {
      medium(a, b, count, 0, 0, false);
      medium(a, b + 16, count, 0, 16, false);
      wider += count;
    }
    a += <usize>count << 4;
    b += <usize>count << 5;
    leftBlocks += 4;
    rightBlocks += 4;
  }
  return wider;
}

/** Every |a * b| < 64: products are added to the tile's sums in 32 bits. */
function narrow(a: usize, b: usize, depth: u32): void {
  const kept = f32x4.splat(KEPT_SQUARE);
  const magic = f32x4.splat(MAGIC);
  const end = a + (<usize>depth << 4);
  const pairs = a + (<usize>(depth & ~1) << 4);
  let s00 = i32x4.splat(-(<i32>depth) * MAGIC_BITS);
  let s01 = s00;
  let s10 = s00;
  let s11 = s00;
  let s20 = s00;
  let s21 = s00;
  let s30 = s00;
  let s31 = s00;
  while (a < pairs) {
    let b0 = v128.load(b);
    let b1 = v128.load(b, 16);
    let x = v128.load32_splat(a);
    s00 = i32x4.add(s00, term(x, b0, kept, magic));
    s01 = i32x4.add(s01, term(x, b1, kept, magic));
    x = v128.load32_splat(a, 4);
    s10 = i32x4.add(s10, term(x, b0, kept, magic));
    s11 = i32x4.add(s11, term(x, b1, kept, magic));
    x = v128.load32_splat(a, 8);
    s20 = i32x4.add(s20, term(x, b0, kept, magic));
    s21 = i32x4.add(s21, term(x, b1, kept, magic));
    x = v128.load32_splat(a, 12);
    s30 = i32x4.add(s30, term(x, b0, kept, magic));
    s31 = i32x4.add(s31, term(x, b1, kept, magic));
    b0 = v128.load(b, 32);
    b1 = v128.load(b, 48);
    x = v128.load32_splat(a, 16);
    s00 = i32x4.add(s00, term(x, b0, kept, magic));
    s01 = i32x4.add(s01, term(x, b1, kept, magic));
    x = v128.load32_splat(a, 20);
    s10 = i32x4.add(s10, term(x, b0, kept, magic));
    s11 = i32x4.add(s11, term(x, b1, kept, magic));
    x = v128.load32_splat(a, 24);
    s20 = i32x4.add(s20, term(x, b0, kept, magic));
    s21 = i32x4.add(s21, term(x, b1, kept, magic));
    x = v128.load32_splat(a, 28);
    s30 = i32x4.add(s30, term(x, b0, kept, magic));
    s31 = i32x4.add(s31, term(x, b1, kept, magic));
    a += 32;
    b += 64;
  }
  if (a < end) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let x = v128.load32_splat(a);
    s00 = i32x4.add(s00, term(x, b0, kept, magic));
    s01 = i32x4.add(s01, term(x, b1, kept, magic));
    x = v128.load32_splat(a, 4);
    s10 = i32x4.add(s10, term(x, b0, kept, magic));
    s11 = i32x4.add(s11, term(x, b1, kept, magic));
    x = v128.load32_splat(a, 8);
    s20 = i32x4.add(s20, term(x, b0, kept, magic));
    s21 = i32x4.add(s21, term(x, b1, kept, magic));
    x = v128.load32_splat(a, 12);
    s30 = i32x4.add(s30, term(x, b0, kept, magic));
    s31 = i32x4.add(s31, term(x, b1, kept, magic));
  }
  addSum(0, s00);
  addSum(16, s01);
  addSum(32, s10);
  addSum(48, s11);
  addSum(64, s20);
  addSum(80, s21);
  addSum(96, s30);
  addSum(112, s31);
}

/** Sums in units of 2^-16, below 2^31 in magnitude, as fp16 numbers. */
@inline
function halves(sums: v128, truncate: bool): v128 {
  const sign = v128.and(sums, i32x4.splat(0x80000000));
  const magnitude = i32x4.abs(sums);
  // From 2^24 on fp32 would round a first time: eight bits go, one that says whether any was set stays.
  const lost = i32x4.ne(v128.and(magnitude, i32x4.splat(255)), i32x4.splat(0));
  const sticky = v128.or(i32x4.shr_u(magnitude, 8), v128.and(lost, i32x4.splat(1)));
  const large = i32x4.ge_s(magnitude, i32x4.splat(1 << 24));
  const exact = f32x4.mul(f32x4.convert_i32x4_s(magnitude), f32x4.splat(0.0000152587890625));
  const short = f32x4.mul(f32x4.convert_i32x4_s(sticky), f32x4.splat(0.00390625));
  const value = v128.bitselect(short, exact, large);
  // Multiples of 2^-16 are never finer than fp16 below 2^-14.
  const half = truncate ? v128.and(value, i32x4.splat(0xffffe000)) : roundHalf(value);
  const beyond = i32x4.gt_s(magnitude, i32x4.splat(<i32>CEILING));
  return v128.or(v128.bitselect(i32x4.splat(INFINITY_BITS), half, beyond), sign);
}

/**
 * Four columns where every |a * b| < 2^17: each product is split into a multiple of 2^12 units and a rest, summed
 * apart in 32 bits. Ties stay ties to even, because the multiple is even. Adds to the tile's sums where `out` is 0, at
 * `step` bytes.
 */
function medium(
  a: usize,
  b: usize,
  depth: u32,
  out: usize,
  step: usize,
  truncate: bool,
): void {
  const kept = f32x4.splat(KEPT_SQUARE);
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
    let p = kept4(v128.load32_splat(a), y, kept);
    let t = f32x4.add(p, highMagic);
    high0 = i32x4.add(high0, t);
    low0 = i32x4.add(low0, f32x4.add(f32x4.sub(p, f32x4.sub(t, highMagic)), magic));
    p = kept4(v128.load32_splat(a, 4), y, kept);
    t = f32x4.add(p, highMagic);
    high1 = i32x4.add(high1, t);
    low1 = i32x4.add(low1, f32x4.add(f32x4.sub(p, f32x4.sub(t, highMagic)), magic));
    p = kept4(v128.load32_splat(a, 8), y, kept);
    t = f32x4.add(p, highMagic);
    high2 = i32x4.add(high2, t);
    low2 = i32x4.add(low2, f32x4.add(f32x4.sub(p, f32x4.sub(t, highMagic)), magic));
    p = kept4(v128.load32_splat(a, 12), y, kept);
    t = f32x4.add(p, highMagic);
    high3 = i32x4.add(high3, t);
    low3 = i32x4.add(low3, f32x4.add(f32x4.sub(p, f32x4.sub(t, highMagic)), magic));
    a += 16;
    b += 32;
  }
  if (out == 0) {
    addSum(step, i32x4.add(i32x4.shl(high0, 12), low0));
    addSum(step + 32, i32x4.add(i32x4.shl(high1, 12), low1));
    addSum(step + 64, i32x4.add(i32x4.shl(high2, 12), low2));
    addSum(step + 96, i32x4.add(i32x4.shl(high3, 12), low3));
    return;
  }
  join4(high0, low0, out, truncate);
  join4(high1, low1, out + step, truncate);
  join4(high2, low2, out + 2 * step, truncate);
  join4(high3, low3, out + 3 * step, truncate);
}

@inline
function kept4(a: v128, b: v128, kept: v128): v128 {
  const p = f32x4.mul(a, b);
  return v128.and(p, f32x4.ge(f32x4.mul(p, p), kept));
}

function join4(high: v128, low: v128, out: usize, truncate: bool): void {
  put(joined(i32x4.extract_lane(high, 0), i32x4.extract_lane(low, 0)), out, truncate);
  put(joined(i32x4.extract_lane(high, 1), i32x4.extract_lane(low, 1)), out + 4, truncate);
  put(joined(i32x4.extract_lane(high, 2), i32x4.extract_lane(low, 2)), out + 8, truncate);
  put(joined(i32x4.extract_lane(high, 3), i32x4.extract_lane(low, 3)), out + 12, truncate);
}

@inline
function joined(high: i32, low: i32): i64 {
  return (<i64>high << 12) + <i64>low;
}

/**
 * Any operands: products in doubles, sums in two parts of 64 bits. What is not a number counts as 0; an infinite
 * product makes the sum infinite, two of opposite sign make it NaN.
 */
function wide(a: usize, b: usize, depth: u32, out: usize, step: usize, truncate: bool): void {
  for (let row: usize = 0; row < 4; row++) {
    for (let column: usize = 0; column < 8; column++) {
      let high: i64 = 0;
      let low: i64 = 0;
      let infinite: f64 = 0;
      let x = a + (row << 2);
      let y = b + (column << 2);
      for (let k: u32 = 0; k < depth; k++) {
        const p = <f64>load<f32>(x) * <f64>load<f32>(y);
        if (abs(p) < Infinity) {
          const q = <i64>nearest<f64>(p);
          if (q > 1 || q < -1) {
            high += q >> 32;
            low += q & 0xffffffff;
          }
        } else if (p == p) infinite += p;
        x += 16;
        y += 32;
      }
      const at = out + row * step + (column << 2);
      high += low >> 32;
      if (infinite != 0) store<f32>(at, infinite == infinite ? <f32>infinite : NaN);
      else if (high >= <i64>1 << 31 || high < -(<i64>1 << 31))
        store<f32>(at, high < 0 ? -Infinity : Infinity);
      else put((high << 32) | (low & 0xffffffff), at, truncate);
    }
  }
}

/** A sum in units of 2^-16 as an fp16 number, stored as fp32. */
function put(sum: i64, out: usize, truncate: bool): void {
  const magnitude: u64 = <u64>(sum < 0 ? -sum : sum);
  if (magnitude > CEILING) {
    store<f32>(out, sum < 0 ? -Infinity : Infinity);
    return;
  }
  // fp16 keeps the top 11 bits; units of 2^-16 are never below its smallest step.
  let kept: u64 = magnitude;
  const shift: i32 = 53 - <i32>clz<u64>(magnitude | 1);
  if (shift > 0) {
    const step: u64 = <u64>1 << shift;
    const rest = magnitude & (step - 1);
    kept = magnitude - rest;
    if (!truncate) {
      const half = step >> 1;
      if (rest > half || (rest == half && (kept & step) != 0)) kept += step;
    }
  }
  const value: f32 = <f32>kept * 0.0000152587890625;
  store<f32>(out, sum < 0 ? -value : value);
}

/** Ordinary fp32 products, rounded to fp16 once: the approximate mode. `b` is not scaled here. */
function plain(a: usize, b: usize, depth: u32, out: usize, step: usize): void {
  let s00 = f32x4.splat(0);
  let s01 = s00;
  let s10 = s00;
  let s11 = s00;
  let s20 = s00;
  let s21 = s00;
  let s30 = s00;
  let s31 = s00;
  const end = a + (<usize>depth << 4);
  while (a < end) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let x = v128.load32_splat(a);
    s00 = f32x4.add(s00, f32x4.mul(x, b0));
    s01 = f32x4.add(s01, f32x4.mul(x, b1));
    x = v128.load32_splat(a, 4);
    s10 = f32x4.add(s10, f32x4.mul(x, b0));
    s11 = f32x4.add(s11, f32x4.mul(x, b1));
    x = v128.load32_splat(a, 8);
    s20 = f32x4.add(s20, f32x4.mul(x, b0));
    s21 = f32x4.add(s21, f32x4.mul(x, b1));
    x = v128.load32_splat(a, 12);
    s30 = f32x4.add(s30, f32x4.mul(x, b0));
    s31 = f32x4.add(s31, f32x4.mul(x, b1));
    a += 16;
    b += 32;
  }
  half8(s00, s01, out);
  half8(s10, s11, out + step);
  half8(s20, s21, out + 2 * step);
  half8(s30, s31, out + 3 * step);
}

function half8(s0: v128, s1: v128, out: usize): void {
  v128.store(out, roundHalf(s0));
  v128.store(out, roundHalf(s1), 16);
}
