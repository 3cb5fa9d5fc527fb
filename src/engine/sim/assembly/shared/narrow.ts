// Products whose sums fit 32 bits, whatever stands in between: most of a training step.
//
// Which products vanish costs a comparison with a threshold for |b|: by exponents (`exponentThresholds`), or by size,
// where |a * b| >= 1.5 is |b| >= 1.5 / |a|. A left number with one more unit in its last place of fp32 makes rounding
// to even go half away from zero: ties get beyond the middle and nothing else does, as long as |a * b| < 2^22 units, or
// 2^21 where the product is rounded by itself.
// Numbers and thresholds of the left rows stand in a scratch four times side by side, because a load of four takes one
// instruction where a load of one for four lanes takes two.
import {
  BLOCK,
  DROP_EXPONENTS,
  exponentThresholds,
  isNothing,
  MAGIC,
  MAGIC_BITS,
  ROUND_AWAY,
} from "./grid-constants";

/** The least product that counts by size, in units of the grid. */
const LEAST_UNITS: f32 = 1.5;
/** What fp16 numbers held as fp32 have no bits in. */
const HALF_BITS: i32 = 0xffffe000;

/** MAGIC four times in memory: as a constant the compiler would make it anew in every turn of a loop. */
let magicAddress: usize = 0;
/** Four numbers and four thresholds of each step of the depth, each four times. */
let expanded: usize = 0;
/** A tile's sums of some steps. */
let sums: usize = 0;
/** Steps of the depth that the last tile's blocks spent on nothing, and on wider terms. */
export let zeroSteps: u32 = 0;
export let mediumSteps: u32 = 0;

/** Up to which |a * b| a nudged product is rounded right: whether the machine fuses product and sum shows once. */
let mostAway: f32 = 32;

/** Whether (1 + 2^-12)^2 - (1 + 2^-11) is what it is, 2^-24, and not 0. */
function isFused(x: v128): bool {
  const negative = f32x4.splat(-1.00048828125);
  const rest = ASC_FEATURE_RELAXED_SIMD
    ? f32x4.relaxed_madd(x, x, negative)
    : f32x4.add(f32x4.mul(x, x), negative);
  return f32x4.extract_lane(rest, 0) != 0;
}

/** Gives a thread a scratch of 16 bytes, 128, and 128 for each step of a chunk. */
export function useExpansion(address: usize): void {
  magicAddress = address;
  v128.store(address, f32x4.splat(1.000244140625));
  if (isFused(v128.load(address))) mostAway = 64;
  v128.store(address, f32x4.splat(MAGIC));
  sums = address + 16;
  expanded = sums + 128;
}

/**
 * Lays out a group's chunk for `narrow`. The quotient's rounding lets no product pass by: |a * b| has 22 bits, so that
 * where it is not 1.5 it is off by more than 2^-22 of it, and the quotient by 2^-24 at most.
 */
export function expand(a: usize, depth: u32, mode: u32): void {
  const least = f32x4.splat(LEAST_UNITS);
  const nudge = i32x4.splat(mode & ROUND_AWAY ? 1 : 0);
  let to = expanded;
  const end = a + (<usize>depth << 4);
  while (a < end) {
    const plain = v128.load(a);
    const y =
      mode & DROP_EXPONENTS ? exponentThresholds(plain) : f32x4.div(least, f32x4.abs(plain));
    // A zero stays one.
    const isNumber = f32x4.ne(plain, f32x4.splat(0));
    const x = i32x4.add(plain, v128.and(nudge, isNumber));
    v128.store(to, v128.shuffle<i32>(x, x, 0, 0, 0, 0));
    v128.store(to, v128.shuffle<i32>(x, x, 1, 1, 1, 1), 16);
    v128.store(to, v128.shuffle<i32>(x, x, 2, 2, 2, 2), 32);
    v128.store(to, v128.shuffle<i32>(x, x, 3, 3, 3, 3), 48);
    v128.store(to, v128.shuffle<i32>(y, y, 0, 0, 0, 0), 64);
    v128.store(to, v128.shuffle<i32>(y, y, 1, 1, 1, 1), 80);
    v128.store(to, v128.shuffle<i32>(y, y, 2, 2, 2, 2), 96);
    v128.store(to, v128.shuffle<i32>(y, y, 3, 3, 3, 3), 112);
    a += 16;
    to += 128;
  }
}

/**
 * Adds a chunk of the expanded group's products to a tile's sums. A block of the depth that may have some |a * b| of 64
 * and more (`mostAway` where rounding is away from zero) takes wider terms; one where nothing counts is passed over.
 */
export function narrow(
  b: usize,
  depth: u32,
  leftBlocks: usize,
  rightBlocks: usize,
  out: usize,
  step: usize,
  mode: u32,
): void {
  const isAway = (mode & ROUND_AWAY) != 0;
  const most: f32 = isAway ? mostAway : 64;
  zeroSteps = 0;
  mediumSteps = 0;
  let x = expanded;
  /** Steps before this block whose terms are still to be added. */
  let pending: u32 = 0;
  for (let start: u32 = 0; start < depth; start += BLOCK) {
    const steps = min(BLOCK, depth - start);
    const left = load<f32>(leftBlocks);
    const right = load<f32>(rightBlocks);
    const isZero = isNothing(left, right, mode);
    if (!isZero && left * right < most) pending += steps;
    else {
      if (pending > 0) {
        sumNarrow(x, b, pending);
        addSums(out, step);
      }
      x += <usize>pending << 7;
      b += <usize>pending << 6;
      pending = 0;
      if (isZero) zeroSteps += steps;
      else {
        if (isAway) sumMediumAway(x, b, steps);
        else sumMedium(x, b, steps);
        addSums(out, step);
        mediumSteps += steps;
      }
      x += <usize>steps << 7;
      b += <usize>steps << 6;
    }
    leftBlocks += 4;
    rightBlocks += 4;
  }
  if (pending > 0) {
    sumNarrow(x, b, pending);
    addSums(out, step);
  }
}

/** `b` where its magnitude reaches the threshold, else 0. */
@inline
function kept(threshold: v128, b: v128, magnitude: v128): v128 {
  return v128.and(f32x4.ge(magnitude, threshold), b);
}

/** a * b rounded above the bits of MAGIC: |a * b| < 64. */
@inline
function rounded(a: v128, b: v128, magic: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD
    ? f32x4.relaxed_madd(b, a, magic)
    : f32x4.add(f32x4.mul(b, a), magic);
}

/** rint(a * b) as an integer, which 32 bits hold where the sum of magnitudes is bounded. */
@inline
function whole(a: v128, b: v128): v128 {
  const q = f32x4.nearest(f32x4.mul(b, a));
  return ASC_FEATURE_RELAXED_SIMD
    ? i32x4.relaxed_trunc_f32x4_s(q)
    : i32x4.trunc_sat_f32x4_s(q);
}

/** The same, halves away from zero: adding a half is exact, because a product has 22 bits. */
@inline
function wholeAway(a: v128, b: v128): v128 {
  const p = f32x4.mul(b, v128.and(a, i32x4.splat(HALF_BITS)));
  const half = v128.or(v128.and(p, i32x4.splat(0x80000000)), f32x4.splat(0.5));
  const q = f32x4.add(p, half);
  return ASC_FEATURE_RELAXED_SIMD
    ? i32x4.relaxed_trunc_f32x4_s(q)
    : i32x4.trunc_sat_f32x4_s(q);
}

/** What becomes of a product in a loop of terms. */
const NARROW_TERM: u32 = 0;
const WHOLE_TERM: u32 = 1;
const WHOLE_AWAY_TERM: u32 = 2;

@inline
function addTerm(
  sum: v128,
  a: v128,
  threshold: v128,
  b: v128,
  magnitude: v128,
  magic: v128,
  term: u32,
): v128 {
  const other = kept(threshold, b, magnitude);
  if (term == NARROW_TERM) return i32x4.add(sum, rounded(a, other, magic));
  return i32x4.add(sum, term == WHOLE_TERM ? whole(a, other) : wholeAway(a, other));
}

/**
 * Sums of products of the expanded rows at `a`. They go to the scratch and from there to the tile, because a loop is
 * scheduled for what follows it: with additions to memory there, half its registers are spilled and it takes half as
 * long again.
 */
@inline
function sumTerms(a: usize, b: usize, depth: u32, term: u32): void {
  const magic = v128.load(magicAddress);
  const end = a + (<usize>depth << 7);
  let s00 = i32x4.splat(term == NARROW_TERM ? -(<i32>depth) * MAGIC_BITS : 0);
  let s01 = s00;
  let s10 = s00;
  let s11 = s00;
  let s20 = s00;
  let s21 = s00;
  let s30 = s00;
  let s31 = s00;
  while (a < end) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    const m0 = v128.load(b, 32);
    const m1 = v128.load(b, 48);
    let x = v128.load(a);
    let y = v128.load(a, 64);
    s00 = addTerm(s00, x, y, b0, m0, magic, term);
    s01 = addTerm(s01, x, y, b1, m1, magic, term);
    x = v128.load(a, 16);
    y = v128.load(a, 80);
    s10 = addTerm(s10, x, y, b0, m0, magic, term);
    s11 = addTerm(s11, x, y, b1, m1, magic, term);
    x = v128.load(a, 32);
    y = v128.load(a, 96);
    s20 = addTerm(s20, x, y, b0, m0, magic, term);
    s21 = addTerm(s21, x, y, b1, m1, magic, term);
    x = v128.load(a, 48);
    y = v128.load(a, 112);
    s30 = addTerm(s30, x, y, b0, m0, magic, term);
    s31 = addTerm(s31, x, y, b1, m1, magic, term);
    a += 128;
    b += 64;
  }
  v128.store(sums, s00);
  v128.store(sums, s01, 16);
  v128.store(sums, s10, 32);
  v128.store(sums, s11, 48);
  v128.store(sums, s20, 64);
  v128.store(sums, s21, 80);
  v128.store(sums, s30, 96);
  v128.store(sums, s31, 112);
}

/** Every |a * b| < 64. */
function sumNarrow(a: usize, b: usize, depth: u32): void {
  sumTerms(a, b, depth, NARROW_TERM);
}

/** Any |a * b| that the sums can hold. */
function sumMedium(a: usize, b: usize, depth: u32): void {
  sumTerms(a, b, depth, WHOLE_TERM);
}

function sumMediumAway(a: usize, b: usize, depth: u32): void {
  sumTerms(a, b, depth, WHOLE_AWAY_TERM);
}

function addSums(out: usize, step: usize): void {
  for (let from = sums; from < sums + 128; from += 32) {
    v128.store(out, i32x4.add(v128.load(out), v128.load(from)));
    v128.store(out, i32x4.add(v128.load(out, 16), v128.load(from, 16)), 16);
    out += step;
  }
}
