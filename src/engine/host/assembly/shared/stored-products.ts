// Rows times a matrix that stands as 16-bit floats or as codes in groups, read as it stands.
import { columnsOfTiles, rowsOfTiles } from "./products";
import { laneSum, plusProduct } from "./vectors";

/** Types of 16-bit patterns and of scales, as engine/cpu/rows/stored.ts numbers them. */
const FP32: u32 = 0;
const FP16: u32 = 1;

/** Four fp16 patterns with their signs spread over 32-bit lanes as fp32, as long as they are finite. */
// @ts-ignore: decorator
@inline
function finiteSingles(bits: v128): v128 {
  // As fp32 with an exponent too small by 112, which an exact product repairs, subnormals included.
  const small = v128.and(i32x4.shl(bits, 13), i32x4.splat(0x8fffe000));
  return f32x4.mul(small, f32x4.splat(5.192296858534828e33));
}

/** As `finiteSingles` of whatever patterns. */
// @ts-ignore: decorator
@inline
function singles(bits: v128): v128 {
  const scaled = finiteSingles(bits);
  const isSpecial = f32x4.ge(f32x4.abs(scaled), f32x4.splat(65536));
  return v128.or(scaled, v128.and(isSpecial, i32x4.splat(0x7f800000)));
}

/** Four 16-bit patterns at an address as fp32. */
// @ts-ignore: decorator
@inline
function fourOf(type: u32, at: usize): v128 {
  return type == FP16
    ? singles(v128.load_ext<i16>(at))
    : i32x4.shl(v128.load_ext<u16>(at), 16);
}

/** One number of a type. */
// @ts-ignore: decorator
@inline
function numberAt(type: u32, start: usize, index: u32): f32 {
  if (type == FP32) return load<f32>(start + ((<usize>index) << 2));
  const bits: i32 = load<i16>(start + ((<usize>index) << 1));
  if (type == FP16) return f32x4.extract_lane(singles(i32x4.splat(bits)), 0);
  return reinterpret<f32>(bits << 16);
}

/** Numbers that 16-bit patterns stand for, as fp32; `count` of them. */
function singlesOf(type: u32, from: usize, to: usize, count: u32): void {
  const bytes: usize = (<usize>count) << 1;
  const steps: usize = bytes & ~(<usize>15);
  let at: usize = 0;
  if (type == FP16) {
    let peaks = i16x8.splat(0);
    for (; at < steps; at += 16) {
      const bits = v128.load(from + at);
      peaks = i16x8.max_u(peaks, v128.and(bits, i16x8.splat(0x7fff)));
      v128.store(to + 2 * at, finiteSingles(i32x4.extend_low_i16x8_s(bits)));
      v128.store(to + 2 * at, finiteSingles(i32x4.extend_high_i16x8_s(bits)), 16);
    }
    // Some number is infinite or none.
    if (v128.any_true(i16x8.ge_u(peaks, i16x8.splat(0x7c00)))) at = 0;
  }
  for (; at < steps; at += 8) v128.store(to + 2 * at, fourOf(type, from + at));
  for (; at < bytes; at += 2) store<f32>(to + 2 * at, numberAt(type, from, <u32>(at >> 1)));
}

/**
 * As `productByRows` of what the 16-bit patterns w [columns, depth] stand for, to the same bits. `room`: for two columns of
 * numbers, which are read by all rows in tiles.
 */
export function productOf16(
  x: usize,
  w: usize,
  y: usize,
  rows: u32,
  depth: u32,
  stride: u32,
  first: u32,
  last: u32,
  type: u32,
  tiles: usize,
  room: usize,
): void {
  const rowBytes: usize = (<usize>depth) << 2;
  const yBytes: usize = (<usize>stride) << 2;
  let left: u32 = 0;
  if (tiles != 0) {
    left = rowsOfTiles(rows);
    for (let n = first; n < last; n += 2) {
      const second = min(n + 1, last - 1);
      singlesOf(type, w + <usize>n * (rowBytes >> 1), room, depth);
      singlesOf(type, w + <usize>second * (rowBytes >> 1), room + rowBytes, depth);
      const target = y + ((<usize>n) << 2);
      const next = y + ((<usize>second) << 2);
      columnsOfTiles(tiles, rows, depth, room, target, next, yBytes);
    }
  }
  if (left < rows)
    rowsOf16(
      x + <usize>left * rowBytes,
      w,
      y + <usize>left * yBytes,
      rows - left,
      depth,
      stride,
      first,
      last,
      type,
    );
}

/** One row after the other, each weight read as it stands. */
function rowsOf16(
  x: usize,
  w: usize,
  y: usize,
  rows: u32,
  depth: u32,
  stride: u32,
  first: u32,
  last: u32,
  type: u32,
): void {
  const rowBytes: usize = (<usize>depth) << 2;
  const steps: usize = rowBytes & ~(<usize>31);
  const whole: usize = rowBytes & ~(<usize>15);
  for (let n = first; n < last; n++) {
    const weights = w + <usize>n * (rowBytes >> 1);
    for (let r: u32 = 0; r < rows; r++) {
      const row = x + <usize>r * rowBytes;
      let even = f32x4.splat(0);
      let odd = f32x4.splat(0);
      let at: usize = 0;
      if (type == FP16) {
        let peaks = i16x8.splat(0);
        for (; at < steps; at += 32) {
          const bits = v128.load(weights + (at >> 1));
          peaks = i16x8.max_u(peaks, v128.and(bits, i16x8.splat(0x7fff)));
          const low = finiteSingles(i32x4.extend_low_i16x8_s(bits));
          const high = finiteSingles(i32x4.extend_high_i16x8_s(bits));
          even = plusProduct(even, v128.load(row + at), low);
          odd = plusProduct(odd, v128.load(row + at, 16), high);
        }
        if (v128.any_true(i16x8.ge_u(peaks, i16x8.splat(0x7c00)))) {
          // Some weight is infinite or no number.
          even = f32x4.splat(0);
          odd = f32x4.splat(0);
          for (at = 0; at < steps; at += 32) {
            const low = fourOf(FP16, weights + (at >> 1));
            const high = fourOf(FP16, weights + (at >> 1) + 8);
            even = plusProduct(even, v128.load(row + at), low);
            odd = plusProduct(odd, v128.load(row + at, 16), high);
          }
        }
      } else {
        for (; at < steps; at += 32) {
          const bits = v128.load(weights + (at >> 1));
          const low = i32x4.shl(i32x4.extend_low_i16x8_u(bits), 16);
          const high = i32x4.shl(i32x4.extend_high_i16x8_u(bits), 16);
          even = plusProduct(even, v128.load(row + at), low);
          odd = plusProduct(odd, v128.load(row + at, 16), high);
        }
      }
      if (at < whole)
        even = plusProduct(even, v128.load(row + at), fourOf(type, weights + (at >> 1)));
      let sum = laneSum(f32x4.add(even, odd));
      for (at = whole; at < rowBytes; at += 4)
        sum += load<f32>(row + at) * numberAt(type, weights, <u32>(at >> 2));
      store<f32>(y + ((<usize>(r * stride + n)) << 2), sum);
    }
  }
}

/** The whole numbers nearest to four numbers times `inverse`, within +-`largest`; 0 for what is no number. */
// @ts-ignore: decorator
@inline
function wholesOf(from: usize, inverse: f32, largest: f32): v128 {
  const near = f32x4.nearest(f32x4.mul(v128.load(from), f32x4.splat(inverse)));
  const limited = f32x4.pmin(f32x4.pmax(near, f32x4.splat(-largest)), f32x4.splat(largest));
  return i32x4.trunc_sat_f32x4_s(limited);
}

/**
 * Rows as whole numbers of 16 bits a group: x = number * step, steps fp32 [rows, groups], then the sums of each group's
 * numbers times its step, fp32 [rows, groups], then numbers int16 [rows, depth]. With `inHalves` every 32 numbers stand as their even
 * ones and their odd ones, as codes of 4 bits share bytes.
 */
export function wholeNumbers(
  x: usize,
  out: usize,
  rows: u32,
  depth: u32,
  groupSize: u32,
  largest: f32,
  inHalves: u32,
): void {
  const groups = depth / groupSize;
  const steps = out;
  const sums = steps + ((<usize>(rows * groups)) << 2);
  const numbers = sums + ((<usize>(rows * groups)) << 2);
  for (let g: u32 = 0; g < rows * groups; g++) {
    const source = x + ((<usize>(g * groupSize)) << 2);
    const target = numbers + ((<usize>(g * groupSize)) << 1);
    let peaks = f32x4.splat(0);
    for (let at: usize = 0; at < (<usize>groupSize) << 2; at += 16)
      peaks = f32x4.max(peaks, f32x4.abs(v128.load(source + at)));
    const peak = max(
      max(f32x4.extract_lane(peaks, 0), f32x4.extract_lane(peaks, 1)),
      max(f32x4.extract_lane(peaks, 2), f32x4.extract_lane(peaks, 3)),
    );
    const step = peak / largest;
    store<f32>(steps + ((<usize>g) << 2), step);
    const inverse: f32 = step > 0 ? 1 / step : 0;
    let whole = i32x4.splat(0);
    for (let i: u32 = 0; i < groupSize; i += 16) {
      const from = source + ((<usize>i) << 2);
      const a = wholesOf(from, inverse, largest);
      const b = wholesOf(from + 16, inverse, largest);
      const c = wholesOf(from + 32, inverse, largest);
      const d = wholesOf(from + 48, inverse, largest);
      whole = i32x4.add(whole, i32x4.add(i32x4.add(a, b), i32x4.add(c, d)));
      const first = i16x8.narrow_i32x4_s(a, b);
      const second = i16x8.narrow_i32x4_s(c, d);
      if (inHalves) {
        const to = target + ((<usize>(i & ~31)) << 1) + (i & 16);
        v128.store(to, v128.shuffle<i16>(first, second, 0, 2, 4, 6, 8, 10, 12, 14));
        v128.store(to, v128.shuffle<i16>(first, second, 1, 3, 5, 7, 9, 11, 13, 15), 32);
      } else {
        v128.store(target + ((<usize>i) << 1), first);
        v128.store(target + ((<usize>i) << 1), second, 16);
      }
    }
    const sum =
      i32x4.extract_lane(whole, 0) +
      i32x4.extract_lane(whole, 1) +
      i32x4.extract_lane(whole, 2) +
      i32x4.extract_lane(whole, 3);
    store<f32>(sums + ((<usize>g) << 2), <f32>sum * step);
  }
}

/** Four numbers of a type as fp32. */
// @ts-ignore: decorator
@inline
function vectorAt(type: u32, start: usize, index: u32): v128 {
  if (type == FP32) return v128.load(start + ((<usize>index) << 2));
  return fourOf(type, start + ((<usize>index) << 1));
}

/** Scales of one row of codes times steps of one row of numbers, into `factors`; gives what biases and zero points add. */
// @ts-ignore: decorator
@inline
function groupFactors(
  type: u32,
  scales: usize,
  biases: usize,
  steps: usize,
  sums: usize,
  factors: usize,
  start: u32,
  groups: u32,
  zeroPoint: f32,
): f32 {
  const fours = groups & ~3;
  let added = f32x4.splat(0);
  const zero = f32x4.splat(zeroPoint);
  let g: u32 = 0;
  for (; g < fours; g += 4) {
    const at: usize = (<usize>g) << 2;
    const scale = vectorAt(type, scales, start + g);
    v128.store(factors + at, f32x4.mul(scale, v128.load(steps + at)));
    let addend = f32x4.neg(f32x4.mul(scale, zero));
    if (biases != 0) addend = f32x4.add(addend, vectorAt(type, biases, start + g));
    added = f32x4.add(added, f32x4.mul(addend, v128.load(sums + at)));
  }
  let total = laneSum(added);
  for (; g < groups; g++) {
    const at: usize = (<usize>g) << 2;
    const scale = numberAt(type, scales, start + g);
    store<f32>(factors + at, scale * load<f32>(steps + at));
    let addend: f32 = -(scale * zeroPoint);
    if (biases != 0) addend += numberAt(type, biases, start + g);
    total += addend * load<f32>(sums + at);
  }
  return total;
}

/** Adds the products of 16 bytes of 8-bit codes. */
// @ts-ignore: decorator
@inline
function dot8(bytes: v128, number: usize): v128 {
  return i32x4.add(
    i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_u(bytes), v128.load(number)),
    i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_u(bytes), v128.load(number, 16)),
  );
}

/**
 * y[r, n] = sum over groups of step (scale (codes . numbers - zeroPoint sum) + bias sum), where rows stand as
 * `wholeNumbers` writes them. Sums of a group are exact. `factors`: room for a number of each group.
 */
export function productOfCodes(
  x: usize,
  codes: usize,
  scales: usize,
  biases: usize,
  y: usize,
  rows: u32,
  depth: u32,
  stride: u32,
  first: u32,
  last: u32,
  groupSize: u32,
  scaleType: u32,
  zeroPoint: f32,
  bits: u32,
  factors: usize,
): void {
  const groups = depth / groupSize;
  const ofRows: usize = (<usize>(rows * groups)) << 2;
  const numbersAt = x + 2 * ofRows;
  const groupBytes: usize = <usize>groupSize * bits / 8;
  const rowBytes: usize = groupBytes * groups;
  const nibbles = i8x16.splat(15);
  for (let n = first; n < last; n++) {
    for (let r: u32 = 0; r < rows; r++) {
      const steps = x + ((<usize>(r * groups)) << 2);
      const start = n * groups;
      const rest = groupFactors(
        scaleType,
        scales,
        biases,
        steps,
        steps + ofRows,
        factors,
        start,
        groups,
        zeroPoint,
      );
      let code = codes + <usize>n * rowBytes;
      let number = numbersAt + ((<usize>(r * depth)) << 1);
      let total = f32x4.splat(0);
      let factor = factors;
      const end = code + rowBytes;
      if (bits == 8) {
        while (code < end) {
          let sum = dot8(v128.load(code), number);
          for (let at: usize = 16; at < groupBytes; at += 16)
            sum = i32x4.add(sum, dot8(v128.load(code + at), number + 2 * at));
          code += groupBytes;
          number += 2 * groupBytes;
          total = f32x4.add(
            total,
            f32x4.mul(f32x4.convert_i32x4_s(sum), v128.load32_splat(factor)),
          );
          factor += 4;
        }
      } else {
        while (code < end) {
          let sum = i32x4.splat(0);
          for (let at: usize = 0; at < groupBytes; at += 16) {
            const bytes = v128.load(code + at);
            const from = number + 4 * at;
            const low = dot8(v128.and(bytes, nibbles), from);
            const high = dot8(v128.and(i16x8.shr_u(bytes, 4), nibbles), from + 32);
            sum = i32x4.add(sum, i32x4.add(low, high));
          }
          code += groupBytes;
          number += 4 * groupBytes;
          total = f32x4.add(
            total,
            f32x4.mul(f32x4.convert_i32x4_s(sum), v128.load32_splat(factor)),
          );
          factor += 4;
        }
      }
      store<f32>(y + ((<usize>(r * stride + n)) << 2), laneSum(total) + rest);
    }
  }
}

/** As `takeRows` from a table that stands as 16-bit floats (`bits` 16) or codes, each step rounded to fp32. */
export function takeStoredRows(
  indices: usize,
  codes: usize,
  scales: usize,
  biases: usize,
  y: usize,
  rows: u32,
  width: u32,
  count: i32,
  bits: u32,
  groupSize: u32,
  type: u32,
  zeroPoint: f32,
): bool {
  for (let r: u32 = 0; r < rows; r++) {
    let index = load<i32>(indices + ((<usize>r) << 2));
    if (index < 0) index += count;
    if (index < 0 || index >= count) return false;
    const target = y + ((<usize>(r * width)) << 2);
    for (let i: u32 = 0; i < width; i++) {
      const place = <u32>index * width + i;
      let value: f32;
      if (bits == 16) value = numberAt(type, codes, place);
      else {
        let code: u32 = load<u8>(codes + <usize>(bits == 8 ? place : place >> 1));
        if (bits == 4) code = place & 1 ? code >> 4 : code & 15;
        value = (<f32>code - zeroPoint) * numberAt(type, scales, place / groupSize);
        if (biases != 0) value += numberAt(type, biases, place / groupSize);
      }
      store<f32>(target + ((<usize>i) << 2), value);
    }
  }
  return true;
}
