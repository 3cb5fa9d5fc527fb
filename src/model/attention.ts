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

/** [S, S]: 0 where row i may see column j: those up to itself, the last `window` of them where that is given. */
export function causalMask(stage: StageBuilder, rowCount: number, window?: number): Value {
  const hidden = maskedScore(stage.dataType);
  const mask = new Float32Array(rowCount * rowCount);
  for (let row = 0; row < rowCount; row++) {
    const start = row * rowCount;
    if (window !== undefined) mask.fill(hidden, start, start + Math.max(0, row - window + 1));
    mask.fill(hidden, start + row + 1, start + rowCount);
  }
  return stage.constant(mask, [rowCount, rowCount], "causal_mask");
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
  { window, cap }: ScoreRules = {},
): Value {
  const S = sizes.rowCount;
  const x = foldGroups(stage, query, sizes);
  const products = stage.op("matmul", { x, y: key, transpose_y: true }, "scores");
  const scores = softCapped(stage, products, cap);
  const masked = stage.op(
    "add",
    { x: unfoldScores(stage, scores, sizes, S), y: mask ?? causalMask(stage, S, window) },
    "masked_scores",
  );
  const weights = stage.op("softmax", { x: masked, axis: -1 }, "attention");
  const probabilities = foldScores(stage, weights, sizes, S);
  const mixed = stage.op("matmul", { x: probabilities, y: value }, "mixed_heads");
  return mergeHeads(stage, mixed, sizes);
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
