import type { MilFunction, Value } from "../mil/program.ts";
import {
  causalAttention,
  cachedAttention,
  forEveryHead,
  groupSize,
  packedMask,
  splitHeads,
} from "./attention.ts";
import type { AttentionSizes } from "./attention.ts";
import type { CommonConfig, RopeScaling } from "./config.ts";
import { crossEntropySum } from "./cross-entropy.ts";
import type { BatchSizes, CachedSizes, Family, RowSizes } from "./family.ts";
import { linear, rmsNorm } from "./layers.ts";
import { packingFunction } from "./packing.ts";
import type { PACKED_TABLES, PackedTables } from "./packing.ts";
import { ropeTables, rotate } from "./rope.ts";
import { StageBuilder } from "./stage-builder.ts";
import { borrowed, linearWeights, matrixWeight, ONES, vectorWeight } from "./weights.ts";
import type { Initialisation, WeightSpec } from "./weights.ts";

/**
 * The decoder that llama began and qwen3 shares: RMSNorm, rotary positions, grouped-query attention, SwiGLU.
 * The switches are what the two differ in.
 */
export interface DecoderConfig extends CommonConfig {
  readonly ropeTheta: number;
  readonly ropeScaling: RopeScaling;
  readonly attentionBias: boolean;
  readonly feedForwardBias: boolean;
  /** RMSNorm over each head's channels of queries and keys, before the rotation. */
  readonly headNorm: boolean;
  /** Fresh value and output projections are together this many times the identity. */
  readonly attentionCopy?: number;
}

function decoderEmbedWeights(config: DecoderConfig): readonly WeightSpec[] {
  const { vocabularySize, channelCount, initializerRange } = config;
  return [
    matrixWeight("model.", "embed_tokens.weight", [vocabularySize, channelCount], {
      kind: "normal",
      standardDeviation: initializerRange,
    }),
  ];
}

function decoderBlockWeights(config: DecoderConfig, layer: number): readonly WeightSpec[] {
  const prefix = `model.layers.${layer}.`;
  const { channelCount: C, headSize: D, feedForwardSize: F, initializerRange: deviation } = config;
  const queryChannels = config.headCount * D;
  const keyChannels = config.keyValueHeadCount * D;
  const { attentionBias, feedForwardBias } = config;
  const normal: Initialisation = { kind: "normal", standardDeviation: deviation };
  const projection = (
    name: string,
    shape: readonly [number, number],
    bias: boolean,
    initialisation: Initialisation = normal,
  ) => linearWeights(prefix, name, shape, bias ? shape[0] : undefined, initialisation);
  const handedOn: Initialisation =
    config.attentionCopy === undefined
      ? normal
      : { kind: "identity", size: C, scale: Math.sqrt(config.attentionCopy) };
  return [
    vectorWeight(prefix, "input_layernorm.weight", C, ONES),
    ...projection("self_attn.q_proj", [queryChannels, C], attentionBias),
    ...projection("self_attn.k_proj", [keyChannels, C], attentionBias),
    ...projection("self_attn.v_proj", [keyChannels, C], attentionBias, handedOn),
    ...projection("self_attn.o_proj", [C, queryChannels], attentionBias, handedOn),
    ...(config.headNorm
      ? [
          vectorWeight(prefix, "self_attn.q_norm.weight", D, ONES),
          vectorWeight(prefix, "self_attn.k_norm.weight", D, ONES),
        ]
      : []),
    vectorWeight(prefix, "post_attention_layernorm.weight", C, ONES),
    ...projection("mlp.gate_proj", [F, C], feedForwardBias),
    ...projection("mlp.up_proj", [F, C], feedForwardBias),
    ...projection("mlp.down_proj", [C, F], feedForwardBias),
  ];
}

function decoderHeadWeights(config: DecoderConfig): readonly WeightSpec[] {
  const { vocabularySize, channelCount, initializerRange } = config;
  const table: Initialisation = { kind: "normal", standardDeviation: initializerRange };
  const shape = [vocabularySize, channelCount] as const;
  return [
    vectorWeight("model.", "norm.weight", channelCount, ONES),
    config.tiedHead
      ? borrowed(matrixWeight("model.", "embed_tokens.weight", shape, table), "lm_head_weight")
      : matrixWeight("", "lm_head.weight", shape, table),
  ];
}

function decoderEmbed(config: DecoderConfig, sizes: BatchSizes): MilFunction {
  const { batchSize, sequenceLength } = sizes;
  const stage = new StageBuilder("embed", decoderEmbedWeights(config), sizes.dataType);
  const tokens = stage.input("tokens", [batchSize, sequenceLength], "int32");
  stage.declareWeights();
  const ids = stage.op("reshape", { x: tokens, shape: [batchSize * sequenceLength] });
  const hidden = stage.op("gather", {
    x: stage.weight("embed_tokens_weight"),
    indices: ids,
    axis: 0,
  });
  return stage.finish({ hidden });
}

function decoderCachedEmbed(config: DecoderConfig, sizes: RowSizes): MilFunction {
  const stage = new StageBuilder("cached_embed", decoderEmbedWeights(config), sizes.dataType);
  const tokens = stage.input("tokens", [sizes.rowCount], "int32");
  stage.declareWeights();
  const x = stage.weight("embed_tokens_weight");
  return stage.finish({ hidden: stage.op("gather", { x, indices: tokens, axis: 0 }) });
}

interface Projections {
  readonly query: Value;
  readonly key: Value;
  readonly value: Value;
}

/** Queries, keys and values of rows [B*S, C], split into heads, not yet rotated. */
function project(
  stage: StageBuilder,
  config: DecoderConfig,
  rows: Value,
  sizes: AttentionSizes,
): Projections {
  const normalized = (x: Value, layer: string, heads: number): Value => {
    if (!config.headNorm) return x;
    const perHead = stage.op("reshape", {
      x,
      shape: [sizes.batchSize * sizes.rowCount, heads, sizes.headSize],
    });
    return rmsNorm(stage, perHead, layer, config.normEpsilon);
  };
  const query = normalized(
    linear(stage, rows, "self_attn_q_proj"),
    "self_attn_q_norm",
    sizes.headCount,
  );
  const key = normalized(
    linear(stage, rows, "self_attn_k_proj"),
    "self_attn_k_norm",
    sizes.keyValueHeadCount,
  );
  const value = linear(stage, rows, "self_attn_v_proj");
  return {
    query: splitHeads(stage, query, sizes, "query"),
    key: splitHeads(stage, key, sizes, "key"),
    value: splitHeads(stage, value, sizes, "value"),
  };
}

/** The rest of a block after attention: output projection, residual, SwiGLU, residual. */
function finishBlock(
  stage: StageBuilder,
  config: DecoderConfig,
  hidden: Value,
  mixed: Value,
): Value {
  const attention = linear(stage, mixed, "self_attn_o_proj");
  const attended = stage.op("add", { x: hidden, y: attention }, "attended");
  const rows = rmsNorm(stage, attended, "post_attention_layernorm", config.normEpsilon);
  const gate = stage.op("silu", { x: linear(stage, rows, "mlp_gate_proj") }, "mlp_gate");
  const inner = stage.op("mul", { x: gate, y: linear(stage, rows, "mlp_up_proj") }, "mlp_inner");
  return stage.op("add", { x: attended, y: linear(stage, inner, "mlp_down_proj") });
}

function attentionSizes(
  config: DecoderConfig,
  batchSize: number,
  rowCount: number,
): AttentionSizes {
  const { headCount, keyValueHeadCount, headSize } = config;
  return { batchSize, rowCount, headCount, keyValueHeadCount, headSize };
}

interface Tables {
  readonly cosines: Value;
  readonly signedSines: Value;
}

interface RotaryInputs {
  readonly forQuery: Tables;
  readonly forKey: Tables;
  /** Absent where every row is one document. */
  readonly mask?: Value;
}

/** Rotary tables of positions 0 to S - 1; the query's carry the scores' factor 1/sqrt(D). */
function rotaryTables(config: DecoderConfig, sequenceLength: number): PackedTables {
  const query = ropeTables(config, sequenceLength, 0, 1 / Math.sqrt(config.headSize));
  const key = ropeTables(config, sequenceLength);
  return {
    query_cosines: query.cosines,
    query_signed_sines: query.signedSines,
    key_cosines: key.cosines,
    key_signed_sines: key.signedSines,
  };
}

function constantRotary(
  stage: StageBuilder,
  config: DecoderConfig,
  sequenceLength: number,
): RotaryInputs {
  const tables = rotaryTables(config, sequenceLength);
  const shape = [sequenceLength, config.headSize];
  return {
    forQuery: {
      cosines: stage.constant(tables.query_cosines, shape, "query_cosines"),
      signedSines: stage.constant(tables.query_signed_sines, shape, "query_sines"),
    },
    forKey: {
      cosines: stage.constant(tables.key_cosines, shape, "key_cosines"),
      signedSines: stage.constant(tables.key_signed_sines, shape, "key_sines"),
    },
  };
}

/** Mask and rotary tables as a packed batch gives them, with axes for the heads. */
function packedRotary(stage: StageBuilder, sizes: AttentionSizes): RotaryInputs {
  const { batchSize: B, rowCount: S, headSize: D } = sizes;
  const mask = packedMask(stage, sizes);
  const table = (name: (typeof PACKED_TABLES)[number], heads: readonly number[]): Value =>
    stage.op("reshape", { x: stage.input(name, [B, S, D]), shape: [B, ...heads, S, D] });
  const heads = groupSize(sizes) === 1 ? [1] : [1, 1];
  return {
    mask,
    forQuery: {
      cosines: table("query_cosines", heads),
      signedSines: table("query_signed_sines", heads),
    },
    forKey: {
      cosines: table("key_cosines", [1]),
      signedSines: table("key_signed_sines", [1]),
    },
  };
}

function decoderPacking(config: DecoderConfig, sizes: BatchSizes): MilFunction {
  const tables = rotaryTables(config, sizes.sequenceLength);
  return packingFunction(sizes, { headSize: config.headSize, tables });
}

function decoderBlock(config: DecoderConfig, sizes: BatchSizes): MilFunction {
  const { batchSize, sequenceLength } = sizes;
  const stage = new StageBuilder("block", decoderBlockWeights(config, 0), sizes.dataType);
  const hidden = stage.input("hidden", [batchSize * sequenceLength, config.channelCount]);
  const shape = attentionSizes(config, batchSize, sequenceLength);
  const packed = sizes.isPacked === true ? packedRotary(stage, shape) : undefined;
  stage.declareWeights();
  const rows = rmsNorm(stage, hidden, "input_layernorm", config.normEpsilon);
  const { query, key, value } = project(stage, config, rows, shape);
  const { forQuery, forKey } = packed ?? constantRotary(stage, config, sequenceLength);
  const mixed = causalAttention(
    stage,
    rotate(stage, query, forQuery.cosines, forQuery.signedSines, "query"),
    rotate(stage, key, forKey.cosines, forKey.signedSines, "key"),
    value,
    shape,
    packed?.mask,
  );
  return stage.finish({ hidden_out: finishBlock(stage, config, hidden, mixed) });
}

function decoderCachedBlock(config: DecoderConfig, sizes: CachedSizes): MilFunction {
  const { batchSize = 1, rowCount, cacheLength: length } = sizes;
  const { channelCount, keyValueHeadCount, headSize } = config;
  const stage = new StageBuilder("cached_block", decoderBlockWeights(config, 0), sizes.dataType);
  const hidden = stage.input("hidden", [batchSize * rowCount, channelCount]);
  const keys = stage.input("key_cache", [batchSize, keyValueHeadCount, length, headSize]);
  const values = stage.input("value_cache", [batchSize, keyValueHeadCount, length, headSize]);
  const mask = stage.input("mask", batchSize === 1 ? [length] : [batchSize, length]);
  const cosines = stage.input("cosines", [batchSize * rowCount, headSize]);
  const signedSines = stage.input("signed_sines", [batchSize * rowCount, headSize]);
  stage.declareWeights();
  const shape = attentionSizes(config, batchSize, rowCount);
  const table = (x: Value, of: "query" | "key"): Value => {
    const hasGroups = of === "query" && groupSize(shape) > 1;
    return forEveryHead(stage, x, shape, [rowCount, headSize], hasGroups);
  };
  const rows = rmsNorm(stage, hidden, "input_layernorm", config.normEpsilon);
  const { query, key, value } = project(stage, config, rows, shape);
  const scaled = stage.op("mul", {
    x: rotate(stage, query, table(cosines, "query"), table(signedSines, "query"), "query"),
    y: 1 / Math.sqrt(headSize),
  });
  const rotatedKey = rotate(stage, key, table(cosines, "key"), table(signedSines, "key"), "key");
  const cache = { keys, values, mask, length };
  const mixed = cachedAttention(stage, scaled, rotatedKey, value, cache, shape);
  return stage.finish({
    hidden_out: finishBlock(stage, config, hidden, mixed),
    new_keys: rotatedKey,
    new_values: value,
  });
}

function decoderHead(config: DecoderConfig, sizes: RowSizes): MilFunction {
  const stage = new StageBuilder("head", decoderHeadWeights(config), sizes.dataType);
  const hidden = stage.input("hidden", [sizes.rowCount, config.channelCount]);
  const targets = stage.input("targets", [sizes.rowCount], "int32");
  stage.declareWeights();
  const rows = rmsNorm(stage, hidden, "norm", config.normEpsilon);
  return stage.finish({
    loss_sum: crossEntropySum(stage, linear(stage, rows, "lm_head"), targets),
  });
}

function decoderLogits(config: DecoderConfig, sizes: RowSizes): MilFunction {
  const stage = new StageBuilder("logits", decoderHeadWeights(config), sizes.dataType);
  const hidden = stage.input("hidden", [sizes.rowCount, config.channelCount]);
  const row = stage.input("row", [1], "int32");
  stage.declareWeights();
  const chosen = stage.op("gather", { x: hidden, indices: row, axis: 0 });
  const rows = rmsNorm(stage, chosen, "norm", config.normEpsilon);
  return stage.finish({ logits: linear(stage, rows, "lm_head") });
}

function decoderEveryLogits(config: DecoderConfig, sizes: RowSizes): MilFunction {
  const stage = new StageBuilder("every_logits", decoderHeadWeights(config), sizes.dataType);
  const hidden = stage.input("hidden", [sizes.rowCount, config.channelCount]);
  stage.declareWeights();
  const rows = rmsNorm(stage, hidden, "norm", config.normEpsilon);
  return stage.finish({ logits: linear(stage, rows, "lm_head") });
}

/** A family whose configuration says what `DecoderConfig` says. */
export function decoderFamily<Config>(
  decoderOf: (config: Config) => DecoderConfig,
): Family<Config> {
  return {
    positions: "rope",
    packing: (config, sizes) => decoderPacking(decoderOf(config), sizes),
    embedWeights: (config) => decoderEmbedWeights(decoderOf(config)),
    blockWeights: (config, layer) => decoderBlockWeights(decoderOf(config), layer),
    headWeights: (config) => decoderHeadWeights(decoderOf(config)),
    embed: (config, sizes) => decoderEmbed(decoderOf(config), sizes),
    block: (config, sizes) => decoderBlock(decoderOf(config), sizes),
    head: (config, sizes) => decoderHead(decoderOf(config), sizes),
    logits: (config, sizes) => decoderLogits(decoderOf(config), sizes),
    everyLogits: (config, sizes) => decoderEveryLogits(decoderOf(config), sizes),
    cachedEmbed: (config, sizes) => decoderCachedEmbed(decoderOf(config), sizes),
    cachedBlock: (config, sizes) => decoderCachedBlock(decoderOf(config), sizes),
  };
}
