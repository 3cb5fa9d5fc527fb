// What stands between products: looked up rows, norms, functions of single numbers, rotations, copies.
import {
  errorFunctions,
  hyperbolicTangents,
  laneSum,
  sigmoids,
} from "./vectors";

/** Rows `indices` of a table [count, width]; -1 is the last one. False for an index outside. */
export function takeRows(
  indices: usize,
  table: usize,
  y: usize,
  rows: u32,
  width: u32,
  count: i32,
): bool {
  const rowBytes: usize = (<usize>width) << 2;
  for (let r: u32 = 0; r < rows; r++) {
    let index = load<i32>(indices + ((<usize>r) << 2));
    if (index < 0) index += count;
    if (index < 0 || index >= count) return false;
    memory.copy(y + <usize>r * rowBytes, table + <usize>index * rowBytes, rowBytes);
  }
  return true;
}

/** x / sqrt(mean(x^2) + epsilon), times `weight` [width] where that is not 0, of every row. */
export function rootMeanSquareNorm(
  x: usize,
  weight: usize,
  y: usize,
  rows: u32,
  width: u32,
  epsilon: f32,
): void {
  const rowBytes: usize = (<usize>width) << 2;
  const whole: usize = rowBytes & ~(<usize>15);
  for (let r: u32 = 0; r < rows; r++) {
    const row = x + <usize>r * rowBytes;
    const target = y + <usize>r * rowBytes;
    let squares = f32x4.splat(0);
    for (let at: usize = 0; at < whole; at += 16) {
      const a = v128.load(row + at);
      squares = f32x4.add(squares, f32x4.mul(a, a));
    }
    let sum = laneSum(squares);
    for (let at = whole; at < rowBytes; at += 4) sum += load<f32>(row + at) * load<f32>(row + at);
    const scale: f32 = 1 / sqrt<f32>(sum / <f32>width + epsilon);
    const scales = f32x4.splat(scale);
    let at: usize = 0;
    for (; at < whole; at += 16) {
      let a = f32x4.mul(v128.load(row + at), scales);
      if (weight != 0) a = f32x4.mul(a, v128.load(weight + at));
      v128.store(target + at, a);
    }
    for (; at < rowBytes; at += 4) {
      let a = load<f32>(row + at) * scale;
      if (weight != 0) a *= load<f32>(weight + at);
      store<f32>(target + at, a);
    }
  }
}

/** Mean 0 and variance 1 of every row. */
export function layerNorm(x: usize, y: usize, rows: u32, width: u32, epsilon: f32): void {
  const rowBytes: usize = (<usize>width) << 2;
  const whole: usize = rowBytes & ~(<usize>15);
  for (let r: u32 = 0; r < rows; r++) {
    const row = x + <usize>r * rowBytes;
    const target = y + <usize>r * rowBytes;
    let sums = f32x4.splat(0);
    for (let at: usize = 0; at < whole; at += 16) sums = f32x4.add(sums, v128.load(row + at));
    let sum = laneSum(sums);
    for (let at = whole; at < rowBytes; at += 4) sum += load<f32>(row + at);
    const mean: f32 = sum / <f32>width;
    const means = f32x4.splat(mean);
    let squares = f32x4.splat(0);
    for (let at: usize = 0; at < whole; at += 16) {
      const a = f32x4.sub(v128.load(row + at), means);
      squares = f32x4.add(squares, f32x4.mul(a, a));
    }
    let variance = laneSum(squares);
    for (let at = whole; at < rowBytes; at += 4) {
      const a = load<f32>(row + at) - mean;
      variance += a * a;
    }
    const scale: f32 = 1 / sqrt<f32>(variance / <f32>width + epsilon);
    const scales = f32x4.splat(scale);
    let at: usize = 0;
    for (; at < whole; at += 16)
      v128.store(target + at, f32x4.mul(f32x4.sub(v128.load(row + at), means), scales));
    for (; at < rowBytes; at += 4)
      store<f32>(target + at, (load<f32>(row + at) - mean) * scale);
  }
}

export const UNARY_SILU: u32 = 0;
export const UNARY_RELU: u32 = 1;
export const UNARY_GELU: u32 = 2;
export const UNARY_GELU_TANH: u32 = 3;
export const UNARY_TANH: u32 = 4;
export const UNARY_SIGMOID: u32 = 5;

// @ts-ignore: decorator
@inline
function unary(kind: u32, x: v128): v128 {
  switch (kind) {
    case UNARY_SILU:
      return f32x4.mul(x, sigmoids(x));
    case UNARY_RELU:
      return f32x4.max(x, f32x4.splat(0));
    case UNARY_GELU: {
      const curve = errorFunctions(f32x4.mul(x, f32x4.splat(0.70710678)));
      return f32x4.mul(f32x4.mul(x, f32x4.splat(0.5)), f32x4.add(f32x4.splat(1), curve));
    }
    case UNARY_GELU_TANH: {
      const cube = f32x4.mul(f32x4.mul(x, x), f32x4.mul(x, f32x4.splat(0.044715)));
      const curve = hyperbolicTangents(f32x4.mul(f32x4.add(x, cube), f32x4.splat(0.7978845608)));
      return f32x4.mul(f32x4.mul(x, f32x4.splat(0.5)), f32x4.add(f32x4.splat(1), curve));
    }
    case UNARY_TANH:
      return hyperbolicTangents(x);
    default:
      return sigmoids(x);
  }
}

/** A function of each of `count` numbers. */
export function applyUnary(kind: u32, x: usize, y: usize, count: u32): void {
  const bytes: usize = (<usize>count) << 2;
  const whole: usize = bytes & ~(<usize>15);
  let at: usize = 0;
  for (; at < whole; at += 16) v128.store(y + at, unary(kind, v128.load(x + at)));
  for (; at < bytes; at += 4) {
    const value = unary(kind, f32x4.splat(load<f32>(x + at)));
    store<f32>(y + at, f32x4.extract_lane(value, 0));
  }
}

export const BINARY_ADD: u32 = 0;
export const BINARY_MUL: u32 = 1;

// @ts-ignore: decorator
@inline
function binary(kind: u32, x: v128, y: v128): v128 {
  switch (kind) {
    case BINARY_ADD:
      return f32x4.add(x, y);
    case BINARY_MUL:
      return f32x4.mul(x, y);
    default:
      return f32x4.sub(x, y);
  }
}

/** Rows x [rows, width] with y: its rows, or where `step` is 0 one row for all. */
export function applyBinary(
  kind: u32,
  x: usize,
  y: usize,
  out: usize,
  rows: u32,
  width: u32,
  step: u32,
): void {
  const rowBytes: usize = (<usize>width) << 2;
  const whole: usize = rowBytes & ~(<usize>15);
  for (let r: u32 = 0; r < rows; r++) {
    const a = x + <usize>r * rowBytes;
    const b = y + <usize>(r * step) * 4;
    const target = out + <usize>r * rowBytes;
    let at: usize = 0;
    for (; at < whole; at += 16)
      v128.store(target + at, binary(kind, v128.load(a + at), v128.load(b + at)));
    for (; at < rowBytes; at += 4) {
      const value = binary(
        kind,
        f32x4.splat(load<f32>(a + at)),
        f32x4.splat(load<f32>(b + at)),
      );
      store<f32>(target + at, f32x4.extract_lane(value, 0));
    }
  }
}

/** Each of `count` numbers with the same one. */
export function applyScalar(kind: u32, x: usize, scalar: f32, out: usize, count: u32): void {
  const bytes: usize = (<usize>count) << 2;
  const whole: usize = bytes & ~(<usize>15);
  const other = f32x4.splat(scalar);
  let at: usize = 0;
  for (; at < whole; at += 16) v128.store(out + at, binary(kind, v128.load(x + at), other));
  for (; at < bytes; at += 4) {
    const value = binary(kind, f32x4.splat(load<f32>(x + at)), other);
    store<f32>(out + at, f32x4.extract_lane(value, 0));
  }
}

/**
 * Rotary positions: x * cosines + (second half, first half) * signedSines. x [a, b, c, width] has strides (in numbers)
 * of its own and dense rows; the result is dense. Tables [.., width]: the row of (i, j, k) is i * tableStep + k.
 */
export function rotate(
  x: usize,
  cosines: usize,
  signedSines: usize,
  out: usize,
  a: u32,
  b: u32,
  c: u32,
  width: u32,
  strideA: u32,
  strideB: u32,
  strideC: u32,
  tableStep: u32,
): void {
  const rowBytes: usize = (<usize>width) << 2;
  const half: usize = rowBytes >> 1;
  const isWhole = (half & 15) == 0;
  let target = out;
  for (let i: u32 = 0; i < a; i++) {
    for (let j: u32 = 0; j < b; j++) {
      for (let k: u32 = 0; k < c; k++) {
        const row = x + ((<usize>(i * strideA + j * strideB + k * strideC)) << 2);
        const table: usize = <usize>(i * tableStep + k) * rowBytes;
        const cosine = cosines + table;
        const sine = signedSines + table;
        if (isWhole) {
          for (let at: usize = 0; at < half; at += 16) {
            const first = v128.load(row + at);
            const second = v128.load(row + at + half);
            v128.store(
              target + at,
              f32x4.add(
                f32x4.mul(first, v128.load(cosine + at)),
                f32x4.mul(second, v128.load(sine + at)),
              ),
            );
            v128.store(
              target + at + half,
              f32x4.add(
                f32x4.mul(second, v128.load(cosine + at + half)),
                f32x4.mul(first, v128.load(sine + at + half)),
              ),
            );
          }
        } else {
          for (let at: usize = 0; at < half; at += 4) {
            const first = load<f32>(row + at);
            const second = load<f32>(row + at + half);
            store<f32>(
              target + at,
              first * load<f32>(cosine + at) + second * load<f32>(sine + at),
            );
            store<f32>(
              target + at + half,
              second * load<f32>(cosine + at + half) + first * load<f32>(sine + at + half),
            );
          }
        }
        target += rowBytes;
      }
    }
  }
}

/** A dense copy of x [a, b, c, width] with strides (in numbers) of its own and dense rows. */
export function copyRows(
  x: usize,
  out: usize,
  a: u32,
  b: u32,
  c: u32,
  width: u32,
  strideA: u32,
  strideB: u32,
  strideC: u32,
): void {
  const rowBytes: usize = (<usize>width) << 2;
  let target = out;
  for (let i: u32 = 0; i < a; i++)
    for (let j: u32 = 0; j < b; j++)
      for (let k: u32 = 0; k < c; k++) {
        const row = x + ((<usize>(i * strideA + j * strideB + k * strideC)) << 2);
        memory.copy(target, row, rowBytes);
        target += rowBytes;
      }
}
