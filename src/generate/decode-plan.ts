import type { MilFunction } from "../mil/program.ts";
import { tensorType } from "../mil/types.ts";
import { PlanWeights } from "../model/index.ts";
import type { Model, StageInstance } from "../model/index.ts";
import { optimize as runPasses } from "../passes/pipeline.ts";
import { PlanBuilder } from "../plan/builder.ts";
import type { BindingInput } from "../plan/builder.ts";
import type { Plan } from "../plan/plan.ts";

/** Positions a cache holds, smallest first: 64, 128, ... up to the model's context. */
export function cacheBuckets(contextLength: number): readonly number[] {
  const buckets: number[] = [];
  for (let length = SMALLEST_BUCKET; length < contextLength; length *= 2) buckets.push(length);
  return [...buckets, contextLength];
}

const SMALLEST_BUCKET = 64;

/** The smallest power of two that holds so many sequences. */
export function batchBucketFor(sequenceCount: number): number {
  return 2 ** Math.ceil(Math.log2(sequenceCount));
}

/** The smallest bucket that holds `length` positions; the largest one where none does. */
export function bucketFor(length: number, contextLength: number): number {
  return cacheBuckets(contextLength).find((bucket) => bucket >= length) ?? contextLength;
}

/** Sections of a decoding plan: rows of a prompt at once, few or very many of them (not in every plan), or one row. */
export type DecodeSection = "prefill" | "short_prefill" | "long_prefill" | "decode";

export interface DecodePlanOptions {
  readonly model: Model;
  /** Positions a cache holds, T. */
  readonly bucket: number;
  /** Sequences that a run of `decode` continues by a row each, B. Default 1. */
  readonly batchSize?: number;
  /** Rows that a run of `prefill` takes, R. Without it there is no such section, nor in plans of several sequences. */
  readonly prefillRowCount?: number;
  /** Rows that a run of `short_prefill` takes. Without it there is no such section, nor with `everyRow`. */
  readonly shortRowCount?: number;
  /** Rows that a run of `long_prefill` takes, with the same exceptions. */
  readonly longRowCount?: number;
  /** Gives the logits of every row of `prefill`, [R, V], of a single sequence; then there is no other section. */
  readonly everyRow?: boolean;
  /** Default: the passes of passes/pipeline.ts. */
  readonly optimize?: (fn: MilFunction) => MilFunction;
}

/** Names of a decoding plan's host-visible buffers. */
export const decodeBuffers = {
  /** fp32 [B, T], added to the scores of cached positions: 0 where there is a row, else very negative. */
  mask: "cache_mask",
  /** fp32 [B, V]: of the row that `row` names, or of every sequence; [R, V] of every row. */
  logits: "next_logits",
  /** fp32 [B, Hkv, T, D]; the host writes new rows into them. */
  keyCache: (layer: number) => `key_cache.${layer}`,
  valueCache: (layer: number) => `value_cache.${layer}`,
  /** int32 [R]. */
  tokens: (section: DecodeSection) => `${section}_tokens`,
  /** int32 [R], where positions are learned. */
  positions: (section: DecodeSection) => `${section}_position_ids`,
  /** fp32 [R, D], where positions are rotary; `prefix`: of the rope (`Model.ropes`). */
  cosines: (section: DecodeSection, prefix = "") => `${section}_${prefix}cosines`,
  signedSines: (section: DecodeSection, prefix = "") => `${section}_${prefix}signed_sines`,
  /** fp32 [B, R, T], in the mask's place where layers have a sliding window: each row sees its own. */
  windowMask: (section: DecodeSection) => `${section}_window_mask`,
  /** int32 [1]: the row whose logits are wanted, of a single sequence. */
  row: (section: DecodeSection) => `${section}_row`,
  /** fp32 [B, Hkv, R, D]: what the host copies into the caches. R counts a sequence's rows, here and above. */
  newKeys: (section: DecodeSection, layer: number) => `${section}_new_keys.${layer}`,
  newValues: (section: DecodeSection, layer: number) => `${section}_new_values.${layer}`,
} as const;

/**
 * Decoding with caches of keys and values of `bucket` positions, one a sequence. Programs are static: the host writes tokens,
 * positions and the mask, runs a section, and copies the new rows into the caches. Weight buffers have the names
 * of the training plan's, so that both may share them.
 */
export function buildDecodePlan(options: DecodePlanOptions): Plan {
  const { model, bucket, batchSize = 1, everyRow = false } = options;
  const { prefillRowCount, shortRowCount, longRowCount } = options;
  const { config, parameters } = model;
  const isSingle = batchSize === 1;
  const plan = new PlanBuilder(
    `${everyRow ? "score" : "decode"} ${config.family}${isSingle ? "" : ` B${batchSize}`} T${bucket}`,
  );
  const weights = PlanWeights.declare(plan, parameters);
  const mask = tensorType("fp32", isSingle ? [bucket] : [batchSize, bucket]);
  plan.buffer(decodeBuffers.mask, mask, "input");
  const logitsRowCount = everyRow ? (prefillRowCount ?? batchSize) : batchSize;
  const logits = tensorType("fp32", [logitsRowCount, config.vocabularySize]);
  plan.buffer(decodeBuffers.logits, logits, "output");
  const cache = tensorType("fp32", [batchSize, config.keyValueHeadCount, bucket, config.headSize]);
  parameters.blocks.forEach((_, layer) => {
    plan.buffer(decodeBuffers.keyCache(layer), cache, "state");
    plan.buffer(decodeBuffers.valueCache(layer), cache, "state");
  });
  if (isSingle && prefillRowCount !== undefined)
    addSection(plan, weights, options, "prefill", prefillRowCount);
  if (isSingle && !everyRow && shortRowCount !== undefined)
    addSection(plan, weights, options, "short_prefill", shortRowCount);
  if (isSingle && !everyRow && longRowCount !== undefined)
    addSection(plan, weights, options, "long_prefill", longRowCount);
  if (!everyRow) addSection(plan, weights, options, "decode", 1);
  return plan.finish();
}

/** A plan without programs that owns a model's weights; decoding plans of all buckets share them. */
export function buildWeightsPlan(model: Model): Plan {
  const plan = new PlanBuilder(`weights ${model.config.family}`);
  PlanWeights.declare(plan, model.parameters);
  return plan.finish();
}

interface CachedBlock {
  /** Of its program. */
  readonly name: string;
  readonly inputs: ReadonlySet<string>;
}

function addSection(
  plan: PlanBuilder,
  weights: PlanWeights,
  { model, bucket, batchSize = 1, everyRow = false, optimize = runPasses }: DecodePlanOptions,
  section: DecodeSection,
  rowCount: number,
): void {
  const { config, functions, parameters, positions } = model;
  const allRowCount = batchSize * rowCount;
  const rows = { rowCount: allRowCount, dataType: "fp32" } as const;
  const hiddenType = tensorType("fp32", [allRowCount, config.channelCount]);
  const hidden = parameters.stages
    .slice(0, -1)
    .map((_, layer) => plan.buffer(`${section}_hidden.${layer}`, hiddenType, "activation"));
  const hiddenAt = (layer: number): string => hidden[layer] ?? "";
  const weightInputs = (stage: StageInstance): Record<string, BindingInput> =>
    weights.inputs(stage, { section, use: stage.kind });
  const input = (name: string, dataType: "int32" | "fp32", shape: readonly number[]): string =>
    plan.buffer(name, tensorType(dataType, shape), "input");

  plan.program(`${section}_embed`, optimize(functions.cachedEmbed(rows)));
  const blocks = new Map<string | undefined, CachedBlock>();
  for (const { variant } of parameters.blocks) {
    if (blocks.has(variant)) continue;
    const fn = functions.cachedBlock({
      ...{ dataType: "fp32", batchSize, rowCount, cacheLength: bucket, variant },
    });
    const name = `${section}_block${variant === undefined ? "" : `_${variant}`}`;
    plan.program(name, optimize(fn));
    blocks.set(variant, { name, inputs: new Set(fn.inputs.map((input) => input.name)) });
  }
  const isOneRow = batchSize === 1 && !everyRow;
  const logitsOf = isOneRow ? functions.logits : functions.everyLogits;
  plan.program(`${section}_logits`, optimize(logitsOf(rows)));

  const tokens = input(decodeBuffers.tokens(section), "int32", [allRowCount]);
  const ids: Record<string, BindingInput> = {};
  /** What blocks read beside rows, caches and weights; each takes what it has inputs for. */
  const shared: Record<string, BindingInput> = { mask: decodeBuffers.mask };
  switch (positions) {
    case "learned":
      ids["position_ids"] = input(decodeBuffers.positions(section), "int32", [allRowCount]);
      break;
    case "rope": {
      const table = [allRowCount, config.headSize];
      for (const { prefix } of model.ropes) {
        const { cosines, signedSines } = decodeBuffers;
        shared[`${prefix}cosines`] = input(cosines(section, prefix), "fp32", table);
        shared[`${prefix}signed_sines`] = input(signedSines(section, prefix), "fp32", table);
      }
      break;
    }
  }
  if ([...blocks.values()].some(({ inputs }) => inputs.has("window_mask"))) {
    const name = decodeBuffers.windowMask(section);
    const sequences = batchSize === 1 ? [] : [batchSize];
    shared["window_mask"] = input(name, "fp32", [...sequences, rowCount, bucket]);
  }
  plan.dispatch(
    section,
    `${section} embed`,
    `${section}_embed`,
    { tokens, ...ids, ...weightInputs(parameters.embed) },
    { hidden: hiddenAt(0) },
  );
  const { keyValueHeadCount, headSize } = config;
  const rowType = tensorType("fp32", [batchSize, keyValueHeadCount, rowCount, headSize]);
  parameters.blocks.forEach((stage, layer) => {
    const block = blocks.get(stage.variant);
    const read = Object.entries(shared).filter(([name]) => block?.inputs.has(name));
    plan.dispatch(
      section,
      `${section} ${stage.group}`,
      block?.name ?? "",
      {
        hidden: hiddenAt(layer),
        key_cache: decodeBuffers.keyCache(layer),
        value_cache: decodeBuffers.valueCache(layer),
        ...Object.fromEntries(read),
        ...weightInputs(stage),
      },
      {
        hidden_out: hiddenAt(layer + 1),
        new_keys: plan.buffer(decodeBuffers.newKeys(section, layer), rowType, "output"),
        new_values: plan.buffer(decodeBuffers.newValues(section, layer), rowType, "output"),
      },
    );
  });
  const row = isOneRow ? { row: input(decodeBuffers.row(section), "int32", [1]) } : {};
  plan.dispatch(
    section,
    `${section} logits`,
    `${section}_logits`,
    { hidden: hiddenAt(config.layerCount), ...row, ...weightInputs(parameters.head) },
    { logits: decodeBuffers.logits },
  );
}
