import type { MilFunction, Value } from "../mil/program.ts";
import {
  causalAttention,
  forEveryHead,
  groupSize,
  packedMask,
  softCapped,
  splitHeads,
} from "./attention.ts";
import type { AttentionSizes } from "./attention.ts";
import { cachedInputs, finishCached } from "./cached-stage.ts";
import {
  decoderBlockWeights,
  decoderEmbedWeights,
  decoderHeadWeights,
  decoderLayer,
  decoderRopes,
} from "./decoder-config.ts";
import type { DecoderConfig, DecoderLayer } from "./decoder-config.ts";
import { ModelError } from "./errors.ts";
import type { BatchSizes, CachedSizes, Family, RowSizes } from "./family.ts";
import { headStages } from "./head-stages.ts";
import { activated, linear, rmsNorm } from "./layers.ts";
import { packingFunction } from "./packing.ts";
import type { PACKED_TABLES, PackedTables } from "./packing.ts";
import { ropeTables, rotate } from "./rope.ts";
import type { RopeSettings } from "./rope.ts";
import { StageBuilder } from "./stage-builder.ts";

function decoderEmbed(config: DecoderConfig, sizes: BatchSizes): MilFunction {
  const { batchSize, sequenceLength } = sizes;
  const stage = new StageBuilder("embed", decoderEmbedWeights(config), sizes.dataType);
  const tokens = stage.input("tokens", [batchSize, sequenceLength], "int32");
  stage.declareWeights();
  const ids = stage.op("reshape", { x: tokens, shape: [batchSize * sequenceLength] });
  return stage.finish({ hidden: embedded(stage, config, ids) });
}

function embedded(stage: StageBuilder, { embeddingScale }: DecoderConfig, indices: Value): Value {
  const x = stage.weight("embed_tokens_weight");
  const rows = stage.op("gather", { x, indices, axis: 0 });
  return embeddingScale === undefined ? rows : stage.op("mul", { x: rows, y: embeddingScale });
}

function decoderCachedEmbed(config: DecoderConfig, sizes: RowSizes): MilFunction {
  const stage = new StageBuilder("cached_embed", decoderEmbedWeights(config), sizes.dataType);
  const tokens = stage.input("tokens", [sizes.rowCount], "int32");
  stage.declareWeights();
  return stage.finish({ hidden: embedded(stage, config, tokens) });
}

function normalized(
  stage: StageBuilder,
  { normEpsilon, normOffset }: DecoderConfig,
  x: Value,
  layer: string,
): Value {
  return rmsNorm(stage, x, layer, normEpsilon, normOffset);
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
  const perHead = (x: Value, layer: string, heads: number): Value => {
    if (!config.headNorm) return x;
    const shape = [sizes.batchSize * sizes.rowCount, heads, sizes.headSize];
    return normalized(stage, config, stage.op("reshape", { x, shape }), layer);
  };
  const query = perHead(
    linear(stage, rows, "self_attn_q_proj"),
    "self_attn_q_norm",
    sizes.headCount,
  );
  const key = perHead(
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

/** The rest of a block after attention: output projection, residual, gated feed-forward part, residual. */
function finishBlock(
  stage: StageBuilder,
  config: DecoderConfig,
  hidden: Value,
  mixed: Value,
): Value {
  const behind = (x: Value, layer: string): Value =>
    config.normsBehind ? normalized(stage, config, x, layer) : x;
  const attention = linear(stage, mixed, "self_attn_o_proj");
  const added = behind(attention, "post_attention_layernorm");
  const attended = stage.op("add", { x: hidden, y: added }, "attended");
  const before = config.normsBehind ? "pre_feedforward_layernorm" : "post_attention_layernorm";
  const rows = normalized(stage, config, attended, before);
  const gate = activated(
    stage,
    linear(stage, rows, "mlp_gate_proj"),
    config.activation,
    "mlp_gate",
  );
  const inner = stage.op("mul", { x: gate, y: linear(stage, rows, "mlp_up_proj") }, "mlp_inner");
  const fed = behind(linear(stage, inner, "mlp_down_proj"), "post_feedforward_layernorm");
  return stage.op("add", { x: attended, y: fed });
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

/** Rotary tables of positions 0 to S - 1; the query's carry the scores' factor. */
function rotaryTables(settings: RopeSettings, rowCount: number, scoreScale: number): PackedTables {
  const rows = { rowCount, sequenceLength: rowCount };
  const query = ropeTables(settings, { ...rows, scale: scoreScale });
  const key = ropeTables(settings, rows);
  return {
    query_cosines: query.cosines,
    query_signed_sines: query.signedSines,
    key_cosines: key.cosines,
    key_signed_sines: key.signedSines,
  };
}

function constantRotary(
  stage: StageBuilder,
  { scoreScale, headSize }: DecoderConfig,
  { rope }: DecoderLayer,
  sequenceLength: number,
): RotaryInputs {
  const tables = rotaryTables(rope.settings, sequenceLength, scoreScale);
  const shape = [sequenceLength, headSize];
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
function packedRotary(
  stage: StageBuilder,
  sizes: AttentionSizes,
  { rope, maskName }: DecoderLayer,
): RotaryInputs {
  const { batchSize: B, rowCount: S, headSize: D } = sizes;
  const mask = packedMask(stage, sizes, maskName);
  const table = (name: (typeof PACKED_TABLES)[number], heads: readonly number[]): Value =>
    stage.op("reshape", {
      x: stage.input(`${rope.prefix}${name}`, [B, S, D]),
      shape: [B, ...heads, S, D],
    });
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

/** Throws `ModelError` where frequencies depend on the length of a document, which a program cannot know. */
function decoderPacking(config: DecoderConfig, sizes: BatchSizes): MilFunction {
  const { sequenceLength } = sizes;
  const ropes = decoderRopes(config).map(({ prefix, settings }) => {
    const { ropeScaling, headSize } = settings;
    if (ropeScaling.kind === "dynamic" && sequenceLength > ropeScaling.originalContextLength) {
      throw new ModelError(
        "model.rope.packed",
        `packed rows of ${sequenceLength} tokens are longer than the ${ropeScaling.originalContextLength} of this model's first context, and dynamic rope scaling turns each document by its own length`,
        { remedy: "Lower --max-seq-length, or do not pack." },
      );
    }
    return { prefix, headSize, tables: rotaryTables(settings, sequenceLength, config.scoreScale) };
  });
  const kinds = new Set(config.window?.layerKinds ?? ["full"]);
  const masks = [...kinds].map((kind) => {
    const { maskName: name, window } = decoderLayer(config, kind);
    return { name, window };
  });
  return packingFunction(sizes, ropes, masks);
}

function decoderBlock(config: DecoderConfig, sizes: BatchSizes): MilFunction {
  const { batchSize, sequenceLength } = sizes;
  const layer = decoderLayer(config, sizes.variant);
  const stage = new StageBuilder("block", decoderBlockWeights(config, 0), sizes.dataType);
  const hidden = stage.input("hidden", [batchSize * sequenceLength, config.channelCount]);
  const shape = attentionSizes(config, batchSize, sequenceLength);
  const packed = sizes.isPacked === true ? packedRotary(stage, shape, layer) : undefined;
  stage.declareWeights();
  const rows = normalized(stage, config, hidden, "input_layernorm");
  const { query, key, value } = project(stage, config, rows, shape);
  const { forQuery, forKey } = packed ?? constantRotary(stage, config, layer, sequenceLength);
  const mixed = causalAttention(
    stage,
    rotate(stage, query, forQuery.cosines, forQuery.signedSines, "query"),
    rotate(stage, key, forKey.cosines, forKey.signedSines, "key"),
    value,
    shape,
    packed?.mask,
    { window: layer.window, cap: config.scoreCap, blockRows: sizes.attentionBlockRows },
  );
  return stage.finish({ hidden_out: finishBlock(stage, config, hidden, mixed) });
}

function decoderCachedBlock(config: DecoderConfig, sizes: CachedSizes): MilFunction {
  const { batchSize = 1, rowCount, isJoined } = sizes;
  const layer = decoderLayer(config, sizes.variant);
  const stage = new StageBuilder("cached_block", decoderBlockWeights(config, 0), sizes.dataType);
  const shape = attentionSizes(config, batchSize, rowCount);
  const given = cachedInputs(stage, sizes, config.channelCount, shape, layer);
  const angles = [batchSize * rowCount, config.headSize];
  const cosines = stage.input(`${layer.rope.prefix}cosines`, angles);
  const signedSines = stage.input(`${layer.rope.prefix}signed_sines`, angles);
  stage.declareWeights();
  const table = (x: Value, of: "query" | "key"): Value => {
    const hasGroups = of === "query" && groupSize(shape) > 1;
    return forEveryHead(stage, x, shape, [rowCount, config.headSize], hasGroups);
  };
  const rows = normalized(stage, config, given.hidden, "input_layernorm");
  const { query, key, value } = project(stage, config, rows, shape);
  const scaled = stage.op("mul", {
    x: rotate(stage, query, table(cosines, "query"), table(signedSines, "query"), "query"),
    y: config.scoreScale,
  });
  const rotatedKey = rotate(stage, key, table(cosines, "key"), table(signedSines, "key"), "key");
  const rules = { window: layer.window, cap: config.scoreCap, isJoined };
  return finishCached(stage, given, [scaled, rotatedKey, value], rules, (mixed) =>
    finishBlock(stage, config, given.hidden, mixed),
  );
}

/** Logits [R, V] of rows [R, C]. */
function headLogits(stage: StageBuilder, config: DecoderConfig, hidden: Value): Value {
  const rows = normalized(stage, config, hidden, "norm");
  return softCapped(stage, linear(stage, rows, "lm_head"), config.logitCap);
}

const HEAD_STAGES = headStages(decoderHeadWeights, headLogits);

/** A family whose configuration says what `DecoderConfig` says. */
export function decoderFamily<Config>(
  decoderOf: (config: Config) => DecoderConfig,
): Family<Config> {
  return {
    positions: "rope",
    ropes: (config) => decoderRopes(decoderOf(config)),
    blockVariants: (config) => decoderOf(config).window?.layerKinds ?? [],
    embeddingScale: (config) => decoderOf(config).embeddingScale ?? 1,
    packing: (config, sizes) => decoderPacking(decoderOf(config), sizes),
    embedWeights: (config) => decoderEmbedWeights(decoderOf(config)),
    blockWeights: (config, layer) => decoderBlockWeights(decoderOf(config), layer),
    headWeights: (config) => decoderHeadWeights(decoderOf(config)),
    embed: (config, sizes) => decoderEmbed(decoderOf(config), sizes),
    block: (config, sizes) => decoderBlock(decoderOf(config), sizes),
    head: (config, sizes) => HEAD_STAGES.head(decoderOf(config), sizes),
    logits: (config, sizes) => HEAD_STAGES.logits(decoderOf(config), sizes),
    everyLogits: (config, sizes) => HEAD_STAGES.everyLogits(decoderOf(config), sizes),
    cachedEmbed: (config, sizes) => decoderCachedEmbed(decoderOf(config), sizes),
    cachedBlock: (config, sizes) => decoderCachedBlock(decoderOf(config), sizes),
  };
}
