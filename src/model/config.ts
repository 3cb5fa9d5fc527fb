/** Model families by the `model_type` of their `config.json`. */
export const FAMILY_NAMES = [
  "llama",
  "gpt2",
  "qwen3",
  "mistral",
  "qwen2",
  "gemma",
  "gemma2",
  "gemma3_text",
] as const;
/** Families of models. */
export type FamilyName = (typeof FAMILY_NAMES)[number];

/** How rotary frequencies are changed for contexts longer than the model was first trained with. */
export type RopeScaling =
  | { readonly kind: "none" }
  | { readonly kind: "linear"; readonly factor: number }
  /** Each frequency by its own number, as GGUF files have Llama 3's. */
  | {
      readonly kind: "divided";
      readonly divisors: readonly number[];
      readonly attentionFactor: number;
    }
  /** Frequencies grow slower once a sequence is longer than the original context; up to `factor` times it. */
  | { readonly kind: "dynamic"; readonly factor: number; readonly originalContextLength: number }
  | {
      readonly kind: "llama3";
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalContextLength: number;
    }
  | {
      readonly kind: "yarn";
      readonly factor: number;
      readonly originalContextLength: number;
      /** Turns within the original context above which a frequency is kept. */
      readonly betaFast: number;
      /** Turns below which it is divided by the factor. */
      readonly betaSlow: number;
      /** The ends of the blend are whole channel numbers. */
      readonly isTruncated: boolean;
      /** Cosines and sines are this many times as large. */
      readonly attentionFactor: number;
    };

/** Gates of the feed-forward part. `gelu_tanh` is Hugging Face's `gelu_pytorch_tanh` and `gelu_new`. */
export const ACTIVATIONS = ["silu", "gelu", "gelu_tanh", "relu"] as const;
export type Activation = (typeof ACTIVATIONS)[number];

/** What rows of a layer see: all before them, or the last few (a sliding window). */
export type LayerKind = "full" | "sliding";

/** What every family has. */
export interface CommonConfig {
  readonly vocabularySize: number;
  /** Channels of the hidden state, C. */
  readonly channelCount: number;
  readonly layerCount: number;
  readonly headCount: number;
  /** Heads of keys and values; each serves `headCount / keyValueHeadCount` query heads. */
  readonly keyValueHeadCount: number;
  readonly headSize: number;
  /** Channels inside the feed-forward part. */
  readonly feedForwardSize: number;
  /** Longest sequence, in tokens. */
  readonly contextLength: number;
  /** The head multiplies by the token table instead of a matrix of its own. */
  readonly tiedHead: boolean;
  /** Standard deviation of freshly drawn weights. */
  readonly initializerRange: number;
  readonly normEpsilon: number;
  readonly beginTokenId: number | undefined;
  readonly endTokenIds: readonly number[];
  readonly padTokenId: number | undefined;
  /** Keys of `config.json` that the product does not use, written back as they came. */
  readonly extra: Readonly<Record<string, unknown>>;
}

/** What all families with rotary positions have. */
export interface RotaryConfig extends CommonConfig {
  readonly ropeTheta: number;
  readonly ropeScaling: RopeScaling;
  /** Biases on queries, keys and values; qwen2 has none on the output, the others there too. */
  readonly attentionBias: boolean;
  /** Default: silu. */
  readonly activation?: Activation;
  /** Layers with a sliding window, where any has one. */
  readonly window?: SlidingWindow;
}

/** Layers that see the last rows only. */
export interface SlidingWindow {
  /** Rows a row sees, itself included. */
  readonly length: number;
  /** By layer. */
  readonly layerKinds: readonly LayerKind[];
}

/** Llama 1 to 3, TinyLlama, SmolLM. */
export interface LlamaConfig extends RotaryConfig {
  readonly family: "llama";
  /**
   * Fresh value and output projections of attention are a multiple of the identity, together this many times it: what
   * a head looks at, it hands on. Small models learn to copy names within hundreds of steps then. A training setting
   * of ours: other programs ignore `attention_copy` in `config.json`.
   */
  readonly attentionCopy?: number;
  readonly feedForwardBias: boolean;
}

/** Mistral: llama with a sliding window. */
export interface MistralConfig extends RotaryConfig {
  readonly family: "mistral";
}

/** Qwen2 and 2.5: biases of q, k and v. */
export interface Qwen2Config extends RotaryConfig {
  readonly family: "qwen2";
}

/** Qwen3: norms of q and k. */
export interface Qwen3Config extends RotaryConfig {
  readonly family: "qwen3";
}

/** Numbers that Gemma's families have beside the others'. */
export interface GemmaConfig extends RotaryConfig {
  readonly family: "gemma" | "gemma2" | "gemma3_text";
  /**
   * The type of numbers that sqrt(channels), the factor on embedded tokens, is rounded to: the one that the model's
   * weights were published in.
   */
  readonly embeddingScaleType: "float32" | "bfloat16" | "float16";
  /** Scores are divided by its square root. */
  readonly queryScalar: number;
  /** Scores s become cap * tanh(s / cap). */
  readonly scoreCap?: number;
  /** The same of logits. */
  readonly logitCap?: number;
  /** Rotary positions of layers with a sliding window, where they have their own. */
  readonly localRope?: { readonly theta: number; readonly scaling: RopeScaling };
}

export const GPT2_ACTIVATIONS = ["gelu_new", "gelu", "relu", "silu"] as const;

export interface Gpt2Config extends CommonConfig {
  readonly family: "gpt2";
  /** The tanh approximation (`gelu_new`), the exact function (`gelu`), or another one. */
  readonly activation: (typeof GPT2_ACTIVATIONS)[number];
  /** Scores are not divided by the square root of the head size. */
  readonly hasUnscaledScores?: boolean;
  /** Scores of layer i are divided by i + 1. */
  readonly dividesScoresByLayer?: boolean;
}

/** A model's configuration, whatever its family. */
export type ModelConfig =
  | LlamaConfig
  | Gpt2Config
  | Qwen3Config
  | MistralConfig
  | Qwen2Config
  | GemmaConfig;
