import { bfloat16Bits, bfloat16Value } from "../util/bfloat16.ts";
import { roundToFloat16 } from "../util/float16.ts";
import type { GemmaConfig } from "./config.ts";
import { decoderFamily } from "./decoder.ts";
import type { Family } from "./family.ts";

/**
 * Gemma 1 to 3, text: embedded tokens times sqrt(C), norms that multiply by 1 + weight, a gate by GELU. From Gemma 2 on
 * norms stand behind attention and the feed-forward part too and scores and logits may be capped; Gemma 3 has norms on
 * queries and keys, and rotary positions of its own in layers with a sliding window.
 */
export const GEMMA: Family<GemmaConfig> = decoderFamily((config) => {
  const { family, attentionBias } = config;
  return {
    ...config,
    activation: config.activation ?? "gelu_tanh",
    outputBias: attentionBias,
    feedForwardBias: false,
    headNorm: family === "gemma3_text",
    normOffset: 1,
    normsBehind: family !== "gemma",
    embeddingScale: embeddingScale(config),
    scoreScale: 1 / Math.sqrt(config.queryScalar),
  };
});

function embeddingScale({ channelCount, embeddingScaleType }: GemmaConfig): number {
  const scale = Math.sqrt(channelCount);
  switch (embeddingScaleType) {
    case "float32":
      return Math.fround(scale);
    case "bfloat16":
      return bfloat16Value(bfloat16Bits(scale));
    case "float16":
      return roundToFloat16(scale);
  }
}
