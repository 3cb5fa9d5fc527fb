import type { MilFunction } from "../mil/program.ts";
import type { ModelConfig } from "./config.ts";
import type {
  BatchSizes,
  CachedSizes,
  Family,
  HeadSizes,
  PositionKind,
  RowSizes,
} from "./family.ts";
import { GEMMA } from "./gemma.ts";
import { GPT2 } from "./gpt2.ts";
import { LLAMA, MISTRAL, QWEN2, QWEN3 } from "./llama.ts";
import { freshParameters } from "./parameters.ts";
import type { Parameters } from "./parameters.ts";
import type { NamedRope } from "./rope.ts";

/** The stage functions of a model; `Family` says what goes in and out. */
export interface StageFunctions {
  /** What packed blocks share, once a step: documents int32 [B, S] to attention_mask [B, S, S] and rotary tables. */
  readonly packing: (sizes: BatchSizes) => MilFunction;
  /** tokens int32 [B, S] to hidden [N, C]. */
  readonly embed: (sizes: BatchSizes) => MilFunction;
  /** hidden [N, C] to hidden_out [N, C]. */
  readonly block: (sizes: BatchSizes) => MilFunction;
  /** hidden [R, C], targets int32 [R] to loss_sum fp32 [], or to losses fp32 [R]. */
  readonly head: (sizes: HeadSizes) => MilFunction;
  /** hidden [R, C], row int32 [1] to logits [1, V] of that row. */
  readonly logits: (sizes: RowSizes) => MilFunction;
  /** hidden [R, C] to logits [R, V]. */
  readonly everyLogits: (sizes: RowSizes) => MilFunction;
  /** tokens int32 [R] to hidden [R, C]. */
  readonly cachedEmbed: (sizes: RowSizes) => MilFunction;
  /** hidden [B*S, C], key_cache and value_cache [B, Hkv, T, D], mask to hidden_out, new_keys and new_values [B, Hkv, S, D]. */
  readonly cachedBlock: (sizes: CachedSizes) => MilFunction;
}

/**
 * A model: configuration, stage functions, parameters. Made once by `modelOf`, changed by the functions of
 * transforms.ts and by adapters, and handed on; nobody derives it again from the configuration.
 */
export interface Model {
  readonly config: ModelConfig;
  readonly positions: PositionKind;
  /** Rotary positions of the layers, by the beginning of their inputs' names; none where positions are learned. */
  readonly ropes: readonly NamedRope[];
  /** Rows of the token table are multiplied by this. */
  readonly embeddingScale: number;
  readonly functions: StageFunctions;
  readonly parameters: Parameters;
}

function bind<Config extends ModelConfig>(family: Family<Config>, config: Config): Model {
  return Object.freeze({
    config,
    positions: family.positions,
    ropes: family.ropes(config),
    embeddingScale: family.embeddingScale(config),
    functions: {
      packing: (sizes: BatchSizes) => family.packing(config, sizes),
      embed: (sizes: BatchSizes) => family.embed(config, sizes),
      block: (sizes: BatchSizes) => family.block(config, sizes),
      head: (sizes: HeadSizes) => family.head(config, sizes),
      logits: (sizes: RowSizes) => family.logits(config, sizes),
      everyLogits: (sizes: RowSizes) => family.everyLogits(config, sizes),
      cachedEmbed: (sizes: RowSizes) => family.cachedEmbed(config, sizes),
      cachedBlock: (sizes: CachedSizes) => family.cachedBlock(config, sizes),
    },
    parameters: freshParameters({
      embed: family.embedWeights(config),
      blocks: Array.from({ length: config.layerCount }, (_, layer) =>
        family.blockWeights(config, layer),
      ),
      head: family.headWeights(config),
      variants: family.blockVariants(config),
    }),
  });
}

/** The model a configuration describes: all weights fp32, trained, and drawn at random. */
export function modelOf(config: ModelConfig): Model {
  switch (config.family) {
    case "llama":
      return bind(LLAMA, config);
    case "gpt2":
      return bind(GPT2, config);
    case "mistral":
      return bind(MISTRAL, config);
    case "qwen2":
      return bind(QWEN2, config);
    case "qwen3":
      return bind(QWEN3, config);
    case "gemma":
    case "gemma2":
    case "gemma3_text":
      return bind(GEMMA, config);
  }
}
