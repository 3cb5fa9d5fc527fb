// Matrix products on the engine's fixed-point grid. Addresses are in bytes; nothing is kept between calls,
// so any thread may run any rows.
//
// A product of two fp16 numbers becomes q = rint(a * b * 2^16), ties to even; |q| <= 1 becomes 0; the q of
// one result are summed exactly. `left` is [rows][depth] fp32; `right` is packed in panels of 8 columns,
// [panels][depth][8] fp32, already times 2^16. Both hold fp16 numbers, so each product is exact in fp32.

/** 1.5 * 2^23: adding it to |p| < 2^22 leaves rint(p) in the low bits, ties to even. */
const MAGIC: f32 = 12582912.0;
const MAGIC_BITS: i32 = 0x4b400000;
/** rint(p) is -1, 0 or 1 exactly below this: 1.5 itself rounds to 2. */
const KEPT: f32 = 1.5;
/** Beyond this magnitude the engine answers infinity: 32758.8 * 2^16. */
const CEILING: u64 = 2146880716;

@inline
function term(a: v128, b: v128, kept: v128, magic: v128): v128 {
  const p = f32x4.mul(a, b);
  return f32x4.add(v128.and(p, f32x4.ge(f32x4.abs(p), kept)), magic);
}

/**
 * Products small enough for 32-bit sums: every |a * b| < 64 and the sum of any prefix below 2^15 in
 * magnitude. `result` is fp16 bits, row stride `resultStride` bytes.
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
  const kept = f32x4.splat(KEPT);
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
      const out = result + <usize>row * resultStride + ((<usize>column) << 1);
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
      const out = result + <usize>row * resultStride + ((<usize>column) << 1);
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
  if (count > 1) put(<i64>i32x4.extract_lane(s0, 1), out + 2, truncate);
  if (count > 2) put(<i64>i32x4.extract_lane(s0, 2), out + 4, truncate);
  if (count > 3) put(<i64>i32x4.extract_lane(s0, 3), out + 6, truncate);
  if (count > 4) put(<i64>i32x4.extract_lane(s1, 0), out + 8, truncate);
  if (count > 5) put(<i64>i32x4.extract_lane(s1, 1), out + 10, truncate);
  if (count > 6) put(<i64>i32x4.extract_lane(s1, 2), out + 12, truncate);
  if (count > 7) put(<i64>i32x4.extract_lane(s1, 3), out + 14, truncate);
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
      put(sum, result + <usize>row * resultStride + ((<usize>column) << 1), truncate);
    }
  }
}

/** A sum in units of 2^-16 as fp16 bits. */
function put(sum: i64, out: usize, truncate: bool): void {
  const sign: u32 = sum < 0 ? 0x8000 : 0;
  const magnitude: u64 = <u64>(sum < 0 ? -sum : sum);
  if (magnitude > CEILING) {
    store<u16>(out, <u16>(sign | 0x7c00));
    return;
  }
  if (magnitude < 4) {
    // Below 2^-14 fp16 counts in 2^-24.
    store<u16>(out, <u16>(sign | (<u32>magnitude << 8)));
    return;
  }
  const top: i32 = 63 - <i32>clz<u64>(magnitude);
  const shift: i32 = top - 10;
  let mantissa: u32;
  if (shift <= 0) {
    mantissa = <u32>magnitude << -shift;
  } else {
    mantissa = <u32>(magnitude >> shift);
    if (!truncate) {
      const rest = magnitude & ((<u64>1 << shift) - 1);
      const half = <u64>1 << (shift - 1);
      if (rest > half || (rest == half && (mantissa & 1) == 1)) mantissa++;
    }
  }
  store<u16>(out, <u16>(sign | (((<u32>(top - 1)) << 10) + mantissa - 1024)));
}

/** fp16 bits to fp32, times `scale`. */
export function expand(source: usize, target: usize, count: u32, scale: f32): void {
  for (let i: u32 = 0; i < count; i++) {
    const bits: u32 = load<u16>(source + ((<usize>i) << 1));
    const sign = (bits & 0x8000) << 16;
    const exponent = (bits >> 10) & 31;
    const mantissa = bits & 1023;
    let value: f32;
    if (exponent == 0) {
      value = <f32>mantissa * 5.9604644775390625e-8;
      if (sign != 0) value = -value;
    } else if (exponent == 31) {
      value = reinterpret<f32>(sign | 0x7f800000 | (mantissa << 13));
    } else {
      value = reinterpret<f32>(sign | ((exponent + 112) << 23) | (mantissa << 13));
    }
    store<f32>(target + ((<usize>i) << 2), value * scale);
  }
}
