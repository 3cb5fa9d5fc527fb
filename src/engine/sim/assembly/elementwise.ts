// Ops on each fp16 number by itself, held as fp32. Sums, products and quotients of fp16 numbers are rounded to fp32
// and then to fp16: 24 bits are more than twice 11, so that is one rounding.
import { bitsOf, roundHalf } from "./shared/half";

const ADD: u32 = 0;
const SUBTRACT: u32 = 1;
const MULTIPLY: u32 = 2;
const DIVIDE: u32 = 3;
const MAXIMUM: u32 = 4;

/** Beside an op's code: ties go away from zero, and NaN counts as infinity. */
const AWAY: u32 = 8;
const SPECIAL: u32 = 16;

@inline
function compute(code: u32, x: v128, y: v128): v128 {
  const isAway = (code & AWAY) != 0;
  const op = code & 7;
  if (op == ADD) return roundHalf(f32x4.add(x, y), isAway);
  if (op == SUBTRACT) return roundHalf(f32x4.sub(x, y), isAway);
  if (op == MULTIPLY) return roundHalf(f32x4.mul(x, y), isAway);
  if (op == DIVIDE) return roundHalf(f32x4.div(x, y), isAway);
  return op == MAXIMUM ? f32x4.max(x, y) : f32x4.min(x, y);
}

@inline
function isNan(x: v128): v128 {
  return f32x4.ne(x, x);
}

/** Infinity where a number is none; the sign of NaN is not kept anywhere. */
@inline
function asInfinity(x: v128): v128 {
  return v128.bitselect(i32x4.splat(0x7f800000), x, isNan(x));
}

/** `compute`, with NaN among the operands as infinity where that is the rule; it shows in the result. */
@inline
function result(code: u32, isSpecial: bool, x: v128, y: v128): v128 {
  const made = compute(code, x, y);
  if (isSpecial && v128.any_true(isNan(made))) return compute(code, asInfinity(x), asInfinity(y));
  return made;
}

/** `n` results; operands advance by 4 bytes or stand still. */
@inline
function stretch(
  code: u32,
  isSpecial: bool,
  x: usize,
  xStep: usize,
  y: usize,
  yStep: usize,
  out: usize,
  n: u32,
): void {
  const end = out + (<usize>n << 2);
  const blocks = out + (<usize>(n & ~3) << 2);
  if (xStep != 0 && yStep != 0) {
    for (; out < blocks; out += 16, x += 16, y += 16)
      v128.store(out, result(code, isSpecial, v128.load(x), v128.load(y)));
  } else if (xStep != 0) {
    const b = v128.load32_splat(y);
    for (; out < blocks; out += 16, x += 16)
      v128.store(out, result(code, isSpecial, v128.load(x), b));
  } else if (yStep != 0) {
    const a = v128.load32_splat(x);
    for (; out < blocks; out += 16, y += 16)
      v128.store(out, result(code, isSpecial, a, v128.load(y)));
  } else {
    const both = result(code, isSpecial, v128.load32_splat(x), v128.load32_splat(y));
    for (; out < blocks; out += 16) v128.store(out, both);
  }
  for (; out < end; out += 4, x += xStep, y += yStep) {
    const one = result(code, isSpecial, v128.load32_splat(x), v128.load32_splat(y));
    v128.store_lane<f32>(out, one, 0);
  }
}

/**
 * Results [begin, end) of an op of two operands. Element i reads `floor(i / each) % count` of an operand; `run`
 * elements in a row, from a multiple of it on, read each operand in order or the same element of it.
 */
export function binary(
  code: u32,
  x: usize,
  xEach: u32,
  xCount: u32,
  y: usize,
  yEach: u32,
  yCount: u32,
  out: usize,
  run: u32,
  begin: u32,
  end: u32,
): void {
  const xStep: usize = xEach == 1 ? 4 : 0;
  const yStep: usize = yEach == 1 ? 4 : 0;
  const isSpecial = (code & SPECIAL) != 0 && (code & 7) < MAXIMUM;
  let i = begin;
  while (i < end) {
    const n = min(end - i, run - (i % run));
    const a = x + (<usize>((i / xEach) % xCount) << 2);
    const b = y + (<usize>((i / yEach) % yCount) << 2);
    const at = out + (<usize>i << 2);
    switch (code & 15) {
      case 0:
        stretch(ADD, isSpecial, a, xStep, b, yStep, at, n);
        break;
      case 1:
        stretch(SUBTRACT, isSpecial, a, xStep, b, yStep, at, n);
        break;
      case 2:
        stretch(MULTIPLY, isSpecial, a, xStep, b, yStep, at, n);
        break;
      case 3:
        stretch(DIVIDE, isSpecial, a, xStep, b, yStep, at, n);
        break;
      case 8:
        stretch(ADD | AWAY, isSpecial, a, xStep, b, yStep, at, n);
        break;
      case 9:
        stretch(SUBTRACT | AWAY, isSpecial, a, xStep, b, yStep, at, n);
        break;
      case 10:
        stretch(MULTIPLY | AWAY, isSpecial, a, xStep, b, yStep, at, n);
        break;
      case 11:
        stretch(DIVIDE | AWAY, isSpecial, a, xStep, b, yStep, at, n);
        break;
      case 4:
      case 12:
        stretch(MAXIMUM, false, a, xStep, b, yStep, at, n);
        break;
      default:
        stretch(5, false, a, xStep, b, yStep, at, n);
    }
    i += n;
  }
}

/** Elements [begin, end) through a table of 65536 results, one for each fp16 number's bits. */
export function lookup(table: usize, x: usize, out: usize, begin: u32, end: u32): void {
  const last = out + (<usize>end << 2);
  x += <usize>begin << 2;
  out += <usize>begin << 2;
  for (; out + 16 <= last; out += 16, x += 16) {
    const at = bitsOf(v128.load(x));
    store<f32>(out, load<f32>(table + (<usize>i32x4.extract_lane(at, 0) << 2)));
    store<f32>(out, load<f32>(table + (<usize>i32x4.extract_lane(at, 1) << 2)), 4);
    store<f32>(out, load<f32>(table + (<usize>i32x4.extract_lane(at, 2) << 2)), 8);
    store<f32>(out, load<f32>(table + (<usize>i32x4.extract_lane(at, 3) << 2)), 12);
  }
  for (; out < last; out += 4, x += 4) {
    const at = i32x4.extract_lane(bitsOf(v128.load32_splat(x)), 0);
    store<f32>(out, load<f32>(table + (<usize>at << 2)));
  }
}

/** fp32 numbers [begin, end) rounded to fp16, ties to even or away, from one place to another or in place. */
export function round(from: usize, to: usize, isAway: u32, begin: u32, end: u32): void {
  if (isAway) roundAll(from, to, true, begin, end);
  else roundAll(from, to, false, begin, end);
}

@inline
function roundAll(from: usize, to: usize, isAway: bool, begin: u32, end: u32): void {
  const last = to + (<usize>end << 2);
  from += <usize>begin << 2;
  to += <usize>begin << 2;
  for (; to + 16 <= last; to += 16, from += 16) v128.store(to, roundHalf(v128.load(from), isAway));
  for (; to < last; to += 4, from += 4)
    v128.store_lane<f32>(to, roundHalf(v128.load32_splat(from), isAway), 0);
}

/** Copies numbers [begin, end). */
export function copy(from: usize, to: usize, begin: u32, end: u32): void {
  const offset = <usize>begin << 2;
  memory.copy(to + offset, from + offset, <usize>(end - begin) << 2);
}

/** Adds fp32 numbers [begin, end) to those at `to`. */
export function accumulate(from: usize, to: usize, begin: u32, end: u32): void {
  const last = to + (<usize>end << 2);
  from += <usize>begin << 2;
  to += <usize>begin << 2;
  for (; to + 16 <= last; to += 16, from += 16)
    v128.store(to, f32x4.add(v128.load(to), v128.load(from)));
  for (; to < last; to += 4, from += 4) store<f32>(to, load<f32>(to) + load<f32>(from));
}
