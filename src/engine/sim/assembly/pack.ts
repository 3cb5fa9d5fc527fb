// Operands of products, laid out as the tiles of grid.ts read them: groups of `width` rows (or columns), and in a
// group for each step of the depth its `width` numbers, and where the kernel wants them as many magnitudes. Beside each
// group stands what bounds its products.
import { BLOCK } from "./shared/grid-constants";

/**
 * Bytes of a group's bounds: largest magnitude, largest sum of magnitudes, largest norm; fp32. The bounds of all
 * groups are followed by the largest magnitudes of each group's depth in blocks.
 */
const BOUNDS: usize = 16;

/**
 * Packs groups [first, end) of a matrix whose element (lane, k) stands at `source + 4 * (lane * laneStep + k *
 * depthStep)`. `width` is 4 or 8; lanes beyond the last are zeros. `scale` multiplies what is stored, not the bounds.
 * With `hasNumbers` infinities and NaN become the numbers that the engine reads them as.
 */
export function pack(
  source: usize,
  laneStep: u32,
  depthStep: u32,
  lanes: u32,
  depth: u32,
  width: u32,
  target: usize,
  bounds: usize,
  scale: u32,
  hasMagnitudes: u32,
  hasNumbers: u32,
  first: u32,
  end: u32,
): void {
  const factor = f32x4.splat(<f32>scale);
  const blocks = (depth + BLOCK - 1) / BLOCK;
  const blockBounds = bounds + <usize>((lanes + width - 1) / width) * BOUNDS;
  const stride: usize = <usize>width << (hasMagnitudes ? 3 : 2);
  for (let group = first; group < end; group++) {
    const from = source + (<usize>(group * width) * laneStep << 2);
    const to = target + <usize>group * depth * stride;
    const count = min<u32>(width, lanes - group * width);
    if (count == width && laneStep == 1) copyRows(from, depthStep, depth, width, to, stride);
    else if (count == width && depthStep == 1)
      transposeRows(from, laneStep, depth, width, to, stride);
    else gather(from, laneStep, depthStep, count, depth, width, to, stride);
    const largest = blockBounds + (<usize>(group * blocks) << 2);
    const place = bounds + <usize>group * BOUNDS;
    measure(to, depth, width, stride, place, largest, factor);
    if (hasNumbers && !(load<f32>(place, 4) < Infinity)) {
      replaceSpecial(to, depth, width, stride, 1.0 / <f32>scale);
      measure(to, depth, width, stride, place, largest, factor);
    }
  }
}

@inline
function measure(
  group: usize,
  depth: u32,
  width: u32,
  stride: usize,
  bounds: usize,
  blockBounds: usize,
  factor: v128,
): void {
  if (width == 4) measure4(group, depth, bounds, blockBounds, factor);
  else measure8(group, depth, stride, bounds, blockBounds, factor);
}

/** Takes a scale away and makes infinity 65536 and NaN 98304, what their bits mean with one exponent more. */
function replaceSpecial(group: usize, depth: u32, width: u32, stride: usize, factor: f32): void {
  for (let k: u32 = 0; k < depth; k++) {
    for (let lane: u32 = 0; lane < width; lane++) {
      const at = group + (<usize>lane << 2);
      const x = load<f32>(at);
      const isFinite = abs(x) < Infinity;
      // Of NaN neither sign nor payload is kept.
      const special: f32 = x == x ? copysign<f32>(65536, x) : 98304;
      store<f32>(at, isFinite ? x * factor : special);
    }
    group += stride;
  }
}

function copyRows(
  from: usize,
  depthStep: u32,
  depth: u32,
  width: u32,
  to: usize,
  stride: usize,
): void {
  const step: usize = <usize>depthStep << 2;
  if (width == 4) {
    for (let k: u32 = 0; k < depth; k++) {
      v128.store(to, v128.load(from));
      from += step;
      to += 16;
    }
    return;
  }
  for (let k: u32 = 0; k < depth; k++) {
    v128.store(to, v128.load(from));
    v128.store(to, v128.load(from, 16), 16);
    from += step;
    to += stride;
  }
}

function transposeRows(
  from: usize,
  laneStep: u32,
  depth: u32,
  width: u32,
  to: usize,
  stride: usize,
): void {
  const step: usize = <usize>laneStep << 2;
  for (let lane: u32 = 0; lane < width; lane += 4) {
    let r0 = from + <usize>lane * step;
    let out = to + (lane << 2);
    let k: u32 = 0;
    for (; k + 4 <= depth; k += 4) {
      const a = v128.load(r0);
      const b = v128.load(r0 + step);
      const c = v128.load(r0 + 2 * step);
      const d = v128.load(r0 + 3 * step);
      const ab = v128.shuffle<i32>(a, b, 0, 4, 1, 5);
      const cd = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
      const abHigh = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
      const cdHigh = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
      v128.store(out, v128.shuffle<i64>(ab, cd, 0, 2));
      v128.store(out + stride, v128.shuffle<i64>(ab, cd, 1, 3));
      v128.store(out + 2 * stride, v128.shuffle<i64>(abHigh, cdHigh, 0, 2));
      v128.store(out + 3 * stride, v128.shuffle<i64>(abHigh, cdHigh, 1, 3));
      r0 += 16;
      out += stride << 2;
    }
    for (; k < depth; k++) {
      for (let i: usize = 0; i < 4; i++) store<f32>(out + (i << 2), load<f32>(r0 + i * step));
      r0 += 4;
      out += stride;
    }
  }
}

function gather(
  from: usize,
  laneStep: u32,
  depthStep: u32,
  count: u32,
  depth: u32,
  width: u32,
  to: usize,
  stride: usize,
): void {
  const step: usize = <usize>laneStep << 2;
  for (let k: u32 = 0; k < depth; k++) {
    for (let lane: u32 = 0; lane < width; lane++)
      store<f32>(to + (lane << 2), lane < count ? load<f32>(from + <usize>lane * step) : 0);
    to += stride;
    from += <usize>depthStep << 2;
  }
}

/** Bounds of a packed group of 4 and of its blocks; the group is scaled on the way. NaN shows in the sums. */
function measure4(
  group: usize,
  depth: u32,
  bounds: usize,
  blockBounds: usize,
  factor: v128,
): void {
  let largest: f32 = 0;
  let sum = f32x4.splat(0);
  let square = sum;
  let at = group;
  for (let start: u32 = 0; start < depth; start += BLOCK) {
    let magnitudes = f32x4.splat(0);
    const end = at + (<usize>min(BLOCK, depth - start) << 4);
    while (at < end) {
      const x = v128.load(at);
      const magnitude = f32x4.abs(x);
      magnitudes = f32x4.pmax(magnitudes, magnitude);
      sum = f32x4.add(sum, magnitude);
      square = f32x4.add(square, f32x4.mul(x, x));
      v128.store(at, f32x4.mul(x, factor));
      at += 16;
    }
    const block = largestOf(magnitudes);
    store<f32>(blockBounds, block);
    blockBounds += 4;
    largest = max(largest, block);
  }
  keep(bounds, largest, sum, square);
}

/** The same for a group of 8, whose magnitudes are stored where the stride has room for them. */
function measure8(
  group: usize,
  depth: u32,
  stride: usize,
  bounds: usize,
  blockBounds: usize,
  factor: v128,
): void {
  let largest: f32 = 0;
  let sum0 = f32x4.splat(0);
  let sum1 = sum0;
  let square0 = sum0;
  let square1 = sum0;
  let at = group;
  const hasMagnitudes = stride == 64;
  for (let start: u32 = 0; start < depth; start += BLOCK) {
    let magnitudes = f32x4.splat(0);
    const end = at + <usize>min(BLOCK, depth - start) * stride;
    while (at < end) {
      const x = v128.load(at);
      const y = v128.load(at, 16);
      const magnitude0 = f32x4.abs(x);
      const magnitude1 = f32x4.abs(y);
      magnitudes = f32x4.pmax(f32x4.pmax(magnitudes, magnitude0), magnitude1);
      sum0 = f32x4.add(sum0, magnitude0);
      sum1 = f32x4.add(sum1, magnitude1);
      square0 = f32x4.add(square0, f32x4.mul(x, x));
      square1 = f32x4.add(square1, f32x4.mul(y, y));
      v128.store(at, f32x4.mul(x, factor));
      v128.store(at, f32x4.mul(y, factor), 16);
      if (hasMagnitudes) {
        v128.store(at, f32x4.mul(magnitude0, factor), 32);
        v128.store(at, f32x4.mul(magnitude1, factor), 48);
      }
      at += stride;
    }
    const block = largestOf(magnitudes);
    store<f32>(blockBounds, block);
    blockBounds += 4;
    largest = max(largest, block);
  }
  keep(bounds, largest, f32x4.max(sum0, sum1), f32x4.max(square0, square1));
}

function keep(bounds: usize, largest: f32, sums: v128, squares: v128): void {
  store<f32>(bounds, largest);
  store<f32>(bounds, largestOf(sums), 4);
  store<f32>(bounds, sqrt(largestOf(squares)), 8);
}

@inline
function largestOf(x: v128): f32 {
  return max(
    max(f32x4.extract_lane(x, 0), f32x4.extract_lane(x, 1)),
    max(f32x4.extract_lane(x, 2), f32x4.extract_lane(x, 3)),
  );
}
