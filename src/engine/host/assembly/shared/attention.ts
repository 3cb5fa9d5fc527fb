// Attention of new rows over a cache and over themselves. Only positions that a mask leaves are read.
import { hyperbolicTangents, laneSum, laneSums, powersBelowOne } from "./vectors";

/** A mask below this hides a position: e to this power is 0 beside any score. */
const HIDDEN: f32 = -1e8;

/** What one head of one sequence reads. All dense; byte addresses. */
// @ts-ignore: decorator
@unmanaged
export class AttentionHead {
  /** [G, S, D]. */
  query: usize;
  /** [T, D]. */
  keys: usize;
  values: usize;
  /** [S, D]. */
  ownKeys: usize;
  ownValues: usize;
  /** [T], or [S, T] where `maskStride` is T. */
  mask: usize;
  maskStride: u32;
  /** [S, S], or 0 where every new row sees all of them. */
  ownMask: usize;
  /** [S, .., G, D] with `outStride` numbers between rows. */
  out: usize;
  outStride: u32;
  /** Room for T + S numbers. */
  scores: usize;
  groups: u32;
  rows: u32;
  cached: u32;
  width: u32;
  /** Scores s become cap * tanh(s / cap); 0 leaves them. */
  cap: f32;
}

/** The scores of `count` keys, in fours where they come so. */
// @ts-ignore: decorator
@inline
function scoresOf(query: usize, keys: usize, count: u32, width: u32, scores: usize): void {
  const rowBytes: usize = (<usize>width) << 2;
  let t: u32 = 0;
  for (; t + 4 <= count; t += 4) {
    const k0 = keys + <usize>t * rowBytes;
    const k1 = k0 + rowBytes;
    const k2 = k1 + rowBytes;
    const k3 = k2 + rowBytes;
    let s0 = f32x4.splat(0);
    let s1 = f32x4.splat(0);
    let s2 = f32x4.splat(0);
    let s3 = f32x4.splat(0);
    for (let at: usize = 0; at < rowBytes; at += 16) {
      const a = v128.load(query + at);
      s0 = f32x4.add(s0, f32x4.mul(a, v128.load(k0 + at)));
      s1 = f32x4.add(s1, f32x4.mul(a, v128.load(k1 + at)));
      s2 = f32x4.add(s2, f32x4.mul(a, v128.load(k2 + at)));
      s3 = f32x4.add(s3, f32x4.mul(a, v128.load(k3 + at)));
    }
    v128.store(scores + ((<usize>t) << 2), laneSums(s0, s1, s2, s3));
  }
  for (; t < count; t++) {
    const key = keys + <usize>t * rowBytes;
    let sum = f32x4.splat(0);
    for (let at: usize = 0; at < rowBytes; at += 16)
      sum = f32x4.add(sum, f32x4.mul(v128.load(query + at), v128.load(key + at)));
    store<f32>(scores + ((<usize>t) << 2), laneSum(sum));
  }
}

/** cap * tanh(score / cap) where there is a cap, plus a mask where there is one. */
// @ts-ignore: decorator
@inline
function ruled(scores: usize, count: u32, cap: f32, mask: usize): void {
  const bytes: usize = (<usize>count) << 2;
  if (cap != 0) {
    const inverse = f32x4.splat(1 / cap);
    for (let at: usize = 0; at < bytes; at += 4) {
      const score = f32x4.splat(load<f32>(scores + at));
      const curve = hyperbolicTangents(f32x4.mul(score, inverse));
      store<f32>(scores + at, f32x4.extract_lane(curve, 0) * cap);
    }
  }
  if (mask == 0) return;
  const whole: usize = bytes & ~(<usize>15);
  let at: usize = 0;
  for (; at < whole; at += 16)
    v128.store(scores + at, f32x4.add(v128.load(scores + at), v128.load(mask + at)));
  for (; at < bytes; at += 4)
    store<f32>(scores + at, load<f32>(scores + at) + load<f32>(mask + at));
}

/** Sum of `weights` times rows of `values`, added to `out` [width]. */
// @ts-ignore: decorator
@inline
function mix(weights: usize, values: usize, count: u32, width: u32, out: usize): void {
  const rowBytes: usize = (<usize>width) << 2;
  let at: usize = 0;
  for (; at + 64 <= rowBytes; at += 64) {
    let s0 = v128.load(out + at);
    let s1 = v128.load(out + at, 16);
    let s2 = v128.load(out + at, 32);
    let s3 = v128.load(out + at, 48);
    let row = values + at;
    for (let t: u32 = 0; t < count; t++) {
      const weight = v128.load32_splat(weights + ((<usize>t) << 2));
      s0 = f32x4.add(s0, f32x4.mul(weight, v128.load(row)));
      s1 = f32x4.add(s1, f32x4.mul(weight, v128.load(row, 16)));
      s2 = f32x4.add(s2, f32x4.mul(weight, v128.load(row, 32)));
      s3 = f32x4.add(s3, f32x4.mul(weight, v128.load(row, 48)));
      row += rowBytes;
    }
    v128.store(out + at, s0);
    v128.store(out + at, s1, 16);
    v128.store(out + at, s2, 32);
    v128.store(out + at, s3, 48);
  }
  // Four sums in turn: each alone would wait for the one before.
  const fours = count & ~3;
  for (; at < rowBytes; at += 16) {
    let s0 = v128.load(out + at);
    let s1 = f32x4.splat(0);
    let s2 = f32x4.splat(0);
    let s3 = f32x4.splat(0);
    let row = values + at;
    let weight = weights;
    let t: u32 = 0;
    for (; t < fours; t += 4) {
      s0 = f32x4.add(s0, f32x4.mul(v128.load32_splat(weight), v128.load(row)));
      row += rowBytes;
      s1 = f32x4.add(s1, f32x4.mul(v128.load32_splat(weight, 4), v128.load(row)));
      row += rowBytes;
      s2 = f32x4.add(s2, f32x4.mul(v128.load32_splat(weight, 8), v128.load(row)));
      row += rowBytes;
      s3 = f32x4.add(s3, f32x4.mul(v128.load32_splat(weight, 12), v128.load(row)));
      row += rowBytes;
      weight += 16;
    }
    for (; t < count; t++) {
      s0 = f32x4.add(s0, f32x4.mul(v128.load32_splat(weight), v128.load(row)));
      row += rowBytes;
      weight += 4;
    }
    v128.store(out + at, f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)));
  }
}

/** softmax(query keys^T + mask) values over cached and own rows, of every query of a head. D is a multiple of 4. */
export function attendHead(head: AttentionHead): void {
  const rowBytes: usize = (<usize>head.width) << 2;
  const scores = head.scores;
  for (let s: u32 = 0; s < head.rows; s++) {
    const mask = head.mask + ((<usize>(s * head.maskStride)) << 2);
    let first: u32 = 0;
    let last = head.cached;
    while (first < last && load<f32>(mask + ((<usize>first) << 2)) < HIDDEN) first++;
    while (last > first && load<f32>(mask + ((<usize>(last - 1)) << 2)) < HIDDEN) last--;
    const cached = last - first;
    const ownMask: usize = head.ownMask == 0 ? 0 : head.ownMask + ((<usize>(s * head.rows)) << 2);
    const own = scores + ((<usize>cached) << 2);
    const count = cached + head.rows;
    const keys = head.keys + <usize>first * rowBytes;
    for (let g: u32 = 0; g < head.groups; g++) {
      const query = head.query + <usize>(g * head.rows + s) * rowBytes;
      scoresOf(query, keys, cached, head.width, scores);
      ruled(scores, cached, head.cap, mask + ((<usize>first) << 2));
      scoresOf(query, head.ownKeys, head.rows, head.width, own);
      ruled(own, head.rows, head.cap, ownMask);
      const fours: usize = (<usize>count << 2) & ~(<usize>15);
      const bytes: usize = <usize>count << 2;
      // A score that is no number is left out here, and comes out of its own power.
      let peaks = f32x4.splat(load<f32>(scores));
      for (let at: usize = 0; at < fours; at += 16)
        peaks = f32x4.pmax(peaks, v128.load(scores + at));
      let highest = max(
        max(f32x4.extract_lane(peaks, 0), f32x4.extract_lane(peaks, 1)),
        max(f32x4.extract_lane(peaks, 2), f32x4.extract_lane(peaks, 3)),
      );
      for (let at = fours; at < bytes; at += 4) highest = max(highest, load<f32>(scores + at));
      const highests = f32x4.splat(highest);
      let sums = f32x4.splat(0);
      let at: usize = 0;
      for (; at < fours; at += 16) {
        const powers = powersBelowOne(f32x4.sub(v128.load(scores + at), highests));
        sums = f32x4.add(sums, powers);
        v128.store(scores + at, powers);
      }
      let sum = laneSum(sums);
      for (; at < bytes; at += 4) {
        const power = powersBelowOne(f32x4.sub(f32x4.splat(load<f32>(scores + at)), highests));
        store<f32>(scores + at, f32x4.extract_lane(power, 0));
        sum += f32x4.extract_lane(power, 0);
      }
      const out = head.out + ((<usize>(s * head.outStride)) << 2) + <usize>g * rowBytes;
      memory.fill(out, 0, rowBytes);
      mix(scores, head.values + <usize>first * rowBytes, cached, head.width, out);
      mix(own, head.ownValues, head.rows, head.width, out);
      const inverse = f32x4.splat(1 / sum);
      for (let at: usize = 0; at < rowBytes; at += 16)
        v128.store(out + at, f32x4.mul(v128.load(out + at), inverse));
    }
  }
}
