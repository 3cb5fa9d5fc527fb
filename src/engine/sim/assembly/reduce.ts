// Reductions of fp16 numbers held as fp32, over rows or over the rows of a matrix.
import { exponential, exponentialPair } from "./shared/exponential";
import { bitsOf, roundDouble, roundHalf, roundOne, singlesToRound } from "./shared/half";

/** What is summed and what becomes of the sum. */
const SQUARES: u32 = 1;
const MEAN: u32 = 2;
/** Sums in doubles, one after the other, instead of fp16 additions in a tree of neighbouring pairs. */
const EXACT: u32 = 4;
/** Ties go away from zero. */
const AWAY: u32 = 8;

/** Beside `AWAY`, for ops with exponentials: by a table of results for each fp16 number; else by knots, or smooth. */
const RESULTS: u32 = 16;

/** Columns that a block of `columnSums` takes, and the bytes of a row of them. */
const BLOCK: u32 = 32;
const BLOCK_BYTES: usize = 128;

/** Sums of rows [first, end) of `count` numbers; `scratch` holds a row. */
export function rowSums(
  x: usize,
  out: usize,
  count: u32,
  flags: u32,
  scratch: usize,
  first: u32,
  end: u32,
): void {
  for (let row = first; row < end; row++) {
    const from = x + ((<usize>row * count) << 2);
    store<f32>(
      out + (<usize>row << 2),
      flags & EXACT ? exactSum(from, 4, count, flags) : finish(treeSum(from, count, flags, scratch), count, flags),
    );
  }
}

@inline
function finish(sum: f32, count: u32, flags: u32): f32 {
  return flags & MEAN ? roundOne(sum / <f32>count, (flags & AWAY) != 0) : sum;
}

function exactSum(from: usize, step: usize, count: u32, flags: u32): f32 {
  let sum: f64 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const value = <f64>load<f32>(from);
    sum += flags & SQUARES ? value * value : value;
    from += step;
  }
  return roundDouble(flags & MEAN ? sum / <f64>count : sum, (flags & AWAY) != 0);
}

function treeSum(from: usize, count: u32, flags: u32, scratch: usize): f32 {
  return flags & AWAY
    ? treeSumBy(from, count, flags, true, scratch)
    : treeSumBy(from, count, flags, false, scratch);
}

@inline
function treeSumBy(from: usize, count: u32, flags: u32, isAway: bool, scratch: usize): f32 {
  if (count == 1) return term1(load<f32>(from), flags, isAway);
  let width = count;
  let isSquared = (flags & SQUARES) != 0;
  while (width > 1) {
    const pairs = width >> 1;
    let i: u32 = 0;
    for (; i + 4 <= pairs; i += 4) {
      const at = from + (<usize>i << 3);
      const a = v128.load(at);
      const b = v128.load(at, 16);
      let even = v128.shuffle<i32>(a, b, 0, 2, 4, 6);
      let odd = v128.shuffle<i32>(a, b, 1, 3, 5, 7);
      if (isSquared) {
        even = roundHalf(f32x4.mul(even, even), isAway);
        odd = roundHalf(f32x4.mul(odd, odd), isAway);
      }
      v128.store(scratch + (<usize>i << 2), roundHalf(f32x4.add(even, odd), isAway));
    }
    const left = isSquared ? SQUARES : 0;
    for (; i < pairs; i++) {
      const at = from + (<usize>i << 3);
      const sum = term1(load<f32>(at), left, isAway) + term1(load<f32>(at, 4), left, isAway);
      store<f32>(scratch + (<usize>i << 2), roundOne(sum, isAway));
    }
    if (width & 1) {
      const last = term1(load<f32>(from + (<usize>i << 3)), left, isAway);
      // A lone term is added to zero.
      store<f32>(scratch + (<usize>i << 2), last + 0);
    }
    width = (width + 1) >> 1;
    from = scratch;
    isSquared = false;
  }
  return load<f32>(scratch);
}

@inline
function term1(value: f32, flags: u32, isAway: bool): f32 {
  return flags & SQUARES ? roundOne(value * value, isAway) : value;
}

/**
 * Sums over the middle axis of [outer, count, inner] in blocks of 32 columns; block b stands for columns from
 * 32 * (b % blocks) on of matrix b / blocks. `scratch` holds 32 rows of a block.
 */
export function columnSums(
  x: usize,
  out: usize,
  count: u32,
  inner: u32,
  flags: u32,
  scratch: usize,
  first: u32,
  end: u32,
): void {
  const blocks = (inner + BLOCK - 1) / BLOCK;
  for (let block = first; block < end; block++) {
    const outer = block / blocks;
    const column = (block % blocks) * BLOCK;
    const width = min<u32>(BLOCK, inner - column);
    const from = x + ((<usize>outer * count * inner + column) << 2);
    const to = out + ((<usize>outer * inner + column) << 2);
    if (flags & EXACT) {
      for (let i: u32 = 0; i < width; i++)
        store<f32>(to + (i << 2), exactSum(from + (i << 2), <usize>inner << 2, count, flags));
      continue;
    }
    if (flags & AWAY) foldColumns(from, <usize>inner << 2, count, flags, true, scratch);
    else foldColumns(from, <usize>inner << 2, count, flags, false, scratch);
    for (let i: u32 = 0; i < width; i++)
      store<f32>(to + (i << 2), finish(load<f32>(scratch + (i << 2)), count, flags));
  }
}

/**
 * The tree of neighbouring pairs, row by row: a row of `scratch` for each height of the tree holds the sum that waits
 * for its neighbour; the last one to come stands in the first. Reads 32 columns, whatever stands in those beyond the
 * width.
 */
@inline
function foldColumns(
  from: usize,
  step: usize,
  count: u32,
  flags: u32,
  isAway: bool,
  scratch: usize,
): void {
  const isSquared = (flags & SQUARES) != 0;
  const pairs = count >> 1;
  for (let pair: u32 = 0; pair < pairs; pair++) {
    const height = ctz(pair + 1) + 1;
    const to = scratch + <usize>height * BLOCK_BYTES;
    addRows(from, from + step, to, isSquared, isAway);
    for (let below: u32 = 1; below < height; below++)
      addRows(scratch + <usize>below * BLOCK_BYTES, to, to, false, isAway);
    from += step << 1;
  }
  const rest = pairs << 1;
  // A lone term is added to zero, unless there is no other.
  if (count & 1) takeRow(from, scratch, isSquared, count > 1, isAway);
  let isEmpty = !(count & 1);
  for (let height: u32 = 1; rest >> height != 0; height++) {
    if (!((rest >> height) & 1)) continue;
    const sum = scratch + <usize>height * BLOCK_BYTES;
    if (isEmpty) takeRow(sum, scratch, false, false, isAway);
    else addRows(sum, scratch, scratch, false, isAway);
    isEmpty = false;
  }
}

@inline
function addRows(x: usize, y: usize, to: usize, isSquared: bool, isAway: bool): void {
  for (let c: usize = 0; c < BLOCK_BYTES; c += 16) {
    let a = v128.load(x + c);
    let b = v128.load(y + c);
    if (isSquared) {
      a = roundHalf(f32x4.mul(a, a), isAway);
      b = roundHalf(f32x4.mul(b, b), isAway);
    }
    v128.store(to + c, roundHalf(f32x4.add(a, b), isAway));
  }
}

@inline
function takeRow(from: usize, to: usize, isSquared: bool, isAdded: bool, isAway: bool): void {
  for (let c: usize = 0; c < BLOCK_BYTES; c += 16) {
    let x = v128.load(from + c);
    if (isSquared) x = roundHalf(f32x4.mul(x, x), isAway);
    v128.store(to + c, isAdded ? f32x4.add(x, f32x4.splat(0)) : x);
  }
}

function largestOf(row: usize, size: u32): f32 {
  let largest: f32 = -Infinity;
  let lanes = f32x4.splat(-Infinity);
  const end = row + (<usize>size << 2);
  for (; row + 16 <= end; row += 16) lanes = f32x4.max(lanes, v128.load(row));
  for (; row < end; row += 4) largest = max(largest, load<f32>(row));
  largest = max(largest, max(f32x4.extract_lane(lanes, 0), f32x4.extract_lane(lanes, 1)));
  return max(largest, max(f32x4.extract_lane(lanes, 2), f32x4.extract_lane(lanes, 3)));
}

function smallestOf(row: usize, size: u32): f32 {
  let smallest: f32 = Infinity;
  let lanes = f32x4.splat(Infinity);
  const end = row + (<usize>size << 2);
  for (; row + 16 <= end; row += 16) lanes = f32x4.min(lanes, v128.load(row));
  for (; row < end; row += 4) smallest = min(smallest, load<f32>(row));
  smallest = min(smallest, min(f32x4.extract_lane(lanes, 0), f32x4.extract_lane(lanes, 1)));
  return min(smallest, min(f32x4.extract_lane(lanes, 2), f32x4.extract_lane(lanes, 3)));
}

/** The largest or the smallest number of rows [first, end); NaN where there is one. */
export function extremes(
  x: usize,
  out: usize,
  count: u32,
  isLargest: u32,
  first: u32,
  end: u32,
): void {
  for (let row = first; row < end; row++) {
    const from = x + ((<usize>row * count) << 2);
    const found = isLargest ? largestOf(from, count) : smallestOf(from, count);
    store<f32>(out + (<usize>row << 2), found);
  }
}

/**
 * As `exponentials`, each of a distance as an fp16 number through the table of results. Numbers and the largest are fp16
 * numbers, so that their distance in fp32, rounded to fp16, is rounded once.
 */
function tableExponentials(
  from: usize,
  largest: f64,
  size: u32,
  table: usize,
  isAway: bool,
  to: usize,
): f64 {
  const anchors = f32x4.splat(<f32>largest);
  let sum: f64 = 0;
  let i: usize = 0;
  for (; i + 4 <= size; i += 4) {
    const at = bitsOf(roundHalf(f32x4.sub(v128.load(from + (i << 2)), anchors), isAway));
    sum = take(table, i32x4.extract_lane(at, 0), to + (i << 3), sum);
    sum = take(table, i32x4.extract_lane(at, 1), to + (i << 3) + 8, sum);
    sum = take(table, i32x4.extract_lane(at, 2), to + (i << 3) + 16, sum);
    sum = take(table, i32x4.extract_lane(at, 3), to + (i << 3) + 24, sum);
  }
  for (; i < size; i++) {
    const x = f32x4.sub(v128.load32_splat(from + (i << 2)), anchors);
    const at = i32x4.extract_lane(bitsOf(roundHalf(x, isAway)), 0);
    sum = take(table, at, to + (i << 3), sum);
  }
  return sum;
}

/** Stores a table's result as a double and adds it to a sum. */
@inline
function take(table: usize, at: i32, to: usize, sum: f64): f64 {
  const value = <f64>load<f32>(table + (<usize>at << 2));
  store<f64>(to, value);
  return sum + value;
}

/**
 * Exponentials of the distances from `largest` as doubles, 0 for distances below `least`. Returns their sum, made one
 * after the other.
 */
function exponentials(
  from: usize,
  largest: f64,
  size: u32,
  knots: usize,
  least: f64,
  to: usize,
): f64 {
  const anchors = f64x2.splat(largest);
  const leasts = f64x2.splat(least);
  let sum: f64 = 0;
  let i: usize = 0;
  for (; i + 2 <= size; i += 2) {
    const x = f64x2.promote_low_f32x4(v128.load64_zero(from + (i << 2)));
    const distances = f64x2.sub(x, anchors);
    const below = f64x2.lt(distances, leasts);
    const values = i64x2.all_true(below)
      ? f64x2.splat(0)
      : v128.andnot(exponentialPair(distances, knots), below);
    v128.store(to + (i << 3), values);
    sum += f64x2.extract_lane(values, 0);
    sum += f64x2.extract_lane(values, 1);
  }
  if (i < size) {
    const distance = <f64>load<f32>(from + (i << 2)) - largest;
    const value = distance < least ? 0 : exponential(distance, knots);
    store<f64>(to + (i << 3), value);
    sum += value;
  }
  return sum;
}

/** Softmax of rows [first, end) in doubles, rounded once; `flags`: `AWAY`, `RESULTS`. `scratch` holds a row of doubles. */
export function softmax(
  x: usize,
  out: usize,
  size: u32,
  table: usize,
  flags: u32,
  scratch: usize,
  first: u32,
  end: u32,
): void {
  const isAway = (flags & AWAY) != 0;
  const hasResults = (flags & RESULTS) != 0;
  for (let row = first; row < end; row++) {
    const from = x + ((<usize>row * size) << 2);
    const to = out + ((<usize>row * size) << 2);
    const largest = <f64>largestOf(from, size);
    const sum = hasResults
      ? tableExponentials(from, largest, size, table, isAway, scratch)
      : exponentials(from, largest, size, table, -80, scratch);
    const sums = f64x2.splat(sum);
    let i: usize = 0;
    for (; i + 4 <= size; i += 4) {
      const a = singlesToRound(f64x2.div(v128.load(scratch + (i << 3)), sums), isAway);
      const b = singlesToRound(f64x2.div(v128.load(scratch + (i << 3), 16), sums), isAway);
      v128.store(to + (i << 2), roundHalf(v128.shuffle<i64>(a, b, 0, 2), isAway));
    }
    for (; i < size; i++)
      store<f32>(to + (i << 2), roundDouble(load<f64>(scratch + (i << 3)) / sum, isAway));
  }
}

/**
 * For rows [first, end): the largest number, and the sum of exponentials of the distances from it; two doubles each.
 * `scratch` holds a row of doubles.
 */
export function exponentialSums(
  x: usize,
  out: usize,
  size: u32,
  table: usize,
  flags: u32,
  scratch: usize,
  first: u32,
  end: u32,
): void {
  const isAway = (flags & AWAY) != 0;
  const hasResults = (flags & RESULTS) != 0;
  for (let row = first; row < end; row++) {
    const from = x + ((<usize>row * size) << 2);
    const largest = <f64>largestOf(from, size);
    const sum = hasResults
      ? tableExponentials(from, largest, size, table, isAway, scratch)
      : exponentials(from, largest, size, table, -Infinity, scratch);
    store<f64>(out + (<usize>row << 4), largest);
    store<f64>(out + (<usize>row << 4), sum, 8);
  }
}

/** Layer norm of rows [first, end) in doubles, rounded once. `epsilon` is the address of a double. */
export function normalize(
  x: usize,
  gamma: usize,
  beta: usize,
  out: usize,
  size: u32,
  epsilon: usize,
  isAway: u32,
  first: u32,
  end: u32,
): void {
  for (let row = first; row < end; row++) {
    const from = x + ((<usize>row * size) << 2);
    const to = out + ((<usize>row * size) << 2);
    let mean: f64 = 0;
    for (let i: usize = 0; i < size; i++) mean += <f64>load<f32>(from + (i << 2));
    mean /= <f64>size;
    let variance: f64 = 0;
    for (let i: usize = 0; i < size; i++) {
      const distance = <f64>load<f32>(from + (i << 2)) - mean;
      variance += distance * distance;
    }
    const scale = 1.0 / sqrt<f64>(variance / <f64>size + load<f64>(epsilon));
    for (let i: usize = 0; i < size; i++) {
      const normal = (<f64>load<f32>(from + (i << 2)) - mean) * scale;
      const value = normal * <f64>load<f32>(gamma + (i << 2)) + <f64>load<f32>(beta + (i << 2));
      store<f32>(to + (i << 2), roundDouble(value, isAway != 0));
    }
  }
}
