import { didYouMean } from "../util/nearest.ts";
import type { CommonConfig, Gpt2Config, LlamaConfig, ModelConfig, Qwen3Config } from "./config.ts";
import { ModelError } from "./errors.ts";

const COMMON = {
  initializerRange: 0.02,
  beginTokenId: undefined,
  endTokenIds: [],
  padTokenId: undefined,
  extra: {},
} as const satisfies Partial<CommonConfig>;

interface LlamaShape {
  readonly vocabularySize: number;
  readonly channelCount: number;
  readonly feedForwardSize: number;
  readonly layerCount: number;
  readonly headCount: number;
  readonly keyValueHeadCount?: number;
  readonly contextLength: number;
  readonly tiedHead: boolean;
}

function llama(shape: LlamaShape): LlamaConfig {
  return {
    ...COMMON,
    family: "llama",
    ...shape,
    keyValueHeadCount: shape.keyValueHeadCount ?? shape.headCount,
    headSize: shape.channelCount / shape.headCount,
    normEpsilon: 1e-5,
    ropeTheta: 10_000,
    ropeScaling: { kind: "none" },
    attentionBias: false,
    feedForwardBias: false,
  };
}

type Gpt2Shape = Omit<LlamaShape, "feedForwardSize" | "keyValueHeadCount" | "tiedHead">;

function gpt2(shape: Gpt2Shape): Gpt2Config {
  return {
    ...COMMON,
    family: "gpt2",
    ...shape,
    keyValueHeadCount: shape.headCount,
    headSize: shape.channelCount / shape.headCount,
    feedForwardSize: 4 * shape.channelCount,
    tiedHead: true,
    normEpsilon: 1e-5,
    activation: "gelu_new",
  };
}

const QWEN3_06B: Qwen3Config = {
  ...COMMON,
  family: "qwen3",
  vocabularySize: 151_936,
  channelCount: 1_024,
  layerCount: 28,
  headCount: 16,
  keyValueHeadCount: 8,
  headSize: 128,
  feedForwardSize: 3_072,
  contextLength: 40_960,
  tiedHead: true,
  normEpsilon: 1e-6,
  ropeTheta: 1_000_000,
  ropeScaling: { kind: "none" },
  attentionBias: false,
  beginTokenId: 151_643,
  endTokenIds: [151_645],
};

/** Shapes of the named models. A tokenizer with fewer tokens than `vocabularySize` may be used with them. */
export const MODEL_PRESETS = {
  /** What `npm start` trains: small enough for two cores, large enough for grammar. */
  storyteller: {
    ...llama({
      vocabularySize: 4_096,
      channelCount: 192,
      feedForwardSize: 512,
      layerCount: 2,
      headCount: 6,
      contextLength: 256,
      tiedHead: true,
    }),
    // About 1/sqrt(192). With the families' 0.02, made for 768 channels and more, attention learns to copy
    // names three times later at this width (docs/log.md).
    initializerRange: 0.07,
    attentionCopy: 2,
  },
  /** nanoGPT's character model of Shakespeare, as its README gives it for a laptop. */
  "nanogpt-char": gpt2({
    vocabularySize: 65,
    channelCount: 128,
    layerCount: 4,
    headCount: 4,
    contextLength: 64,
  }),
  /** llama2.c's models of TinyStories. */
  stories15M: llama({
    vocabularySize: 32_000,
    channelCount: 288,
    feedForwardSize: 768,
    layerCount: 6,
    headCount: 6,
    contextLength: 256,
    tiedHead: true,
  }),
  stories110M: llama({
    vocabularySize: 32_000,
    channelCount: 768,
    feedForwardSize: 2_048,
    layerCount: 12,
    headCount: 12,
    contextLength: 1_024,
    tiedHead: true,
  }),
  gpt2: gpt2({
    vocabularySize: 50_257,
    channelCount: 768,
    layerCount: 12,
    headCount: 12,
    contextLength: 1_024,
  }),
  "qwen3-0.6b": QWEN3_06B,
  /** TinyLlama's shape. */
  "microgpt-1.1b": llama({
    vocabularySize: 32_000,
    channelCount: 2_048,
    feedForwardSize: 5_632,
    layerCount: 22,
    headCount: 32,
    keyValueHeadCount: 4,
    contextLength: 2_048,
    tiedHead: false,
  }),
} as const satisfies Readonly<Record<string, ModelConfig>>;

/** Shapes that are planned for rather than trained on one machine. */
export const PLANNED_SHAPES: Readonly<Record<string, ModelConfig>> = {
  "llama-2-70b": llama({
    vocabularySize: 32_000,
    channelCount: 8_192,
    feedForwardSize: 28_672,
    layerCount: 80,
    headCount: 64,
    keyValueHeadCount: 8,
    contextLength: 4_096,
    tiedHead: false,
  }),
  "qwen2.5-32b": {
    ...COMMON,
    family: "qwen2",
    vocabularySize: 152_064,
    channelCount: 5_120,
    layerCount: 64,
    headCount: 40,
    keyValueHeadCount: 8,
    headSize: 128,
    feedForwardSize: 27_648,
    contextLength: 32_768,
    tiedHead: false,
    normEpsilon: 1e-6,
    ropeTheta: 1_000_000,
    ropeScaling: { kind: "none" },
    attentionBias: true,
  },
};

/** Names of the models whose shapes are known. */
export type ModelPresetName = keyof typeof MODEL_PRESETS;

/** Whether a model's shape is known by a name. */
export function isModelPreset(name: string): name is ModelPresetName {
  return Object.hasOwn(MODEL_PRESETS, name);
}

/** A preset's configuration. Throws `ModelError` with the nearest name. */
export function modelPreset(name: string): ModelConfig {
  if (isModelPreset(name)) return MODEL_PRESETS[name];
  const planned = Object.hasOwn(PLANNED_SHAPES, name) ? PLANNED_SHAPES[name] : undefined;
  if (planned !== undefined) return planned;
  const names = [...Object.keys(MODEL_PRESETS), ...Object.keys(PLANNED_SHAPES)];
  throw new ModelError(
    "model.preset",
    `there is no model preset "${name}".${didYouMean(name, names)} Presets: ${names.join(", ")}`,
  );
}
