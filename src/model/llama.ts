import type {
  LlamaConfig,
  MistralConfig,
  Qwen2Config,
  Qwen3Config,
  RotaryConfig,
} from "./config.ts";
import { decoderFamily } from "./decoder.ts";
import type { DecoderConfig } from "./decoder-config.ts";
import type { Family } from "./family.ts";

function llamaLike(config: RotaryConfig): DecoderConfig {
  return {
    ...config,
    activation: config.activation ?? "silu",
    outputBias: config.attentionBias,
    feedForwardBias: false,
    headNorm: false,
    normOffset: 0,
    normsBehind: false,
    scoreScale: 1 / Math.sqrt(config.headSize),
  };
}

/** Llama and its likes (TinyLlama, SmolLM, stories15M): biases only where config.json asks for them. */
export const LLAMA: Family<LlamaConfig> = decoderFamily((config) => ({
  ...llamaLike(config),
  feedForwardBias: config.feedForwardBias,
}));

/** Mistral is a llama whose rows may see a window only. */
export const MISTRAL: Family<MistralConfig> = decoderFamily(llamaLike);

/** Qwen2 and 2.5: biases on queries, keys and values, none on attention's output. */
export const QWEN2: Family<Qwen2Config> = decoderFamily((config) => ({
  ...llamaLike(config),
  outputBias: false,
}));

/** Qwen3: norms on queries and keys, and a head size of its own. */
export const QWEN3: Family<Qwen3Config> = decoderFamily((config) => ({
  ...llamaLike(config),
  headNorm: true,
}));
