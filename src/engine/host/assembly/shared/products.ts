// Rows times a matrix. A sum is always added in the same order, whatever rows and columns stand beside it, so that a
// row's results do not depend on how many rows there are or which thread has which columns.
import { laneSum } from "./vectors";

/** Bytes of two vectors. */
const STEP: usize = 32;
/** Bytes of two cache lines: fewer instructions a line let the processor ask for more of them ahead. */
const LONG_STEP: usize = 128;

/**
 * y[r, n] = sum of x[r, k] w[n, k] over k, for columns n of [first, last). x [rows, depth] and w [columns, depth] are
 * dense; `stride`: numbers of a row of y. Vectors of four products are added up in two sums by turns, then both and their
 * lanes, then the products that fill no vector.
 *
 * One row reads a matrix from its begin to its end: read at four places at once, memory gives half as much.
 */
export function productByRows(
  x: usize,
  w: usize,
  y: usize,
  rows: u32,
  depth: u32,
  stride: u32,
  first: u32,
  last: u32,
): void {
  const rowBytes: usize = (<usize>depth) << 2;
  const yBytes: usize = (<usize>stride) << 2;
  const inFours = rows & ~3;
  let n = first;
  if (inFours > 0) {
    for (; n + 2 <= last; n += 2) {
      const weights = w + <usize>n * rowBytes;
      const target = y + ((<usize>n) << 2);
      for (let r: u32 = 0; r < inFours; r += 4)
        fourRows(x + <usize>r * rowBytes, weights, target + <usize>r * yBytes, rowBytes, yBytes);
      for (let r = inFours; r < rows; r++) {
        const row = x + <usize>r * rowBytes;
        oneRow(row, weights, target + <usize>r * yBytes, rowBytes);
        oneRow(row, weights + rowBytes, target + <usize>r * yBytes + 4, rowBytes);
      }
    }
  }
  for (; n < last; n++) {
    const weights = w + <usize>n * rowBytes;
    const target = y + ((<usize>n) << 2);
    for (let r: u32 = 0; r < rows; r++)
      oneRow(x + <usize>r * rowBytes, weights, target + <usize>r * yBytes, rowBytes);
  }
}

// @ts-ignore: decorator
@inline
function withRest(sum: f32, row: usize, weights: usize, from: usize, to: usize): f32 {
  for (let at = from; at < to; at += 4) sum += load<f32>(row + at) * load<f32>(weights + at);
  return sum;
}

// @ts-ignore: decorator
@inline
function oneRow(row: usize, weights: usize, target: usize, rowBytes: usize): void {
  const steps: usize = rowBytes & ~(STEP - 1);
  const whole: usize = rowBytes & ~(<usize>15);
  const longSteps: usize = rowBytes & ~(LONG_STEP - 1);
  let even = f32x4.splat(0);
  let odd = f32x4.splat(0);
  let at: usize = 0;
  for (; at < longSteps; at += LONG_STEP) {
    const x = row + at;
    const w = weights + at;
    even = f32x4.add(even, f32x4.mul(v128.load(x), v128.load(w)));
    odd = f32x4.add(odd, f32x4.mul(v128.load(x, 16), v128.load(w, 16)));
    even = f32x4.add(even, f32x4.mul(v128.load(x, 32), v128.load(w, 32)));
    odd = f32x4.add(odd, f32x4.mul(v128.load(x, 48), v128.load(w, 48)));
    even = f32x4.add(even, f32x4.mul(v128.load(x, 64), v128.load(w, 64)));
    odd = f32x4.add(odd, f32x4.mul(v128.load(x, 80), v128.load(w, 80)));
    even = f32x4.add(even, f32x4.mul(v128.load(x, 96), v128.load(w, 96)));
    odd = f32x4.add(odd, f32x4.mul(v128.load(x, 112), v128.load(w, 112)));
  }
  for (; at < steps; at += STEP) {
    even = f32x4.add(even, f32x4.mul(v128.load(row + at), v128.load(weights + at)));
    odd = f32x4.add(odd, f32x4.mul(v128.load(row + at, 16), v128.load(weights + at, 16)));
  }
  if (steps < whole)
    even = f32x4.add(even, f32x4.mul(v128.load(row + steps), v128.load(weights + steps)));
  store<f32>(target, withRest(laneSum(f32x4.add(even, odd)), row, weights, whole, rowBytes));
}

/**
 * Two columns of four rows: eight sums are what registers hold, so even and odd vectors are added up one after the other.
 */
function fourRows(x: usize, first: usize, y: usize, rowBytes: usize, yBytes: usize): void {
  const steps: usize = rowBytes & ~(STEP - 1);
  const whole: usize = rowBytes & ~(<usize>15);
  const second = first + rowBytes;
  const x1 = x + rowBytes;
  const x2 = x1 + rowBytes;
  const x3 = x2 + rowBytes;
  let a0 = f32x4.splat(0);
  let a1 = f32x4.splat(0);
  let b0 = f32x4.splat(0);
  let b1 = f32x4.splat(0);
  let c0 = f32x4.splat(0);
  let c1 = f32x4.splat(0);
  let d0 = f32x4.splat(0);
  let d1 = f32x4.splat(0);
  for (let at: usize = 0; at < steps; at += STEP) {
    const v = v128.load(first + at);
    const u = v128.load(second + at);
    let row = v128.load(x + at);
    a0 = f32x4.add(a0, f32x4.mul(row, v));
    a1 = f32x4.add(a1, f32x4.mul(row, u));
    row = v128.load(x1 + at);
    b0 = f32x4.add(b0, f32x4.mul(row, v));
    b1 = f32x4.add(b1, f32x4.mul(row, u));
    row = v128.load(x2 + at);
    c0 = f32x4.add(c0, f32x4.mul(row, v));
    c1 = f32x4.add(c1, f32x4.mul(row, u));
    row = v128.load(x3 + at);
    d0 = f32x4.add(d0, f32x4.mul(row, v));
    d1 = f32x4.add(d1, f32x4.mul(row, u));
  }
  if (steps < whole) {
    const v = v128.load(first + steps);
    const u = v128.load(second + steps);
    let row = v128.load(x + steps);
    a0 = f32x4.add(a0, f32x4.mul(row, v));
    a1 = f32x4.add(a1, f32x4.mul(row, u));
    row = v128.load(x1 + steps);
    b0 = f32x4.add(b0, f32x4.mul(row, v));
    b1 = f32x4.add(b1, f32x4.mul(row, u));
    row = v128.load(x2 + steps);
    c0 = f32x4.add(c0, f32x4.mul(row, v));
    c1 = f32x4.add(c1, f32x4.mul(row, u));
    row = v128.load(x3 + steps);
    d0 = f32x4.add(d0, f32x4.mul(row, v));
    d1 = f32x4.add(d1, f32x4.mul(row, u));
  }
  let ao0 = f32x4.splat(0);
  let ao1 = f32x4.splat(0);
  let bo0 = f32x4.splat(0);
  let bo1 = f32x4.splat(0);
  let co0 = f32x4.splat(0);
  let co1 = f32x4.splat(0);
  let do0 = f32x4.splat(0);
  let do1 = f32x4.splat(0);
  for (let at: usize = 16; at < steps; at += STEP) {
    const v = v128.load(first + at);
    const u = v128.load(second + at);
    let row = v128.load(x + at);
    ao0 = f32x4.add(ao0, f32x4.mul(row, v));
    ao1 = f32x4.add(ao1, f32x4.mul(row, u));
    row = v128.load(x1 + at);
    bo0 = f32x4.add(bo0, f32x4.mul(row, v));
    bo1 = f32x4.add(bo1, f32x4.mul(row, u));
    row = v128.load(x2 + at);
    co0 = f32x4.add(co0, f32x4.mul(row, v));
    co1 = f32x4.add(co1, f32x4.mul(row, u));
    row = v128.load(x3 + at);
    do0 = f32x4.add(do0, f32x4.mul(row, v));
    do1 = f32x4.add(do1, f32x4.mul(row, u));
  }
  store<f32>(y, withRest(laneSum(f32x4.add(a0, ao0)), x, first, whole, rowBytes));
  store<f32>(y, withRest(laneSum(f32x4.add(a1, ao1)), x, second, whole, rowBytes), 4);
  store<f32>(y + yBytes, withRest(laneSum(f32x4.add(b0, bo0)), x1, first, whole, rowBytes));
  store<f32>(y + yBytes, withRest(laneSum(f32x4.add(b1, bo1)), x1, second, whole, rowBytes), 4);
  store<f32>(y + 2 * yBytes, withRest(laneSum(f32x4.add(c0, co0)), x2, first, whole, rowBytes));
  store<f32>(y + 2 * yBytes, withRest(laneSum(f32x4.add(c1, co1)), x2, second, whole, rowBytes), 4);
  store<f32>(y + 3 * yBytes, withRest(laneSum(f32x4.add(d0, do0)), x3, first, whole, rowBytes));
  store<f32>(y + 3 * yBytes, withRest(laneSum(f32x4.add(d1, do1)), x3, second, whole, rowBytes), 4);
}

/**
 * y[r, n] = sum of x[r, k] w[k, n] over k by rising k, for columns n of [first, last). w [depth, columns] is dense;
 * `stride`: numbers of a row of w and of y.
 */
export function productByColumns(
  x: usize,
  w: usize,
  y: usize,
  rows: u32,
  depth: u32,
  stride: u32,
  first: u32,
  last: u32,
): void {
  const rowBytes: usize = (<usize>stride) << 2;
  const from: usize = (<usize>first) << 2;
  const to: usize = (<usize>last) << 2;
  const whole: usize = from + ((to - from) & ~(<usize>15));
  for (let r: u32 = 0; r < rows; r++)
    memory.fill(y + <usize>r * rowBytes + from, 0, to - from);
  for (let k: u32 = 0; k < depth; k++) {
    const weights = w + <usize>k * rowBytes;
    for (let r: u32 = 0; r < rows; r++) {
      const factor = load<f32>(x + ((<usize>(r * depth + k)) << 2));
      const factors = f32x4.splat(factor);
      const target = y + <usize>r * rowBytes;
      let at = from;
      for (; at < whole; at += 16)
        v128.store(
          target + at,
          f32x4.add(v128.load(target + at), f32x4.mul(factors, v128.load(weights + at))),
        );
      for (; at < to; at += 4)
        store<f32>(target + at, load<f32>(target + at) + factor * load<f32>(weights + at));
    }
  }
}
