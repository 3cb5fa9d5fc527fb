import type { Value } from "../mil/program.ts";
import type { StageBuilder } from "./stage-builder.ts";

/** Sizes of one attention: B sequences of S rows, H query heads in Hkv groups of G, D channels a head. */
export interface AttentionSizes {
  readonly batchSize: number;
  readonly rowCount: number;
  readonly headCount: number;
  readonly keyValueHeadCount: number;
  readonly headSize: number;
}

/** What is added to a score that must not be seen: large, and still a number in the element type. */
export function maskedScore(dataType: "fp32" | "fp16"): number {
  return dataType === "fp32" ? -1e9 : -30_000;
}

/** Query heads that share one head of keys and values, G. */
export function groupSize(sizes: AttentionSizes): number {
  return sizes.headCount / sizes.keyValueHeadCount;
}

/**
 * Rows [B*S, H*D] as heads in front of positions. With groups the result is [B, Hkv, G, S, D], so that
 * keys and values are never repeated; without, or for keys and values, [B, heads, S, D].
 */
export function splitHeads(
  stage: StageBuilder,
  x: Value,
  sizes: AttentionSizes,
  kind: "query" | "key" | "value",
): Value {
  const { batchSize: B, rowCount: S, keyValueHeadCount: kv, headSize: D } = sizes;
  const group = groupSize(sizes);
  if (kind === "query" && group > 1) {
    const heads = stage.op("reshape", { x, shape: [B, S, kv, group, D] }, `${kind}_rows`);
    return stage.op("transpose", { x: heads, perm: [0, 2, 3, 1, 4] }, `${kind}_heads`);
  }
  const heads = stage.op("reshape", { x, shape: [B, S, kv, D] }, `${kind}_rows`);
  return stage.op("transpose", { x: heads, perm: [0, 2, 1, 3] }, `${kind}_heads`);
}

/** The inverse for queries: [B, Hkv, G*S, D] to rows [B*S, H*D]. */
export function mergeHeads(stage: StageBuilder, x: Value, sizes: AttentionSizes): Value {
  const { batchSize: B, rowCount: S, headCount, keyValueHeadCount: kv, headSize: D } = sizes;
  const group = groupSize(sizes);
  const shape = [B * S, headCount * D];
  if (group === 1) {
    const rows = stage.op("transpose", { x, perm: [0, 2, 1, 3] }, "mixed_rows");
    return stage.op("reshape", { x: rows, shape }, "mixed");
  }
  const heads = stage.op("reshape", { x, shape: [B, kv, group, S, D] }, "mixed_groups");
  const rows = stage.op("transpose", { x: heads, perm: [0, 3, 1, 2, 4] }, "mixed_rows");
  return stage.op("reshape", { x: rows, shape }, "mixed");
}

/** Queries of a group stand one below the other: [B, Hkv, G, S, D] to [B, Hkv, G*S, D]. */
function foldGroups(stage: StageBuilder, query: Value, sizes: AttentionSizes): Value {
  const group = groupSize(sizes);
  if (group === 1) return query;
  const { batchSize: B, rowCount: S, keyValueHeadCount: kv, headSize: D } = sizes;
  return stage.op("reshape", { x: query, shape: [B, kv, group * S, D] });
}

/** Scores [B, Hkv, G*S, T] with the group as an axis of its own, so that a mask [S, T] broadcasts. */
function unfoldScores(
  stage: StageBuilder,
  scores: Value,
  sizes: AttentionSizes,
  columns: number,
): Value {
  const group = groupSize(sizes);
  if (group === 1) return scores;
  const { batchSize: B, rowCount: S, keyValueHeadCount: kv } = sizes;
  return stage.op("reshape", { x: scores, shape: [B, kv, group, S, columns] });
}

function foldScores(
  stage: StageBuilder,
  scores: Value,
  sizes: AttentionSizes,
  columns: number,
): Value {
  const group = groupSize(sizes);
  if (group === 1) return scores;
  const { batchSize: B, rowCount: S, keyValueHeadCount: kv } = sizes;
  return stage.op("reshape", { x: scores, shape: [B, kv, group * S, columns] });
}

/** Rows `first` to `end`, which see columns from `start` on: a part of attention's square. */
interface SquareBlock {
  readonly first: number;
  readonly end: number;
  readonly start: number;
}

/** The square in blocks of rows, each with the columns that some of its rows see; one block where rows are not cut. */
function squareBlocks(rowCount: number, blockRows = rowCount, window = rowCount): SquareBlock[] {
  const blocks: SquareBlock[] = [];
  for (let first = 0; first < rowCount; first += blockRows) {
    const end = Math.min(rowCount, first + blockRows);
    blocks.push({ first, end, start: Math.max(0, first - window + 1) });
  }
  return blocks;
}

/** [S, S]: 0 where row i may see column j: those up to itself, the last `window` of them where that is given. */
export function causalMask(stage: StageBuilder, rowCount: number, window?: number): Value {
  return blockMask(stage, { first: 0, end: rowCount, start: 0 }, window);
}

/** The causal mask of a block, [rows, columns]. */
function blockMask(
  stage: StageBuilder,
  { first, end, start }: SquareBlock,
  window?: number,
): Value {
  const hidden = maskedScore(stage.dataType);
  const columns = end - start;
  const mask = new Float32Array((end - first) * columns);
  for (let row = first; row < end; row++) {
    const at = (row - first) * columns;
    if (window !== undefined) mask.fill(hidden, at, at + Math.max(0, row - window + 1 - start));
    mask.fill(hidden, at + row + 1 - start, at + columns);
  }
  return stage.constant(mask, [end - first, columns], "causal_mask");
}

/** A part of an axis. */
function slice(stage: StageBuilder, x: Value, axis: number, begin: number, end: number): Value {
  const shape = x.type.kind === "tensor" ? x.type.shape.map(Number) : [];
  if (begin === 0 && end === shape[axis]) return x;
  return stage.op("slice_by_index", {
    x,
    begin: shape.map((_, other) => (other === axis ? begin : 0)),
    end: shape.map((size, other) => (other === axis ? end : size)),
  });
}

/** A packed batch's mask [B, S, S] as it is added to scores: with an axis for the heads, and for the group if any. */
export function packedMask(
  stage: StageBuilder,
  sizes: AttentionSizes,
  name = "attention_mask",
): Value {
  const { batchSize: B, rowCount: S } = sizes;
  const x = stage.input(name, [B, S, S]);
  const heads = groupSize(sizes) === 1 ? [1] : [1, 1];
  return stage.op("reshape", { x, shape: [B, ...heads, S, S] });
}

/** What a model's layers do to scores, beyond the causal mask. */
export interface ScoreRules {
  /** Rows a row sees, itself included. Default: all before it. */
  readonly window?: number | undefined;
  /** Scores s become cap * tanh(s / cap). */
  readonly cap?: number | undefined;
}

/** cap * tanh(x / cap). */
export function softCapped(stage: StageBuilder, x: Value, cap: number | undefined): Value {
  if (cap === undefined) return x;
  const curve = stage.op("tanh", { x: stage.op("mul", { x, y: 1 / cap }) });
  return stage.op("mul", { x: curve, y: cap });
}

/** How the work of attention is cut. */
export interface AttentionCut {
  /** Rows of a block, which is multiplied only with the columns that some of them see. Default: all rows. */
  readonly blockRows?: number | undefined;
}

/**
 * Every row attends to itself and the rows before it, or to those that `mask` leaves (as `packedMask` gives it). The
 * query carries the factor 1/sqrt(D).
 * Query as `splitHeads` gives it, key and value [B, Hkv, S, D]; the result is rows [B*S, H*D].
 */
export function causalAttention(
  stage: StageBuilder,
  query: Value,
  key: Value,
  value: Value,
  sizes: AttentionSizes,
  mask?: Value,
  { window, cap, blockRows }: ScoreRules & AttentionCut = {},
): Value {
  const S = sizes.rowCount;
  const blocks = squareBlocks(S, blockRows, window);
  // Of queries and of a packed mask alike.
  const rowAxis = groupSize(sizes) === 1 ? 2 : 3;
  const parts = blocks.map((block) => {
    const { first, end, start } = block;
    const rowSizes = { ...sizes, rowCount: end - first };
    const x = foldGroups(stage, slice(stage, query, rowAxis, first, end), rowSizes);
    const y = slice(stage, key, 2, start, end);
    const products = stage.op("matmul", { x, y, transpose_y: true }, "scores");
    const scores = softCapped(stage, products, cap);
    const visible =
      mask === undefined
        ? blockMask(stage, block, window)
        : slice(stage, slice(stage, mask, rowAxis, first, end), rowAxis + 1, start, end);
    const unfolded = unfoldScores(stage, scores, rowSizes, end - start);
    const masked = stage.op("add", { x: unfolded, y: visible }, "masked_scores");
    const weights = stage.op("softmax", { x: masked, axis: -1 }, "attention");
    const probabilities = foldScores(stage, weights, rowSizes, end - start);
    const seen = slice(stage, value, 2, start, end);
    return stage.op("matmul", { x: probabilities, y: seen }, "mixed_heads");
  });
  return mergeHeads(stage, joinedRows(stage, parts, blocks, sizes), sizes);
}

/** Blocks of mixed rows one below the other, [B, Hkv, G*S, D] each and together. */
function joinedRows(
  stage: StageBuilder,
  parts: readonly Value[],
  blocks: readonly SquareBlock[],
  sizes: AttentionSizes,
): Value {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return only;
  const group = groupSize(sizes);
  const { batchSize: B, rowCount: S, keyValueHeadCount: kv, headSize: D } = sizes;
  if (group === 1) return stage.op("concat", { values: parts, axis: 2 }, "mixed_blocks");
  const values = parts.map((x, index) => {
    const { first, end } = blocks[index] ?? { first: 0, end: S };
    return stage.op("reshape", { x, shape: [B, kv, group, end - first, D] });
  });
  const joined = stage.op("concat", { values, axis: 3 }, "mixed_blocks");
  return stage.op("reshape", { x: joined, shape: [B, kv, group * S, D] });
}

/**
 * Keys and values of earlier positions: [B, Hkv, T, D] each, and a mask that is added to their scores: [T], or [B, T],
 * where all rows see the same, [B, S, T] where each row has a window of its own.
 */
export interface KeyValueCache {
  readonly keys: Value;
  readonly values: Value;
  readonly mask: Value;
  readonly length: number;
}

/**
 * As `causalAttention` over the rows of a cache, T, and new ones [B, Hkv, S, D] behind them, in one tensor each, which it
 * gives too. The cache's mask is [B, S, T + S] here.
 */
export function joinedAttention(
  stage: StageBuilder,
  query: Value,
  key: Value,
  value: Value,
  cache: KeyValueCache,
  sizes: AttentionSizes,
  cap?: number,
): { readonly mixed: Value; readonly keys: Value; readonly values: Value } {
  const T = cache.length + sizes.rowCount;
  const keys = stage.op("concat", { values: [cache.keys, key], axis: 2 }, "keys");
  const values = stage.op("concat", { values: [cache.values, value], axis: 2 }, "values");
  const x = foldGroups(stage, query, sizes);
  const products = stage.op("matmul", { x, y: keys, transpose_y: true }, "scores");
  const scores = unfoldScores(stage, softCapped(stage, products, cap), sizes, T);
  const visible = forEveryHead(stage, cache.mask, sizes, [sizes.rowCount, T]);
  const masked = stage.op("add", { x: scores, y: visible }, "masked_scores");
  const weights = stage.op("softmax", { x: masked, axis: -1 }, "attention");
  const mixed = stage.op("matmul", { x: foldScores(stage, weights, sizes, T), y: values });
  return { mixed: mergeHeads(stage, mixed, sizes), keys, values };
}

/** A value of each sequence [B, ...rest], seen by every head of scores or queries [B, Hkv, (G,) ...rest]. */
export function forEveryHead(
  stage: StageBuilder,
  x: Value,
  sizes: AttentionSizes,
  rest: readonly number[],
  hasGroups = groupSize(sizes) > 1,
): Value {
  if (sizes.batchSize === 1) return x;
  const heads = hasGroups ? [1, 1] : [1];
  return stage.op("reshape", { x, shape: [sizes.batchSize, ...heads, ...rest] });
}

/** As `causalAttention` for sequences whose earlier rows stand in caches. */
export function cachedAttention(
  stage: StageBuilder,
  query: Value,
  key: Value,
  value: Value,
  cache: KeyValueCache,
  sizes: AttentionSizes,
  { window, cap }: ScoreRules = {},
): Value {
  const S = sizes.rowCount;
  const T = cache.length;
  const x = foldGroups(stage, query, sizes);
  const earlier = stage.op("matmul", { x, y: cache.keys, transpose_y: true }, "cached_scores");
  const visible = stage.op("add", {
    x: unfoldScores(stage, softCapped(stage, earlier, cap), sizes, T),
    y: forEveryHead(stage, cache.mask, sizes, [window === undefined ? 1 : S, T]),
  });
  const ownScores = stage.op("matmul", { x, y: key, transpose_y: true }, "own_scores");
  const own = unfoldScores(stage, softCapped(stage, ownScores, cap), sizes, S);
  const ownVisible = S === 1 ? own : stage.op("add", { x: own, y: causalMask(stage, S, window) });
  const axis = groupSize(sizes) === 1 ? 3 : 4;
  const scores = stage.op("concat", { values: [visible, ownVisible], axis });
  const weights = stage.op("softmax", { x: scores, axis: -1 }, "attention");
  const [earlierWeights, ownWeights] = stage.pair("split", {
    x: weights,
    split_sizes: [T, S],
    axis,
  });
  const mixed = stage.op("add", {
    x: stage.op("matmul", { x: foldScores(stage, earlierWeights, sizes, T), y: cache.values }),
    y: stage.op("matmul", { x: foldScores(stage, ownWeights, sizes, S), y: value }),
  });
  return mergeHeads(stage, mixed, sizes);
}
