import type { MilFunction, Value } from "../mil/program.ts";
import { cachedAttention, joinedAttention } from "./attention.ts";
import type { AttentionSizes, KeyValueCache, ScoreRules } from "./attention.ts";
import type { CachedSizes } from "./family.ts";
import type { StageBuilder } from "./stage-builder.ts";

/** Rows of a sequence that goes on, and what stands before them. */
export interface CachedRows {
  /** [B*S, C] */
  readonly hidden: Value;
  readonly cache: KeyValueCache;
  readonly sizes: AttentionSizes;
}

/** Declares what every cached block reads: its rows, keys and values before them, and which of those they see. */
export function cachedInputs(
  stage: StageBuilder,
  { rowCount, cacheLength: length, isJoined = false }: CachedSizes,
  channelCount: number,
  sizes: AttentionSizes,
  { window, maskName }: { readonly window?: number | undefined; readonly maskName: string },
): CachedRows {
  const { batchSize, keyValueHeadCount, headSize } = sizes;
  const hidden = stage.input("hidden", [batchSize * rowCount, channelCount]);
  const shape = [batchSize, keyValueHeadCount, length, headSize];
  const keys = stage.input("key_cache", shape);
  const values = stage.input("value_cache", shape);
  const sequences = batchSize === 1 ? [] : [batchSize];
  const seenByRow = window === undefined ? [] : [rowCount];
  const mask = isJoined
    ? stage.input(maskName, [batchSize, rowCount, length + rowCount])
    : stage.input(window === undefined ? "mask" : "window_mask", [
        ...sequences,
        ...seenByRow,
        length,
      ]);
  return { hidden, cache: { keys, values, mask, length }, sizes };
}

/** Attention of new rows to earlier ones and to each other, and the results of the block that `finishBlock` ends. */
export function finishCached(
  stage: StageBuilder,
  { cache, sizes }: CachedRows,
  [query, key, value]: readonly [query: Value, key: Value, value: Value],
  rules: ScoreRules & { readonly isJoined?: boolean | undefined },
  finishBlock: (mixed: Value) => Value,
): MilFunction {
  if (rules.isJoined === true) {
    const joined = joinedAttention(stage, query, key, value, cache, sizes, rules.cap);
    const { mixed, ...seen } = joined;
    return stage.finish({ hidden_out: finishBlock(mixed), ...seen });
  }
  const mixed = cachedAttention(stage, query, key, value, cache, sizes, rules);
  return stage.finish({ hidden_out: finishBlock(mixed), new_keys: key, new_values: value });
}
