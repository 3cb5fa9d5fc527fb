import type {
  CommonConfig,
  FamilyName,
  LayerKind,
  ModelConfig,
  RotaryConfig,
  SlidingWindow,
} from "./config.ts";

const NO_SCALING = { kind: "none" } as const;

/** A new model of a family with those sizes; what is left to choose is the base's, or as the family is published. */
export function familyModel(
  family: FamilyName,
  common: CommonConfig,
  base: ModelConfig | undefined,
): ModelConfig {
  if (family === "gpt2") {
    const activation = base?.family === "gpt2" ? base.activation : "gelu_new";
    return { ...common, family, activation };
  }
  const other = base === undefined || base.family === "gpt2" ? undefined : base;
  const rotary: RotaryConfig = {
    ...common,
    ropeTheta: other?.ropeTheta ?? (family === "gemma3_text" ? 1e6 : 10_000),
    ropeScaling: other?.ropeScaling ?? NO_SCALING,
    attentionBias: family === "qwen2" || (other?.attentionBias ?? false),
    ...(other?.family === family && keptOf(other, common.layerCount)),
  };
  switch (family) {
    case "llama":
      return {
        ...rotary,
        family,
        feedForwardBias: base?.family === "llama" ? base.feedForwardBias : false,
      };
    case "mistral":
      return { ...rotary, family, attentionBias: false };
    case "qwen2":
    case "qwen3":
      return { ...rotary, family };
    case "gemma":
    case "gemma2":
    case "gemma3_text": {
      if (base?.family === family) {
        const queryScalar = base.queryScalar === base.headSize ? common.headSize : base.queryScalar;
        return { ...base, ...rotary, family, queryScalar };
      }
      return {
        ...rotary,
        ...(family !== "gemma" && { window: freshWindow(family, common) }),
        family,
        embeddingScaleType: "float32",
        queryScalar: common.headSize,
        ...(family === "gemma2" && { scoreCap: 50, logitCap: 30 }),
        ...(family === "gemma3_text" && { localRope: { theta: 10_000, scaling: NO_SCALING } }),
      };
    }
  }
}

/** What a model of the same family hands on, for another number of layers. */
function keptOf(
  { activation, window }: RotaryConfig,
  layerCount: number,
): Pick<RotaryConfig, "activation" | "window"> {
  const kinds = window?.layerKinds ?? [];
  return {
    ...(activation !== undefined && { activation }),
    ...(window !== undefined && {
      window: {
        length: window.length,
        layerKinds: Array.from(
          { length: layerCount },
          (_, layer): LayerKind => kinds[layer % kinds.length] ?? "full",
        ),
      },
    }),
  };
}

/** Every second layer of gemma2, five of six of gemma3, as published; windows shorter than a small model's context. */
function freshWindow(
  family: "gemma2" | "gemma3_text",
  { layerCount, contextLength }: CommonConfig,
): SlidingWindow {
  const isThird = family === "gemma3_text";
  return {
    length: Math.min(isThird ? 1_024 : 4_096, Math.ceil(contextLength / (isThird ? 4 : 2))),
    layerKinds: Array.from({ length: layerCount }, (_, layer): LayerKind => {
      const isWindowed = isThird ? (layer + 1) % 6 !== 0 : layer % 2 === 0;
      return isWindowed ? "sliding" : "full";
    }),
  };
}
