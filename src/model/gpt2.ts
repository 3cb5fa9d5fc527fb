import type { MilFunction, Value } from "../mil/program.ts";
import { causalAttention, packedMask } from "./attention.ts";
import type { AttentionSizes } from "./attention.ts";
import { cachedInputs, finishCached } from "./cached-stage.ts";
import type { Gpt2Config } from "./config.ts";
import { ModelError } from "./errors.ts";
import type { BatchSizes, CachedSizes, Family, RowSizes } from "./family.ts";
import { headStages } from "./head-stages.ts";
import { activated, layerNorm, linear, transposedLinear } from "./layers.ts";
import { packingFunction } from "./packing.ts";
import { StageBuilder } from "./stage-builder.ts";
import { borrowed, linearWeights, matrixWeight, ONES, vectorWeight, ZEROS } from "./weights.ts";
import type { Initialisation, WeightSpec } from "./weights.ts";

function normal(standardDeviation: number): Initialisation {
  return { kind: "normal", standardDeviation };
}

function tableOf(config: Gpt2Config): Initialisation {
  return normal(config.initializerRange);
}

function embedWeights(config: Gpt2Config): readonly WeightSpec[] {
  const { vocabularySize, contextLength, channelCount } = config;
  return [
    matrixWeight("transformer.", "wte.weight", [vocabularySize, channelCount], tableOf(config)),
    matrixWeight("transformer.", "wpe.weight", [contextLength, channelCount], tableOf(config)),
  ];
}

function blockWeights(config: Gpt2Config, layer: number): readonly WeightSpec[] {
  const prefix = `transformer.h.${layer}.`;
  const { channelCount: C, feedForwardSize: F, layerCount, initializerRange: deviation } = config;
  // Projections into the residual start smaller, so that its variance does not grow with depth.
  const residual = deviation / Math.sqrt(2 * layerCount);
  const norm = (name: string): readonly WeightSpec[] => [
    vectorWeight(prefix, `${name}.weight`, C, ONES),
    vectorWeight(prefix, `${name}.bias`, C, ZEROS),
  ];
  return [
    ...norm("ln_1"),
    ...linearWeights(prefix, "attn.c_attn", [C, 3 * C], 3 * C, normal(deviation)),
    ...linearWeights(prefix, "attn.c_proj", [C, C], C, normal(residual)),
    ...norm("ln_2"),
    ...linearWeights(prefix, "mlp.c_fc", [C, F], F, normal(deviation)),
    ...linearWeights(prefix, "mlp.c_proj", [F, C], C, normal(residual)),
  ];
}

function headWeights(config: Gpt2Config): readonly WeightSpec[] {
  const { vocabularySize, channelCount } = config;
  const shape = [vocabularySize, channelCount] as const;
  const table = tableOf(config);
  return [
    vectorWeight("transformer.", "ln_f.weight", channelCount, ONES),
    vectorWeight("transformer.", "ln_f.bias", channelCount, ZEROS),
    config.tiedHead
      ? borrowed(matrixWeight("transformer.", "wte.weight", shape, table), "lm_head_weight")
      : matrixWeight("", "lm_head.weight", shape, table),
  ];
}

/** The positions' table comes as its first S rows. */
function embed(config: Gpt2Config, sizes: BatchSizes): MilFunction {
  const { batchSize: B, sequenceLength: S } = sizes;
  const C = config.channelCount;
  const stage = new StageBuilder("embed", embedWeights(config), sizes.dataType);
  const tokens = stage.input("tokens", [B, S], "int32");
  const positions =
    sizes.isPacked === true ? stage.input("position_ids", [B, S], "int32") : undefined;
  stage.declareWeights({ wpe_weight: [S, C] });
  const rows = stage.op("gather", { x: stage.weight("wte_weight"), indices: tokens, axis: 0 });
  const table = stage.weight("wpe_weight");
  const places =
    positions === undefined ? table : stage.op("gather", { x: table, indices: positions, axis: 0 });
  const placed = stage.op("add", { x: rows, y: places });
  return stage.finish({ hidden: stage.op("reshape", { x: placed, shape: [B * S, C] }) });
}

function cachedEmbed(config: Gpt2Config, sizes: RowSizes): MilFunction {
  const stage = new StageBuilder("cached_embed", embedWeights(config), sizes.dataType);
  const tokens = stage.input("tokens", [sizes.rowCount], "int32");
  const positions = stage.input("position_ids", [sizes.rowCount], "int32");
  stage.declareWeights();
  const rows = stage.op("gather", { x: stage.weight("wte_weight"), indices: tokens, axis: 0 });
  const places = stage.op("gather", {
    x: stage.weight("wpe_weight"),
    indices: positions,
    axis: 0,
  });
  return stage.finish({ hidden: stage.op("add", { x: rows, y: places }) });
}

/** Queries (times the scores' factor), keys and values of rows [B*S, C], each [B, H, S, D]. */
function project(
  stage: StageBuilder,
  rows: Value,
  sizes: AttentionSizes,
  scoreScale: number,
): readonly [Value, Value, Value] {
  const { batchSize: B, rowCount: S, headCount: H, headSize: D } = sizes;
  const together = transposedLinear(stage, rows, "attn_c_attn");
  const rowHeads = stage.op("reshape", { x: together, shape: [B, S, 3, H, D] }, "qkv_rows");
  const apart = stage.op("transpose", { x: rowHeads, perm: [2, 0, 3, 1, 4] }, "qkv_heads");
  const parts = stage.many("split", { x: apart, num_splits: 3, axis: 0 }, "qkv");
  const shape = [B, H, S, D];
  const [query, key, value] = parts.map((x, index) =>
    stage.op("reshape", { x, shape }, ["query", "key", "value"][index]),
  );
  if (query === undefined || key === undefined || value === undefined)
    throw new ModelError("model.stage.results", "split into 3 must have three results");
  return [stage.op("mul", { x: query, y: scoreScale }, "scaled_query"), key, value];
}

function finishBlock(stage: StageBuilder, config: Gpt2Config, hidden: Value, mixed: Value): Value {
  const attention = transposedLinear(stage, mixed, "attn_c_proj");
  const attended = stage.op("add", { x: hidden, y: attention }, "attended");
  const rows = layerNorm(stage, attended, "ln_2", config.normEpsilon);
  const kind = config.activation === "gelu_new" ? "gelu_tanh" : config.activation;
  const inner = activated(stage, transposedLinear(stage, rows, "mlp_c_fc"), kind, "mlp_inner");
  return stage.op("add", { x: attended, y: transposedLinear(stage, inner, "mlp_c_proj") });
}

function attentionSizes(config: Gpt2Config, batchSize: number, rowCount: number): AttentionSizes {
  const { headCount, headSize } = config;
  return { batchSize, rowCount, headCount, keyValueHeadCount: headCount, headSize };
}

/** Layers differ in more than their weights only where each divides its scores by its own number. */
function blockVariants({ layerCount, dividesScoresByLayer }: Gpt2Config): readonly string[] {
  return dividesScoresByLayer === true
    ? Array.from({ length: layerCount }, (_, layer) => `layer_${layer}`)
    : [];
}

function scoreScaleOf(config: Gpt2Config, variant: string | undefined): number {
  const byHead = config.hasUnscaledScores === true ? 1 : 1 / Math.sqrt(config.headSize);
  const layer = Number(variant?.slice("layer_".length) ?? 0);
  return config.dividesScoresByLayer === true ? byHead / (layer + 1) : byHead;
}

function block(config: Gpt2Config, sizes: BatchSizes): MilFunction {
  const { batchSize, sequenceLength } = sizes;
  const stage = new StageBuilder("block", blockWeights(config, 0), sizes.dataType);
  const hidden = stage.input("hidden", [batchSize * sequenceLength, config.channelCount]);
  const shape = attentionSizes(config, batchSize, sequenceLength);
  const mask = sizes.isPacked === true ? packedMask(stage, shape) : undefined;
  stage.declareWeights();
  const rows = layerNorm(stage, hidden, "ln_1", config.normEpsilon);
  const mixed = causalAttention(
    stage,
    ...project(stage, rows, shape, scoreScaleOf(config, sizes.variant)),
    shape,
    mask,
    { blockRows: sizes.attentionBlockRows },
  );
  return stage.finish({ hidden_out: finishBlock(stage, config, hidden, mixed) });
}

function cachedBlock(config: Gpt2Config, sizes: CachedSizes): MilFunction {
  const { batchSize = 1, rowCount, isJoined } = sizes;
  const stage = new StageBuilder("cached_block", blockWeights(config, 0), sizes.dataType);
  const shape = attentionSizes(config, batchSize, rowCount);
  const mask = { maskName: "attention_mask" };
  const given = cachedInputs(stage, sizes, config.channelCount, shape, mask);
  stage.declareWeights();
  const rows = layerNorm(stage, given.hidden, "ln_1", config.normEpsilon);
  const projected = project(stage, rows, shape, scoreScaleOf(config, sizes.variant));
  return finishCached(stage, given, projected, { isJoined }, (mixed) =>
    finishBlock(stage, config, given.hidden, mixed),
  );
}

const HEAD_STAGES = headStages(headWeights, (stage, config, hidden) =>
  linear(stage, layerNorm(stage, hidden, "ln_f", config.normEpsilon), "lm_head"),
);

/** GPT-2: LayerNorm, learned positions, one matrix for queries, keys and values stored [in, out], GELU. */
export const GPT2: Family<Gpt2Config> = {
  positions: "learned",
  ropes: () => [],
  blockVariants,
  embeddingScale: () => 1,
  packing: (_, sizes) => packingFunction(sizes),
  embedWeights,
  blockWeights,
  headWeights,
  embed,
  block,
  ...HEAD_STAGES,
  cachedEmbed,
  cachedBlock,
};
