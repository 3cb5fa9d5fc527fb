/** Model families by the `model_type` of their `config.json`. */
export const FAMILY_NAMES = ["llama", "gpt2", "qwen3"] as const;
/** Families of models. */
export type FamilyName = (typeof FAMILY_NAMES)[number];

/** How rotary frequencies are changed for contexts longer than the model was first trained with. */
export type RopeScaling =
  | { readonly kind: "none" }
  | { readonly kind: "linear"; readonly factor: number }
  | {
      readonly kind: "llama3";
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalContextLength: number;
    };

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

export interface LlamaConfig extends CommonConfig {
  readonly family: "llama";
  /**
   * Fresh value and output projections of attention are a multiple of the identity, together this many times it: what
   * a head looks at, it hands on. Small models learn to copy names within hundreds of steps then. A training setting
   * of ours: other programs ignore `attention_copy` in `config.json`.
   */
  readonly attentionCopy?: number;
  readonly ropeTheta: number;
  readonly ropeScaling: RopeScaling;
  readonly attentionBias: boolean;
  readonly feedForwardBias: boolean;
}

export interface Qwen3Config extends CommonConfig {
  readonly family: "qwen3";
  readonly ropeTheta: number;
  readonly ropeScaling: RopeScaling;
  readonly attentionBias: boolean;
}

export interface Gpt2Config extends CommonConfig {
  readonly family: "gpt2";
  /** The tanh approximation (`gelu_new`) or the exact function (`gelu`). */
  readonly activation: "gelu_new" | "gelu";
}

/** A model's configuration, whatever its family. */
export type ModelConfig = LlamaConfig | Gpt2Config | Qwen3Config;
