// Rows times a matrix. A sum is always added in the same order, whatever rows and columns stand beside it, so that a
// row's results do not depend on how many rows there are or which thread has which columns.
import { laneSum, laneSums, plusProduct } from "./vectors";

/** Bytes of two vectors. */
const STEP: usize = 32;
/** Bytes of two cache lines: fewer instructions a line let the processor ask for more of them ahead. */
const LONG_STEP: usize = 128;

/**
 * y[r, n] = sum of x[r, k] w[n, k] over k, for columns n of [first, last). x [rows, depth] and w [columns, depth] are
 * dense; `stride`: numbers of a row of y; `tiles`: what `rowsInTiles` wrote of x, or 0. Vectors of four products are added
 * up in two sums by turns, then both and their lanes, then the products that fill no vector.
 *
 * Memory gives a matrix fastest where it is read from its begin to its end: one row and eight rows go column by column.
 * Groups of four rows take two columns at once, which is quicker where the numbers stand in a cache, as they do from the
 * second group on; so each group goes through all columns of a chunk.
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
  tiles: usize,
): void {
  const rowBytes: usize = (<usize>depth) << 2;
  const yBytes: usize = (<usize>stride) << 2;
  const inTiles = tiles != 0 ? rowsOfTiles(rows) : 0;
  const inEight = tiles != 0 ? rowsOfEight(rows, depth) : 0;
  if (inEight > 0)
    for (let n = first; n < last; n++)
      eightRows(tiles, w + <usize>n * rowBytes, y + ((<usize>n) << 2), rowBytes, yBytes, rows);
  for (let r = inEight; r < inTiles; r += 4) {
    const group = tiles + <usize>r * rowBytes;
    for (let n = first; n < last; n += 2) {
      const second = min(n + 1, last - 1);
      const target = y + <usize>r * yBytes;
      fourRows(
        group,
        w + <usize>n * rowBytes,
        w + <usize>second * rowBytes,
        target + ((<usize>n) << 2),
        target + ((<usize>second) << 2),
        rowBytes,
        yBytes,
        r + 4 <= rows,
      );
    }
  }
  if (inTiles >= rows) return;
  for (let n = first; n < last; n++) {
    const weights = w + <usize>n * rowBytes;
    const target = y + ((<usize>n) << 2);
    for (let r = inTiles; r < rows; r++)
      oneRow(x + <usize>r * rowBytes, weights, target + <usize>r * yBytes, rowBytes);
  }
}

/** How many of so many rows stand in tiles: three that are left over count as four. */
// @ts-ignore: decorator
@inline
export function rowsOfTiles(rows: u32): u32 {
  return (rows + 1) & ~3;
}

/** Rows and depth of which eight rows fit the nearest cache beside the columns that go by. */
const ROWS_IN_GROUPS: u32 = 16;
const LONGEST_OF_EIGHT: u32 = 768;

/** Rows of the tile of eight: 8, or 0 where groups of four are better. */
// @ts-ignore: decorator
@inline
function rowsOfEight(rows: u32, depth: u32): u32 {
  return rows > 6 && rows < ROWS_IN_GROUPS && depth <= LONGEST_OF_EIGHT ? 8 : 0;
}

/**
 * Rows x [rows, depth] in tiles, [rows of tiles, depth] in all: a tile's vectors of each row side by side, then the numbers
 * that fill no vector, one of each row. A single address then leads to all that a step of a product takes. Rows that are
 * not there are 0.
 */
export function rowsInTiles(x: usize, out: usize, rows: u32, depth: u32): void {
  const rowBytes: usize = (<usize>depth) << 2;
  const inTiles = rowsOfTiles(rows);
  const inEight = rowsOfEight(rows, depth);
  if (rows < inTiles) {
    const last = inTiles == inEight ? 0 : inTiles - 4;
    memory.fill(out + <usize>last * rowBytes, 0, <usize>(inTiles - last) * rowBytes);
  }
  for (let r: u32 = 0; r < min(rows, inTiles); r++) {
    const isFirst = r < inEight;
    const lane = isFirst ? r : r & 3;
    const tile = out + <usize>(r - lane) * rowBytes;
    rowInTile(x + <usize>r * rowBytes, tile, lane, isFirst ? 8 : 4, rowBytes);
  }
}

function rowInTile(row: usize, tile: usize, lane: u32, size: u32, rowBytes: usize): void {
  const whole: usize = rowBytes & ~(<usize>15);
  let target = tile + ((<usize>lane) << 4);
  for (let at: usize = 0; at < whole; at += 16) {
    v128.store(target, v128.load(row + at));
    target += (<usize>size) << 4;
  }
  target = tile + whole * <usize>size + ((<usize>lane) << 2);
  for (let at = whole; at < rowBytes; at += 4) {
    store<f32>(target, load<f32>(row + at));
    target += (<usize>size) << 2;
  }
}

/** Two columns, which stand one after the other, of all rows in tiles; y and z: where the results of the first row belong. */
export function columnsOfTiles(
  tiles: usize,
  rows: u32,
  depth: u32,
  columns: usize,
  y: usize,
  z: usize,
  yBytes: usize,
): void {
  const rowBytes: usize = (<usize>depth) << 2;
  const inEight = rowsOfEight(rows, depth);
  if (inEight > 0) {
    eightRows(tiles, columns, y, rowBytes, yBytes, rows);
    eightRows(tiles, columns + rowBytes, z, rowBytes, yBytes, rows);
  }
  for (let r = inEight; r < rowsOfTiles(rows); r += 4) {
    const offset = <usize>r * yBytes;
    const group = tiles + <usize>r * rowBytes;
    const isWhole = r + 4 <= rows;
    fourRows(
      group,
      columns,
      columns + rowBytes,
      y + offset,
      z + offset,
      rowBytes,
      yBytes,
      isWhole,
    );
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
    even = plusProduct(even, v128.load(x), v128.load(w));
    odd = plusProduct(odd, v128.load(x, 16), v128.load(w, 16));
    even = plusProduct(even, v128.load(x, 32), v128.load(w, 32));
    odd = plusProduct(odd, v128.load(x, 48), v128.load(w, 48));
    even = plusProduct(even, v128.load(x, 64), v128.load(w, 64));
    odd = plusProduct(odd, v128.load(x, 80), v128.load(w, 80));
    even = plusProduct(even, v128.load(x, 96), v128.load(w, 96));
    odd = plusProduct(odd, v128.load(x, 112), v128.load(w, 112));
  }
  for (; at < steps; at += STEP) {
    even = plusProduct(even, v128.load(row + at), v128.load(weights + at));
    odd = plusProduct(odd, v128.load(row + at, 16), v128.load(weights + at, 16));
  }
  if (steps < whole)
    even = plusProduct(even, v128.load(row + steps), v128.load(weights + steps));
  store<f32>(target, withRest(laneSum(f32x4.add(even, odd)), row, weights, whole, rowBytes));
}

/** One column of eight rows, of which seven may be there. Even and odd vectors one after the other, as in `fourRows`. */
function eightRows(
  x: usize,
  column: usize,
  y: usize,
  rowBytes: usize,
  yBytes: usize,
  rows: u32,
): void {
  const steps: usize = rowBytes & ~(STEP - 1);
  const whole: usize = rowBytes & ~(<usize>15);
  let a = f32x4.splat(0);
  let b = f32x4.splat(0);
  let c = f32x4.splat(0);
  let d = f32x4.splat(0);
  let e = f32x4.splat(0);
  let f = f32x4.splat(0);
  let g = f32x4.splat(0);
  let h = f32x4.splat(0);
  for (let at: usize = 0; at < whole; at += STEP) {
    const v = v128.load(column + at);
    const rows = x + (at << 3);
    a = plusProduct(a, v128.load(rows), v);
    b = plusProduct(b, v128.load(rows, 16), v);
    c = plusProduct(c, v128.load(rows, 32), v);
    d = plusProduct(d, v128.load(rows, 48), v);
    e = plusProduct(e, v128.load(rows, 64), v);
    f = plusProduct(f, v128.load(rows, 80), v);
    g = plusProduct(g, v128.load(rows, 96), v);
    h = plusProduct(h, v128.load(rows, 112), v);
  }
  let ao = f32x4.splat(0);
  let bo = f32x4.splat(0);
  let co = f32x4.splat(0);
  let d2 = f32x4.splat(0);
  let eo = f32x4.splat(0);
  let fo = f32x4.splat(0);
  let go = f32x4.splat(0);
  let ho = f32x4.splat(0);
  for (let at: usize = 0; at < steps; at += STEP) {
    const v = v128.load(column + at, 16);
    const rows = x + (at << 3);
    ao = plusProduct(ao, v128.load(rows, 128), v);
    bo = plusProduct(bo, v128.load(rows, 144), v);
    co = plusProduct(co, v128.load(rows, 160), v);
    d2 = plusProduct(d2, v128.load(rows, 176), v);
    eo = plusProduct(eo, v128.load(rows, 192), v);
    fo = plusProduct(fo, v128.load(rows, 208), v);
    go = plusProduct(go, v128.load(rows, 224), v);
    ho = plusProduct(ho, v128.load(rows, 240), v);
  }
  let sums = laneSums(
    f32x4.add(a, ao),
    f32x4.add(b, bo),
    f32x4.add(c, co),
    f32x4.add(d, d2),
  );
  let others = laneSums(
    f32x4.add(e, eo),
    f32x4.add(f, fo),
    f32x4.add(g, go),
    f32x4.add(h, ho),
  );
  for (let at = whole; at < rowBytes; at += 4) {
    const weight = v128.load32_splat(column + at);
    sums = f32x4.add(sums, f32x4.mul(v128.load(x + (at << 3)), weight));
    others = f32x4.add(others, f32x4.mul(v128.load(x + (at << 3), 16), weight));
  }
  storeLanes(y, yBytes, sums, true);
  storeLanes(y + 4 * yBytes, yBytes, others, rows > 7);
}

/**
 * Two columns of four rows: eight sums are what registers hold, so even and odd vectors are added up one after the other.
 * Steps are not written out several times: V8 brings all loads of a block to its begin, and then has too few registers.
 */
function fourRows(
  x: usize,
  first: usize,
  second: usize,
  y: usize,
  z: usize,
  rowBytes: usize,
  yBytes: usize,
  isWhole: bool,
): void {
  const steps: usize = rowBytes & ~(STEP - 1);
  const whole: usize = rowBytes & ~(<usize>15);
  let a0 = f32x4.splat(0);
  let a1 = f32x4.splat(0);
  let b0 = f32x4.splat(0);
  let b1 = f32x4.splat(0);
  let c0 = f32x4.splat(0);
  let c1 = f32x4.splat(0);
  let d0 = f32x4.splat(0);
  let d1 = f32x4.splat(0);
  for (let at: usize = 0; at < whole; at += STEP) {
    const v = v128.load(first + at);
    const u = v128.load(second + at);
    const rows = x + (at << 2);
    let row = v128.load(rows);
    a0 = plusProduct(a0, row, v);
    a1 = plusProduct(a1, row, u);
    row = v128.load(rows, 16);
    b0 = plusProduct(b0, row, v);
    b1 = plusProduct(b1, row, u);
    row = v128.load(rows, 32);
    c0 = plusProduct(c0, row, v);
    c1 = plusProduct(c1, row, u);
    row = v128.load(rows, 48);
    d0 = plusProduct(d0, row, v);
    d1 = plusProduct(d1, row, u);
  }
  let ao0 = f32x4.splat(0);
  let ao1 = f32x4.splat(0);
  let bo0 = f32x4.splat(0);
  let bo1 = f32x4.splat(0);
  let co0 = f32x4.splat(0);
  let co1 = f32x4.splat(0);
  let do0 = f32x4.splat(0);
  let do1 = f32x4.splat(0);
  for (let at: usize = 0; at < steps; at += STEP) {
    const v = v128.load(first + at, 16);
    const u = v128.load(second + at, 16);
    const rows = x + (at << 2);
    let row = v128.load(rows, 64);
    ao0 = plusProduct(ao0, row, v);
    ao1 = plusProduct(ao1, row, u);
    row = v128.load(rows, 80);
    bo0 = plusProduct(bo0, row, v);
    bo1 = plusProduct(bo1, row, u);
    row = v128.load(rows, 96);
    co0 = plusProduct(co0, row, v);
    co1 = plusProduct(co1, row, u);
    row = v128.load(rows, 112);
    do0 = plusProduct(do0, row, v);
    do1 = plusProduct(do1, row, u);
  }
  // A lane a row.
  let sums = laneSums(
    f32x4.add(a0, ao0),
    f32x4.add(b0, bo0),
    f32x4.add(c0, co0),
    f32x4.add(d0, do0),
  );
  let others = laneSums(
    f32x4.add(a1, ao1),
    f32x4.add(b1, bo1),
    f32x4.add(c1, co1),
    f32x4.add(d1, do1),
  );
  for (let at = whole; at < rowBytes; at += 4) {
    const rest = v128.load(x + (at << 2));
    sums = f32x4.add(sums, f32x4.mul(rest, v128.load32_splat(first + at)));
    others = f32x4.add(others, f32x4.mul(rest, v128.load32_splat(second + at)));
  }
  storeLanes(y, yBytes, sums, isWhole);
  storeLanes(z, yBytes, others, isWhole);
}

/** Three or four lanes, a row each. */
// @ts-ignore: decorator
@inline
function storeLanes(y: usize, yBytes: usize, lanes: v128, isWhole: bool): void {
  v128.store32_lane(y, lanes, 0);
  v128.store32_lane(y + yBytes, lanes, 1);
  v128.store32_lane(y + 2 * yBytes, lanes, 2);
  if (isWhole) v128.store32_lane(y + 3 * yBytes, lanes, 3);
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
