// Sums of products on the grid, in units of 2^-16, and the fp16 numbers they become. A tile has 4 rows of 8 numbers.
import {
  OUTPUT_AWAY,
  OUTPUT_CUT,
  OUTPUT_MASK,
  RANGE_FINAL_OLD,
  RANGE_MASK,
} from "./grid-constants";
import { roundHalfEven } from "./half";

/** Beyond this magnitude a sum was thought infinite: 32758.8 * 2^16. */
const OLD_CEILING: u64 = 2146880716;
/** From this magnitude on a sum is infinite: 32768 * 2^16. */
const CEILING: u64 = 2147483648;
const UNIT: f32 = 0.0000152587890625;

/** Zeros in a tile. */
export function clear(out: usize, step: usize): void {
  const zero = i32x4.splat(0);
  for (let row = 0; row < 4; row++) {
    v128.store(out, zero);
    v128.store(out, zero, 16);
    out += step;
  }
}

/** A tile's sums, below 2^31 in magnitude, become fp16 numbers. */
export function flush(out: usize, step: usize, mode: u32): void {
  const output = mode & OUTPUT_MASK;
  for (let row = 0; row < 4; row++) {
    v128.store(out, halves(v128.load(out), output));
    v128.store(out, halves(v128.load(out, 16), output), 16);
    out += step;
  }
}

/** What `flushSmall` takes from memory: as constants the compiler would make them anew for every vector. */
let constants: usize = 0;

/** Gives a thread a place of 64 bytes. */
export function useConstants(address: usize): void {
  constants = address;
  v128.store(address, f32x4.splat(UNIT));
  v128.store(address, i32x4.splat(0x7f800000), 16);
  v128.store(address, i32x4.splat(0x38800000), 32);
  v128.store(address, i32x4.splat((13 << 23) | 0x400000), 48);
}

/**
 * The same for sums below 2^24, which are fp32 numbers. They are below 256 and no finer than 2^-16, so that nothing
 * becomes infinite or zero: what rounding does besides falls away.
 */
export function flushSmall(out: usize, step: usize, mode: u32): void {
  const output = mode & OUTPUT_MASK;
  const unit = v128.load(constants);
  if (output == OUTPUT_AWAY) {
    for (let row = 0; row < 4; row++) {
      v128.store(out, away(scaled(v128.load(out), unit)));
      v128.store(out, away(scaled(v128.load(out, 16), unit)), 16);
      out += step;
    }
    return;
  }
  if (output == OUTPUT_CUT) {
    for (let row = 0; row < 4; row++) {
      v128.store(out, cut(scaled(v128.load(out), unit)));
      v128.store(out, cut(scaled(v128.load(out, 16), unit)), 16);
      out += step;
    }
    return;
  }
  const exponents = v128.load(constants, 16);
  const least = v128.load(constants, 32);
  const lift = v128.load(constants, 48);
  for (let row = 0; row < 4; row++) {
    v128.store(out, smallHalves(v128.load(out), unit, exponents, least, lift));
    v128.store(out, smallHalves(v128.load(out, 16), unit, exponents, least, lift), 16);
    out += step;
  }
}

@inline
function scaled(sums: v128, unit: v128): v128 {
  return f32x4.mul(f32x4.convert_i32x4_s(sums), unit);
}

@inline
function smallHalves(sums: v128, unit: v128, exponents: v128, least: v128, lift: v128): v128 {
  const value = scaled(sums, unit);
  const anchor = i32x4.add(i32x4.max_s(v128.and(value, exponents), least), lift);
  return f32x4.sub(f32x4.add(value, anchor), anchor);
}

@inline
function cut(value: v128): v128 {
  return v128.and(value, i32x4.splat(0xffffe000));
}

/** Half a step of fp16 more, cut off: exact below 2^-14 too, where multiples of 2^-16 are fp16 numbers. */
@inline
function away(value: v128): v128 {
  return v128.and(i32x4.add(value, i32x4.splat(0x1000)), i32x4.splat(0xffffe000));
}

/** Sums in units of 2^-16, below 2^31 in magnitude, as fp16 numbers. */
@inline
export function halves(sums: v128, output: u32): v128 {
  const sign = v128.and(sums, i32x4.splat(0x80000000));
  const magnitude = i32x4.abs(sums);
  // From 2^24 on fp32 would round a first time: eight bits go, one that says whether any was set stays.
  const lost = i32x4.ne(v128.and(magnitude, i32x4.splat(255)), i32x4.splat(0));
  const sticky = v128.or(i32x4.shr_u(magnitude, 8), v128.and(lost, i32x4.splat(1)));
  const large = i32x4.ge_s(magnitude, i32x4.splat(1 << 24));
  const exact = f32x4.mul(f32x4.convert_i32x4_s(magnitude), f32x4.splat(UNIT));
  const short = f32x4.mul(f32x4.convert_i32x4_s(sticky), f32x4.splat(0.00390625));
  const value = v128.bitselect(short, exact, large);
  // Multiples of 2^-16 are never finer than fp16 below 2^-14.
  const half =
    output == OUTPUT_AWAY ? away(value) : output == OUTPUT_CUT ? cut(value) : roundHalfEven(value);
  return v128.or(half, sign);
}

/** A final sum in units of 2^-16 as an fp16 number, stored as fp32. */
export function put(sum: i64, out: usize, mode: u32): void {
  const magnitude: u64 = <u64>(sum < 0 ? -sum : sum);
  const isOld = (mode & RANGE_MASK) == RANGE_FINAL_OLD;
  if (isOld ? magnitude > OLD_CEILING : magnitude >= CEILING) {
    store<f32>(out, sum < 0 ? -Infinity : Infinity);
    return;
  }
  // fp16 keeps the top 11 bits; units of 2^-16 are never below its smallest step.
  let kept: u64 = magnitude;
  const shift: i32 = 53 - <i32>clz<u64>(magnitude | 1);
  if (shift > 0) {
    const step: u64 = <u64>1 << shift;
    const rest = magnitude & (step - 1);
    const half = step >> 1;
    kept = magnitude - rest;
    const output = mode & OUTPUT_MASK;
    const isTieUp = output == OUTPUT_AWAY || (kept & step) != 0;
    if (output != OUTPUT_CUT && (rest > half || (rest == half && isTieUp))) kept += step;
  }
  const value: f32 = <f32>kept * UNIT;
  store<f32>(out, sum < 0 ? -value : value);
}
