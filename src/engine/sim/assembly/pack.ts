// Operands of products, laid out as the tiles of grid.ts read them: groups of `width` rows (or columns), and in a
// group for each step of the depth its `width` numbers. Beside each group stands what bounds its products.

/** Bytes of a group's bounds: largest magnitude, largest sum of magnitudes, largest sum of squares; fp32. */
const BOUNDS: usize = 16;

/**
 * Packs groups [first, end) of a matrix whose element (lane, k) stands at `source + 4 * (lane * laneStep + k *
 * depthStep)`. `width` is 4 or 8; lanes beyond the last are zeros. `scale` multiplies what is stored, not the bounds.
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
  first: u32,
  end: u32,
): void {
  const factor = f32x4.splat(<f32>scale);
  for (let group = first; group < end; group++) {
    const from = source + (<usize>(group * width) * laneStep << 2);
    const to = target + (<usize>group * width * depth << 2);
    const count = min<u32>(width, lanes - group * width);
    if (count == width && laneStep == 1) copyRows(from, depthStep, depth, width, to);
    else if (count == width && depthStep == 1) transposeRows(from, laneStep, depth, width, to);
    else gather(from, laneStep, depthStep, count, depth, width, to);
    measure(to, depth, width, bounds + <usize>group * BOUNDS, factor);
  }
}

function copyRows(from: usize, depthStep: u32, depth: u32, width: u32, to: usize): void {
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
    to += 32;
  }
}

function transposeRows(from: usize, laneStep: u32, depth: u32, width: u32, to: usize): void {
  const step: usize = <usize>laneStep << 2;
  const stride: usize = <usize>width << 2;
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
): void {
  const step: usize = <usize>laneStep << 2;
  for (let k: u32 = 0; k < depth; k++) {
    for (let lane: u32 = 0; lane < width; lane++) {
      store<f32>(to, lane < count ? load<f32>(from + <usize>lane * step) : 0);
      to += 4;
    }
    from += <usize>depthStep << 2;
  }
}

/** Bounds of a packed group, which is scaled on the way. */
function measure(group: usize, depth: u32, width: u32, bounds: usize, factor: v128): void {
  let largest = f32x4.splat(0);
  let sums = f32x4.splat(0);
  let squares = f32x4.splat(0);
  const stride: usize = <usize>width << 2;
  const end = group + <usize>depth * stride;
  for (let half: usize = 0; half < stride; half += 16) {
    let sum = f32x4.splat(0);
    let square = f32x4.splat(0);
    for (let at = group + half; at < end; at += stride) {
      const x = v128.load(at);
      const magnitude = f32x4.abs(x);
      largest = f32x4.max(largest, magnitude);
      sum = f32x4.add(sum, magnitude);
      square = f32x4.add(square, f32x4.mul(x, x));
      v128.store(at, f32x4.mul(x, factor));
    }
    sums = f32x4.max(sums, sum);
    squares = f32x4.max(squares, square);
  }
  store<f32>(bounds, largestOf(largest));
  store<f32>(bounds, largestOf(sums), 4);
  store<f32>(bounds, largestOf(squares), 8);
}

@inline
function largestOf(x: v128): f32 {
  return max(
    max(f32x4.extract_lane(x, 0), f32x4.extract_lane(x, 1)),
    max(f32x4.extract_lane(x, 2), f32x4.extract_lane(x, 3)),
  );
}
