// Products of any numbers by any rule.
import {
  DROP_EXPONENTS,
  RANGE_ANY,
  RANGE_CHANNELS,
  RANGE_MASK,
  ROUND_AWAY,
} from "./grid-constants";
import { put } from "./sums";

/** A sum of 32768 in units of 2^-16. */
const CEILING: i64 = <i64>1 << 31;

/**
 * Any operands: products in doubles, sums in 64 bits. What is not a number counts as 0; an infinite product makes the
 * sum infinite, two of opposite sign make a final sum NaN.
 */
export function wide(a: usize, b: usize, depth: u32, out: usize, step: usize, mode: u32): void {
  const range = mode & RANGE_MASK;
  for (let row: usize = 0; row < 4; row++) {
    for (let column: usize = 0; column < 8; column++) {
      const x = a + (row << 2);
      const y = b + (column << 2);
      const at = out + row * step + (column << 2);
      if (range == RANGE_CHANNELS) channelOrder(x, y, depth, at, mode);
      else if (range == RANGE_ANY) anyOrder(x, y, depth, at, mode);
      else finalSum(x, y, depth, at, mode);
    }
  }
}

/** Exponent of an fp16 number, -14 for subnormals and 0. */
@inline
function exponentOf(x: f32): i32 {
  return max<i32>(((reinterpret<i32>(x) >> 23) & 255) - 127, -14);
}

/** A product in units of the grid; infinite where an operand is, 0 where it is not a number. */
@inline
function product(x: usize, y: usize, mode: u32): f64 {
  const left = load<f32>(x);
  const right = load<f32>(y);
  const p = <f64>left * <f64>right;
  if (p != p) return 0;
  if (mode & DROP_EXPONENTS) {
    // The right operand is in units of 2^-16.
    if (exponentOf(left) + exponentOf(right * 0.0000152587890625) <= -17) return 0;
  } else if (abs(p) < 1.5) return 0;
  return mode & ROUND_AWAY ? copysign(floor<f64>(abs(p) + 0.5), p) : nearest<f64>(p);
}

function channelOrder(x: usize, y: usize, depth: u32, at: usize, mode: u32): void {
  let sum: i64 = 0;
  for (let k: u32 = 0; k < depth; k++) {
    const q = product(x, y, mode);
    if (abs(q) == Infinity) {
      store<f32>(at, <f32>q);
      return;
    }
    sum += <i64>q;
    if (sum >= CEILING || sum <= -CEILING) break;
    x += 16;
    y += 64;
  }
  put(sum, at, mode);
}

function anyOrder(x: usize, y: usize, depth: u32, at: usize, mode: u32): void {
  let above: f64 = 0;
  let below: f64 = 0;
  for (let k: u32 = 0; k < depth; k++) {
    const q = product(x, y, mode);
    // Exact as long as they are below the ceiling.
    if (q > 0) above += q;
    else below -= q;
    x += 16;
    y += 64;
  }
  if (above >= <f64>CEILING) store<f32>(at, Infinity);
  else if (below >= <f64>CEILING) store<f32>(at, -Infinity);
  else put(<i64>above - <i64>below, at, mode);
}

function finalSum(x: usize, y: usize, depth: u32, at: usize, mode: u32): void {
  let high: i64 = 0;
  let low: i64 = 0;
  let infinite: f64 = 0;
  for (let k: u32 = 0; k < depth; k++) {
    const p = product(x, y, mode);
    if (abs(p) < Infinity) {
      const q = <i64>p;
      high += q >> 32;
      low += q & 0xffffffff;
    } else infinite += p;
    x += 16;
    y += 64;
  }
  high += low >> 32;
  if (infinite != 0) store<f32>(at, infinite == infinite ? <f32>infinite : NaN);
  else if (high >= CEILING || high < -CEILING) store<f32>(at, high < 0 ? -Infinity : Infinity);
  else put((high << 32) | (low & 0xffffffff), at, mode);
}
