import { elementCount, staticShape } from "../mil/types.ts";
import type { MilFunction } from "../mil/program.ts";
import type { ModelConfig } from "./config.ts";
import type { BatchSizes, CachedSizes, Family, PositionKind, RowSizes } from "./family.ts";
import { GPT2 } from "./gpt2.ts";
import { LLAMA } from "./llama.ts";
import { QWEN3 } from "./qwen3.ts";
import type { StageInstance, WeightSpec } from "./weights.ts";

/** A configuration bound to its family: the stages of one model. */
export interface Model {
  readonly config: ModelConfig;
  readonly positions: PositionKind;
  /** The stage instances in forward order: embed, block.0 ... block.<L-1>, head. */
  readonly stages: readonly StageInstance[];
  readonly embed: StageInstance;
  readonly blocks: readonly StageInstance[];
  readonly head: StageInstance;
  /** The stage functions; `Family` says what goes in and out. */
  readonly functions: {
    readonly embed: (sizes: BatchSizes) => MilFunction;
    readonly block: (sizes: BatchSizes) => MilFunction;
    readonly head: (sizes: RowSizes) => MilFunction;
    readonly logits: (sizes: RowSizes) => MilFunction;
    readonly everyLogits: (sizes: RowSizes) => MilFunction;
    readonly cachedEmbed: (sizes: RowSizes) => MilFunction;
    readonly cachedBlock: (sizes: CachedSizes) => MilFunction;
  };
}

function bind<Config extends ModelConfig>(family: Family<Config>, config: Config): Model {
  const embed: StageInstance = {
    kind: "embed",
    group: "embed",
    weights: family.embedWeights(config),
  };
  const blocks = Array.from({ length: config.layerCount }, (_, layer): StageInstance => ({
    kind: "block",
    group: `block.${layer}`,
    weights: family.blockWeights(config, layer),
  }));
  const head: StageInstance = { kind: "head", group: "head", weights: family.headWeights(config) };
  return Object.freeze({
    config,
    positions: family.positions,
    stages: [embed, ...blocks, head],
    embed,
    blocks,
    head,
    functions: {
      embed: (sizes: BatchSizes) => family.embed(config, sizes),
      block: (sizes: BatchSizes) => family.block(config, sizes),
      head: (sizes: RowSizes) => family.head(config, sizes),
      logits: (sizes: RowSizes) => family.logits(config, sizes),
      everyLogits: (sizes: RowSizes) => family.everyLogits(config, sizes),
      cachedEmbed: (sizes: RowSizes) => family.cachedEmbed(config, sizes),
      cachedBlock: (sizes: CachedSizes) => family.cachedBlock(config, sizes),
    },
  });
}

/** The model a configuration describes. */
export function modelOf(config: ModelConfig): Model {
  switch (config.family) {
    case "llama":
      return bind(LLAMA, config);
    case "gpt2":
      return bind(GPT2, config);
    case "qwen3":
      return bind(QWEN3, config);
  }
}

/** Every weight once, in the order of the stages; a tied head's table belongs to `embed`. */
export function modelWeights(model: Model): readonly WeightSpec[] {
  return model.stages.flatMap((stage) => stage.weights.filter((weight) => !weight.borrowed));
}

export function parameterCount(model: Model): number {
  let count = 0;
  for (const { type } of modelWeights(model)) count += elementCount(staticShape(type));
  return count;
}
