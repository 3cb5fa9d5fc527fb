// Matrix products on the engine's fixed-point grid. Addresses are in bytes.
//
// A product of two fp16 numbers becomes a whole number of units of 2^-16 or vanishes; the q of one result are summed
// exactly. By which rules stands in a mode (shared/grid-constants.ts). Operands are packed (pack.ts): left in groups of 4 rows, right in panels of 8 columns times
// 2^16 with magnitudes, so that each product is exact in fp32. Bounds of group and panel pick the narrowest path that is
// exact for their tile: every path gives the same bits.
//
// Compiled twice: with relaxed SIMD a product and its rounding are one instruction. Whether that rounds the product
// first never matters: it is exact, or so much beyond a tie that a rounding leaves it there.
import { checked } from "./shared/checked";
import {
  BLOCK,
  DROP_EXPONENTS,
  isNothing,
  PLAIN_SUMS,
  RANGE_ANY,
  RANGE_CHANNELS,
  RANGE_FINAL_OLD,
  RANGE_MASK,
  ROUND_AWAY,
} from "./shared/grid-constants";
import { expand, mediumSteps, narrow, useExpansion, zeroSteps } from "./shared/narrow";
import { medium } from "./shared/medium";
import { plain } from "./shared/plain";
import { clear, flush, flushSmall, useConstants } from "./shared/sums";
import { wide } from "./shared/wide";

/** Nothing in the tile can count. */
const ZERO: u32 = 0;
/** Sums in 32 bits. */
const NARROW: u32 = 1;
const MEDIUM: u32 = 2;
const WIDE: u32 = 3;
const PLAIN: u32 = 4;
/** Steps of the depth that all tiles of a task take before the next: an expanded group's share fills half a first cache. */
const CHUNK: u32 = 128;

/** Where this thread puts a tile that the result's edge cuts, 4 rows of 8 numbers. */
let tile: usize = 0;

/** Gives this thread a scratch of 336 bytes and 128 for each step of a chunk. */
export function useScratch(address: usize): void {
  tile = address;
  useConstants(address + 128);
  useExpansion(address + 192);
}

/**
 * Groups [firstGroup, endGroup) of 4 rows times panels [firstPanel, endPanel) of 8 columns by the rules of `mode`;
 * plain sums are of operands without magnitudes. `counters`: multiply-accumulates by path, u64. Until the depth's last
 * chunk the result holds sums.
 */
export function multiply(
  left: usize,
  leftBounds: usize,
  right: usize,
  rightBounds: usize,
  result: usize,
  rows: u32,
  depth: u32,
  columns: u32,
  mode: u32,
  counters: usize,
  firstGroup: u32,
  endGroup: u32,
  firstPanel: u32,
  endPanel: u32,
): void {
  const isPlain = (mode & PLAIN_SUMS) != 0;
  const panelStride: u32 = isPlain ? 5 : 6;
  const stride: usize = <usize>columns << 2;
  const blocks = (depth + BLOCK - 1) / BLOCK;
  const leftBlocks = leftBounds + (<usize>((rows + 3) >> 2) << 4);
  const rightBlocks = rightBounds + (<usize>((columns + 7) >> 3) << 4);
  let zeros: u64 = 0;
  let narrows: u64 = 0;
  let mediums: u64 = 0;
  let wides: u64 = 0;
  let plains: u64 = 0;
  let start: u32 = 0;
  do {
    const steps = min(CHUNK, depth - start);
    const isLast = start + steps == depth;
    const block = start / BLOCK;
    for (let group = firstGroup; group < endGroup; group++) {
      const a = left + (<usize>group * depth << 4);
      const chunkA = a + (<usize>start << 4);
      const x = leftBounds + (<usize>group << 4);
      const blockA = leftBlocks + (<usize>(group * blocks + block) << 2);
      const height = min<u32>(4, rows - (group << 2));
      let isExpanded = false;
      for (let panel = firstPanel; panel < endPanel; panel++) {
        const y = rightBounds + (<usize>panel << 4);
        const total = isPlain ? 0 : largestSum(x, y, depth);
        const path = isPlain ? PLAIN : choose(load<f32>(x), load<f32>(y), total, mode);
        // Only these two go chunk by chunk.
        if (!isLast && path != NARROW && path != PLAIN) continue;
        const b = right + (<usize>panel * depth << panelStride);
        const chunkB = b + (<usize>start << panelStride);
        const width = min<u32>(8, columns - (panel << 3));
        const isWhole = width == 8 && height == 4;
        const target = result + (<usize>group << 2) * stride + (<usize>panel << 5);
        const out = isWhole ? target : tile;
        const step: usize = isWhole ? stride : 32;
        const each = <u64>height * width;
        if (start == 0 || path == ZERO) clear(out, step);
        else if (!isWhole) move(tile, 32, target, stride, height, width);
        if (path == NARROW) {
          if (!isExpanded) expand(chunkA, steps, mode);
          isExpanded = true;
          const blockB = rightBlocks + (<usize>(panel * blocks + block) << 2);
          narrow(chunkB, steps, blockA, blockB, out, step, mode);
          zeros += each * zeroSteps;
          mediums += each * mediumSteps;
          narrows += each * (steps - zeroSteps - mediumSteps);
          if (isLast) {
            if (total < 255) flushSmall(out, step, mode);
            else flush(out, step, mode);
          }
        } else if (path == PLAIN) {
          plain(chunkA, chunkB, steps, out, step, isLast);
          plains += each * steps;
        } else if (path == MEDIUM) {
          if (mode & DROP_EXPONENTS) {
            checked(a, b, depth, out, step, mode);
            checked(a, b + 16, depth, out + 16, step, mode);
          } else {
            medium(a, b, depth, out, step, mode);
            medium(a, b + 16, depth, out + 16, step, mode);
          }
          mediums += each * depth;
        } else if (path == WIDE) {
          wide(a, b, depth, out, step, mode);
          wides += each * depth;
        } else zeros += each * depth;
        if (!isWhole) move(target, stride, tile, 32, height, width);
      }
    }
    start += steps;
  } while (start < depth);
  count(counters, ZERO, zeros);
  count(counters, NARROW, narrows);
  count(counters, MEDIUM, mediums);
  count(counters, WIDE, wides);
  count(counters, PLAIN, plains);
}

function move(
  to: usize,
  toStep: usize,
  from: usize,
  fromStep: usize,
  height: u32,
  width: u32,
): void {
  for (let row: u32 = 0; row < height; row++) {
    memory.copy(to, from, width << 2);
    to += toStep;
    from += fromStep;
  }
}

function count(counters: usize, path: u32, products: u64): void {
  if (products > 0) atomic.add<u64>(counters + (<usize>path << 3), products);
}

/** No sum of magnitudes of products of a group and a panel is larger. */
@inline
function largestSum(left: usize, right: usize, depth: u32): f64 {
  const sums = min(
    <f64>load<f32>(left) * <f64>load<f32>(right, 4),
    <f64>load<f32>(left, 4) * <f64>load<f32>(right),
  );
  const norms = <f64>load<f32>(left, 8) * <f64>load<f32>(right, 8);
  // The sums were made in fp32, and each rounding to the grid adds half a unit at most.
  return min(sums, norms) * (1.0 + <f64>(depth + 2) * 2.4e-7) + <f64>depth * 7.7e-6;
}

/**
 * The narrowest exact path for a tile by its largest product and sum. Larger sums have fast paths for the two sets of
 * rules alone: by size, to even, final sums; and by exponents, away from zero, sums on the way.
 */
@inline
function choose(left: f32, right: f32, total: f64, mode: u32): u32 {
  const product = left * right;
  if (product < 131072) {
    const range = mode & RANGE_MASK;
    // Sums that cannot be infinite by any rule; the old ceiling is 32758.8.
    const most: f64 = range == RANGE_FINAL_OLD ? 32758 : 32767;
    if (total < most) return isNothing(left, right, mode) ? ZERO : NARROW;
    if ((mode & (DROP_EXPONENTS | ROUND_AWAY)) == 0) {
      if (range == RANGE_FINAL_OLD && total < 67108864) return MEDIUM;
    } else if ((mode & DROP_EXPONENTS) != 0 && (mode & ROUND_AWAY) != 0) {
      const isChecked = range == RANGE_CHANNELS || range == RANGE_ANY;
      if (isChecked && product < 32768) return MEDIUM;
    }
  }
  return WIDE;
}
