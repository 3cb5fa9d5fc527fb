// Matrix products on the engine's fixed-point grid. Addresses are in bytes; nothing is kept between calls,
// so any thread may run any rows.
//
// A product of two fp16 numbers becomes q = rint(a * b * 2^16), ties to even; |q| <= 1 becomes 0; the q of
// one result are summed exactly. `left` is [rows][depth] fp32; `right` is packed in panels of 8 columns,
// [panels][depth][8] fp32, already times 2^16. Both hold fp16 numbers, so each product is exact in fp32.

/** 1.5 * 2^23: adding it to |p| < 2^22 leaves rint(p) in the low bits, ties to even. */
const MAGIC: f32 = 12582912.0;
const MAGIC_BITS: i32 = 0x4b400000;
/**
 * rint(p) is -1, 0 or 1 exactly where |p| < 1.5: 1.5 itself rounds to 2. Tested on p * p, which costs less than
 * |p| here; p has 22 bits, so that rounding the square cannot carry it over 2.25.
 */
const KEPT_SQUARE: f32 = 2.25;
/** Beyond this magnitude the engine answers infinity: 32758.8 * 2^16. */
const CEILING: u64 = 2146880716;

@inline
function term(a: v128, b: v128, kept: v128, magic: v128): v128 {
  const p = f32x4.mul(a, b);
  return f32x4.add(v128.and(p, f32x4.ge(f32x4.mul(p, p), kept)), magic);
}

/**
 * Products small enough for 32-bit sums: every |a * b| < 64 and the sum of any prefix below 2^15 in
 * magnitude. `result` is fp16 numbers as fp32, row stride `resultStride` bytes.
 */
export function narrow(
  left: usize,
  right: usize,
  result: usize,
  rows: u32,
  depth: u32,
  columns: u32,
  resultStride: u32,
  truncate: bool,
): void {
  const kept = f32x4.splat(KEPT_SQUARE);
  const magic = f32x4.splat(MAGIC);
  const leftStride: usize = (<usize>depth) << 2;
  const panelBytes: usize = (<usize>depth) << 5;
  const bias: i32 = <i32>depth * MAGIC_BITS;
  let row: u32 = 0;
  while (row + 4 <= rows) {
    const a0 = left + <usize>row * leftStride;
    const a1 = a0 + leftStride;
    const a2 = a1 + leftStride;
    const a3 = a2 + leftStride;
    for (let column: u32 = 0; column < columns; column += 8) {
      let s00 = i32x4.splat(0);
      let s01 = i32x4.splat(0);
      let s10 = i32x4.splat(0);
      let s11 = i32x4.splat(0);
      let s20 = i32x4.splat(0);
      let s21 = i32x4.splat(0);
      let s30 = i32x4.splat(0);
      let s31 = i32x4.splat(0);
      let b = right + <usize>(column >> 3) * panelBytes;
      for (let k: usize = 0; k < leftStride; k += 4) {
        const b0 = v128.load(b);
        const b1 = v128.load(b, 16);
        b += 32;
        let a = v128.load32_splat(a0 + k);
        s00 = i32x4.add(s00, term(a, b0, kept, magic));
        s01 = i32x4.add(s01, term(a, b1, kept, magic));
        a = v128.load32_splat(a1 + k);
        s10 = i32x4.add(s10, term(a, b0, kept, magic));
        s11 = i32x4.add(s11, term(a, b1, kept, magic));
        a = v128.load32_splat(a2 + k);
        s20 = i32x4.add(s20, term(a, b0, kept, magic));
        s21 = i32x4.add(s21, term(a, b1, kept, magic));
        a = v128.load32_splat(a3 + k);
        s30 = i32x4.add(s30, term(a, b0, kept, magic));
        s31 = i32x4.add(s31, term(a, b1, kept, magic));
      }
      const out = result + <usize>row * resultStride + ((<usize>column) << 2);
      const count = min<u32>(8, columns - column);
      flush(s00, s01, bias, out, count, truncate);
      flush(s10, s11, bias, out + resultStride, count, truncate);
      flush(s20, s21, bias, out + 2 * resultStride, count, truncate);
      flush(s30, s31, bias, out + 3 * resultStride, count, truncate);
    }
    row += 4;
  }
  while (row < rows) {
    const a0 = left + <usize>row * leftStride;
    for (let column: u32 = 0; column < columns; column += 8) {
      let s0 = i32x4.splat(0);
      let s1 = i32x4.splat(0);
      let b = right + <usize>(column >> 3) * panelBytes;
      for (let k: usize = 0; k < leftStride; k += 4) {
        const a = v128.load32_splat(a0 + k);
        s0 = i32x4.add(s0, term(a, v128.load(b), kept, magic));
        s1 = i32x4.add(s1, term(a, v128.load(b, 16), kept, magic));
        b += 32;
      }
      const out = result + <usize>row * resultStride + ((<usize>column) << 2);
      flush(s0, s1, bias, out, min<u32>(8, columns - column), truncate);
    }
    row++;
  }
}

@inline
function flush(s0: v128, s1: v128, bias: i32, out: usize, count: u32, truncate: bool): void {
  const biases = i32x4.splat(bias);
  store8(i32x4.sub(s0, biases), i32x4.sub(s1, biases), out, count, truncate);
}

function store8(s0: v128, s1: v128, out: usize, count: u32, truncate: bool): void {
  put(<i64>i32x4.extract_lane(s0, 0), out, truncate);
  if (count > 1) put(<i64>i32x4.extract_lane(s0, 1), out + 4, truncate);
  if (count > 2) put(<i64>i32x4.extract_lane(s0, 2), out + 8, truncate);
  if (count > 3) put(<i64>i32x4.extract_lane(s0, 3), out + 12, truncate);
  if (count > 4) put(<i64>i32x4.extract_lane(s1, 0), out + 16, truncate);
  if (count > 5) put(<i64>i32x4.extract_lane(s1, 1), out + 20, truncate);
  if (count > 6) put(<i64>i32x4.extract_lane(s1, 2), out + 24, truncate);
  if (count > 7) put(<i64>i32x4.extract_lane(s1, 3), out + 28, truncate);
}

/** The same where the sum of magnitudes stays below 2^53 grid units: products and sums in doubles, exactly. */
export function medium(
  left: usize,
  right: usize,
  result: usize,
  rows: u32,
  depth: u32,
  columns: u32,
  resultStride: u32,
  truncate: bool,
): void {
  const kept = f64x2.splat(2.25);
  const leftStride: usize = (<usize>depth) << 2;
  const panelBytes: usize = (<usize>depth) << 5;
  for (let row: u32 = 0; row < rows; row++) {
    const a0 = left + <usize>row * leftStride;
    for (let column: u32 = 0; column < columns; column += 8) {
      let s0 = f64x2.splat(0);
      let s1 = f64x2.splat(0);
      let s2 = f64x2.splat(0);
      let s3 = f64x2.splat(0);
      let b = right + <usize>(column >> 3) * panelBytes;
      for (let k: usize = 0; k < leftStride; k += 4) {
        const a = f64x2.splat(<f64>load<f32>(a0 + k));
        s0 = f64x2.add(s0, wideTerm(a, b, kept));
        s1 = f64x2.add(s1, wideTerm(a, b + 8, kept));
        s2 = f64x2.add(s2, wideTerm(a, b + 16, kept));
        s3 = f64x2.add(s3, wideTerm(a, b + 24, kept));
        b += 32;
      }
      const out = result + <usize>row * resultStride + ((<usize>column) << 2);
      const count = min<u32>(8, columns - column);
      put2(s0, out, count, truncate);
      if (count > 2) put2(s1, out + 8, count - 2, truncate);
      if (count > 4) put2(s2, out + 16, count - 4, truncate);
      if (count > 6) put2(s3, out + 24, count - 6, truncate);
    }
  }
}

@inline
function wideTerm(a: v128, b: usize, kept: v128): v128 {
  const p = f64x2.mul(a, f64x2.promote_low_f32x4(v128.load64_zero(b)));
  return f64x2.nearest(v128.and(p, f64x2.ge(f64x2.mul(p, p), kept)));
}

function put2(sums: v128, out: usize, count: u32, truncate: bool): void {
  put(<i64>f64x2.extract_lane(sums, 0), out, truncate);
  if (count > 1) put(<i64>f64x2.extract_lane(sums, 1), out + 4, truncate);
}

/** The same for any finite operands: products in doubles, sums in 64 bits. */
export function wide(
  left: usize,
  right: usize,
  result: usize,
  rows: u32,
  depth: u32,
  columns: u32,
  resultStride: u32,
  truncate: bool,
): void {
  const leftStride: usize = (<usize>depth) << 2;
  const panelBytes: usize = (<usize>depth) << 5;
  for (let row: u32 = 0; row < rows; row++) {
    const a = left + <usize>row * leftStride;
    for (let column: u32 = 0; column < columns; column++) {
      let sum: i64 = 0;
      let b = right + <usize>(column >> 3) * panelBytes + ((<usize>column & 7) << 2);
      for (let k: usize = 0; k < leftStride; k += 4) {
        const q = <i64>nearest<f64>(<f64>load<f32>(a + k) * <f64>load<f32>(b));
        if (q > 1 || q < -1) sum += q;
        b += 32;
      }
      put(sum, result + <usize>row * resultStride + ((<usize>column) << 2), truncate);
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

/** Ordinary fp32 products, rounded to fp16 once: the approximate mode. `right` is not scaled here. */
export function plain(
  left: usize,
  right: usize,
  result: usize,
  rows: u32,
  depth: u32,
  columns: u32,
  resultStride: u32,
): void {
  const leftStride: usize = (<usize>depth) << 2;
  const panelBytes: usize = (<usize>depth) << 5;
  for (let row: u32 = 0; row < rows; row += 4) {
    const last: u32 = rows - 1;
    const a0 = left + <usize>row * leftStride;
    const a1 = left + <usize>min<u32>(row + 1, last) * leftStride;
    const a2 = left + <usize>min<u32>(row + 2, last) * leftStride;
    const a3 = left + <usize>min<u32>(row + 3, last) * leftStride;
    for (let column: u32 = 0; column < columns; column += 8) {
      let s00 = f32x4.splat(0);
      let s01 = f32x4.splat(0);
      let s10 = f32x4.splat(0);
      let s11 = f32x4.splat(0);
      let s20 = f32x4.splat(0);
      let s21 = f32x4.splat(0);
      let s30 = f32x4.splat(0);
      let s31 = f32x4.splat(0);
      let b = right + <usize>(column >> 3) * panelBytes;
      for (let k: usize = 0; k < leftStride; k += 4) {
        const b0 = v128.load(b);
        const b1 = v128.load(b, 16);
        b += 32;
        let a = v128.load32_splat(a0 + k);
        s00 = f32x4.add(s00, f32x4.mul(a, b0));
        s01 = f32x4.add(s01, f32x4.mul(a, b1));
        a = v128.load32_splat(a1 + k);
        s10 = f32x4.add(s10, f32x4.mul(a, b0));
        s11 = f32x4.add(s11, f32x4.mul(a, b1));
        a = v128.load32_splat(a2 + k);
        s20 = f32x4.add(s20, f32x4.mul(a, b0));
        s21 = f32x4.add(s21, f32x4.mul(a, b1));
        a = v128.load32_splat(a3 + k);
        s30 = f32x4.add(s30, f32x4.mul(a, b0));
        s31 = f32x4.add(s31, f32x4.mul(a, b1));
      }
      const out = result + <usize>row * resultStride + ((<usize>column) << 2);
      const count = min<u32>(8, columns - column);
      half8(s00, s01, out, count);
      if (row + 1 < rows) half8(s10, s11, out + resultStride, count);
      if (row + 2 < rows) half8(s20, s21, out + 2 * resultStride, count);
      if (row + 3 < rows) half8(s30, s31, out + 3 * resultStride, count);
    }
  }
}

function half8(s0: v128, s1: v128, out: usize, count: u32): void {
  half(f32x4.extract_lane(s0, 0), out);
  if (count > 1) half(f32x4.extract_lane(s0, 1), out + 4);
  if (count > 2) half(f32x4.extract_lane(s0, 2), out + 8);
  if (count > 3) half(f32x4.extract_lane(s0, 3), out + 12);
  if (count > 4) half(f32x4.extract_lane(s1, 0), out + 16);
  if (count > 5) half(f32x4.extract_lane(s1, 1), out + 20);
  if (count > 6) half(f32x4.extract_lane(s1, 2), out + 24);
  if (count > 7) half(f32x4.extract_lane(s1, 3), out + 28);
}

function half(value: f32, out: usize): void {
  const bits = reinterpret<u32>(value);
  const magnitude = bits & 0x7fffffff;
  if (magnitude >= 0x477ff000) {
    store<f32>(out, magnitude > 0x7f800000 ? NaN : value < 0 ? -Infinity : Infinity);
  } else if (magnitude < 0x38800000) {
    // Adding 0.75 rounds to units of 2^-24.
    const rounded = reinterpret<f32>(magnitude) + 0.75 - 0.75;
    store<f32>(out, value < 0 ? -rounded : rounded);
  } else {
    const rounded = (bits + 0xfff + ((bits >> 13) & 1)) & 0xffffe000;
    store<f32>(out, reinterpret<f32>(rounded));
  }
}
