import { FAMILY_NAMES } from "./config.ts";
import type { CommonConfig, FamilyName, ModelConfig } from "./config.ts";
import { ModelError } from "./errors.ts";
import { familyModel } from "./family-defaults.ts";

/** Sizes of a new model that somebody chose; the others are made to fit them. */
export interface ModelSizes {
  readonly family?: FamilyName | undefined;
  readonly layerCount?: number | undefined;
  /** Channels of the hidden state, C. */
  readonly channelCount?: number | undefined;
  readonly headCount?: number | undefined;
  readonly keyValueHeadCount?: number | undefined;
  readonly feedForwardSize?: number | undefined;
}

const NORM_EPSILON: Readonly<Record<FamilyName, number>> = {
  llama: 1e-5,
  gpt2: 1e-5,
  mistral: 1e-5,
  qwen2: 1e-6,
  qwen3: 1e-6,
  gemma: 1e-6,
  gemma2: 1e-6,
  gemma3_text: 1e-6,
};

/** Layers of a model of which nothing is chosen. */
const DEFAULT_LAYER_COUNT = 4;
/** Channels a head, and channels a layer of depth, as in GPT-2 small (768 channels, 12 layers, 12 heads). */
const HEAD_SIZE = 64;
const CHANNELS_A_LAYER = 64;
const LARGEST_DEFAULT_DEPTH = 48;

/**
 * A model of the chosen sizes, and of sizes that fit them: 64 channels a layer of depth, heads of about 64 channels,
 * a feed-forward part of 4 (gpt2) or 8/3 (all others) times the channels. `base`: the model that is changed; its
 * proportions stay. Throws `ModelError` `model.sizes` for chosen sizes that do not fit each other, by flag.
 */
export function fittingModel(
  sizes: ModelSizes,
  { vocabularySize, contextLength }: Pick<CommonConfig, "vocabularySize" | "contextLength">,
  base?: ModelConfig,
): ModelConfig {
  const family = sizes.family ?? base?.family ?? FAMILY_NAMES[0];
  const layerCount = sizes.layerCount ?? base?.layerCount ?? depthFor(sizes.channelCount);
  const channelCount =
    sizes.channelCount ??
    base?.channelCount ??
    roundUp(CHANNELS_A_LAYER * layerCount, 2 * (sizes.headCount ?? 1));
  const headCount = sizes.headCount ?? headsFor(channelCount, base);
  const headSize = headSizeFor(family, channelCount, headCount, base);
  const keyValueHeadCount = keyValueHeadsFor(family, headCount, sizes, base);
  const common: CommonConfig = {
    vocabularySize,
    contextLength,
    channelCount,
    layerCount,
    headCount,
    headSize,
    keyValueHeadCount,
    feedForwardSize: sizes.feedForwardSize ?? feedForwardFor(family, channelCount, base),
    tiedHead: base?.tiedHead ?? true,
    initializerRange: base?.initializerRange ?? 0.02,
    normEpsilon: base?.family === family ? base.normEpsilon : NORM_EPSILON[family],
    beginTokenId: base?.beginTokenId,
    endTokenIds: base?.endTokenIds ?? [],
    padTokenId: base?.padTokenId,
    extra: {},
  };
  return familyModel(family, common, base);
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

function depthFor(channelCount: number | undefined): number {
  if (channelCount === undefined) return DEFAULT_LAYER_COUNT;
  const depth = Math.round(channelCount / CHANNELS_A_LAYER);
  return Math.min(LARGEST_DEFAULT_DEPTH, Math.max(1, depth));
}

/** The divisor of the channels whose heads are nearest to 64 channels, or to the base's. */
function headsFor(channelCount: number, base: ModelConfig | undefined): number {
  if (base?.channelCount === channelCount) return base.headCount;
  const wanted = base === undefined ? HEAD_SIZE : base.channelCount / base.headCount;
  let best = 1;
  for (let count = 1; count <= channelCount / 2; count++) {
    if (channelCount % (2 * count) !== 0) continue;
    const distance = (heads: number): number => Math.abs(Math.log(channelCount / heads / wanted));
    if (distance(count) < distance(best)) best = count;
  }
  return best;
}

function headSizeFor(
  family: FamilyName,
  channelCount: number,
  headCount: number,
  base: ModelConfig | undefined,
): number {
  // Some families' heads have a size of their own.
  if (base?.family === family && base.headSize * base.headCount !== base.channelCount)
    return base.headSize;
  const isWhole = channelCount % headCount === 0;
  const isEven = (channelCount / headCount) % 2 === 0;
  if (isWhole && (isEven || family === "gpt2")) return channelCount / headCount;
  throw new ModelError(
    "model.sizes",
    isWhole
      ? `--heads ${headCount} makes heads of ${channelCount / headCount} channels of --hidden-size ${channelCount}; rotary positions need an even number`
      : `--hidden-size ${channelCount} is not a multiple of --heads ${headCount}`,
    {
      remedy: `Take --hidden-size ${roundUp(channelCount, 2 * headCount)}, or --heads ${headsFor(channelCount, undefined)}.`,
    },
  );
}

function keyValueHeadsFor(
  family: FamilyName,
  headCount: number,
  { keyValueHeadCount: given }: ModelSizes,
  base: ModelConfig | undefined,
): number {
  const share = base === undefined ? 1 : base.headCount / base.keyValueHeadCount;
  const kept = family === "gpt2" || headCount % share !== 0 ? headCount : headCount / share;
  const count = given ?? kept;
  if (family === "gpt2" && count !== headCount) {
    throw new ModelError(
      "model.sizes",
      `--kv-heads ${count}: a gpt2 has keys and values in each of its ${headCount} heads`,
      { remedy: "Leave --kv-heads out, or take --family llama." },
    );
  }
  if (headCount % count !== 0) {
    throw new ModelError(
      "model.sizes",
      `--heads ${headCount} is not a multiple of --kv-heads ${count}`,
    );
  }
  return count;
}

function feedForwardFor(
  family: FamilyName,
  channelCount: number,
  base: ModelConfig | undefined,
): number {
  if (base?.family === family) {
    if (base.channelCount === channelCount) return base.feedForwardSize;
    return roundUp((base.feedForwardSize / base.channelCount) * channelCount, 16);
  }
  return family === "gpt2" ? 4 * channelCount : roundUp((8 / 3) * channelCount, 32);
}
