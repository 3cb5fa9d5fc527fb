// Sums of products on the grid, in units of 2^-16, and the fp16 numbers they become. A tile has 4 rows of 8 numbers.
import { roundHalf } from "./half";

/** Beyond this magnitude the engine answers infinity: 32758.8 * 2^16. */
const CEILING: u64 = 2146880716;
const INFINITY_BITS: i32 = 0x7f800000;
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
export function flush(out: usize, step: usize, truncate: bool): void {
  for (let row = 0; row < 4; row++) {
    v128.store(out, halves(v128.load(out), truncate));
    v128.store(out, halves(v128.load(out, 16), truncate), 16);
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
 * becomes infinite or zero: what `roundHalf` does besides falls away.
 */
export function flushSmall(out: usize, step: usize, truncate: bool): void {
  if (truncate) {
    for (let row = 0; row < 4; row++) {
      v128.store(out, cut(v128.load(out)));
      v128.store(out, cut(v128.load(out, 16)), 16);
      out += step;
    }
    return;
  }
  const unit = v128.load(constants);
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
function smallHalves(sums: v128, unit: v128, exponents: v128, least: v128, lift: v128): v128 {
  const value = f32x4.mul(f32x4.convert_i32x4_s(sums), unit);
  const anchor = i32x4.add(i32x4.max_s(v128.and(value, exponents), least), lift);
  return f32x4.sub(f32x4.add(value, anchor), anchor);
}

@inline
function cut(sums: v128): v128 {
  return v128.and(
    f32x4.mul(f32x4.convert_i32x4_s(sums), f32x4.splat(UNIT)),
    i32x4.splat(0xffffe000),
  );
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
  const exact = f32x4.mul(f32x4.convert_i32x4_s(magnitude), f32x4.splat(UNIT));
  const short = f32x4.mul(f32x4.convert_i32x4_s(sticky), f32x4.splat(0.00390625));
  const value = v128.bitselect(short, exact, large);
  // Multiples of 2^-16 are never finer than fp16 below 2^-14.
  const half = truncate ? v128.and(value, i32x4.splat(0xffffe000)) : roundHalf(value);
  const beyond = i32x4.gt_s(magnitude, i32x4.splat(<i32>CEILING));
  return v128.or(v128.bitselect(i32x4.splat(INFINITY_BITS), half, beyond), sign);
}

/** A sum in units of 2^-16 as an fp16 number, stored as fp32. */
export function put(sum: i64, out: usize, truncate: bool): void {
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
  const value: f32 = <f32>kept * UNIT;
  store<f32>(out, sum < 0 ? -value : value);
}

