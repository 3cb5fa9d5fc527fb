import { didYouMean } from "../util/nearest.ts";
import { TrainError } from "./errors.ts";

/** A named model with settings that work. */
export interface Preset {
  readonly name: string;
  readonly description: string;
  /** config.json of a fresh model; without `vocab_size` it takes the tokenizer's. */
  readonly model: Readonly<Record<string, unknown>>;
  /** Settings that differ from the defaults, by their option keys. */
  readonly settings: Readonly<Record<string, number | string | boolean>>;
}

const llama = (
  hiddenSize: number,
  intermediateSize: number,
  layers: number,
  heads: number,
  context: number,
  more: Readonly<Record<string, unknown>> = {},
) => ({
  model_type: "llama",
  hidden_size: hiddenSize,
  intermediate_size: intermediateSize,
  num_hidden_layers: layers,
  num_attention_heads: heads,
  num_key_value_heads: heads,
  max_position_embeddings: context,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  tie_word_embeddings: true,
  ...more,
});

const gpt2 = (channels: number, layers: number, heads: number, context: number, more = {}) => ({
  model_type: "gpt2",
  n_embd: channels,
  n_layer: layers,
  n_head: heads,
  n_positions: context,
  activation_function: "gelu_new",
  layer_norm_epsilon: 1e-5,
  ...more,
});

const TABLE: readonly Preset[] = [
  {
    name: "storyteller",
    description:
      "1.4M-parameter llama on the built-in stories; what `npm start` trains in some minutes",
    model: llama(160, 432, 4, 4, 192),
    settings: {
      data: "stories",
      tokenizer: "bpe",
      vocab_size: 2048,
      max_seq_length: 192,
      batch_size: 12,
      max_steps: 1200,
      learning_rate: 4e-3,
      min_learning_rate: 1e-4,
      warmup_steps: 60,
      weight_decay: 0.1,
      adam_beta2: 0.99,
      sampling: "documents",
      eval_steps: 200,
      eval_batches: 20,
      save_steps: 300,
      final_samples: 3,
      sample_tokens: 190,
      sample_temperature: 0.8,
    },
  },
  {
    name: "nanogpt-char",
    description: "nanoGPT's CPU recipe for Shakespeare by characters: gpt2 family, 0.8M parameters",
    model: gpt2(128, 4, 4, 64, { bias: true }),
    settings: {
      tokenizer: "char",
      max_seq_length: 64,
      batch_size: 12,
      max_steps: 2000,
      learning_rate: 1e-3,
      min_learning_rate: 1e-4,
      warmup_steps: 100,
      weight_decay: 0.1,
      adam_beta1: 0.9,
      adam_beta2: 0.99,
      max_grad_norm: 1,
      eval_steps: 250,
      eval_batches: 20,
      save_steps: 1000,
      validation_fraction: 0.1,
    },
  },
  {
    name: "stories15M",
    description: "Karpathy's stories15M: llama, 288 channels, 6 layers, vocabulary 32,000",
    model: llama(288, 768, 6, 6, 256, { vocab_size: 32000 }),
    settings: { vocab_size: 32000, max_seq_length: 256, batch_size: 4, learning_rate: 5e-4 },
  },
  {
    name: "stories110M",
    description: "Karpathy's stories110M: llama, 768 channels, 12 layers, vocabulary 32,000",
    model: llama(768, 2048, 12, 12, 1024, { vocab_size: 32000 }),
    settings: { vocab_size: 32000, max_seq_length: 1024, batch_size: 1, learning_rate: 4e-4 },
  },
  {
    name: "gpt2",
    description: "GPT-2 small: 768 channels, 12 layers, vocabulary 50,257, 124M parameters",
    model: gpt2(768, 12, 12, 1024, { vocab_size: 50257 }),
    settings: { vocab_size: 50257, max_seq_length: 1024, batch_size: 1, learning_rate: 6e-4 },
  },
  {
    name: "qwen3-0.6b",
    description:
      "Qwen3-0.6B's shape: 1,024 channels, 28 layers, 16/8 heads of 128, vocabulary 151,936",
    model: {
      ...llama(1024, 3072, 28, 16, 40960, { vocab_size: 151936 }),
      model_type: "qwen3",
      num_key_value_heads: 8,
      head_dim: 128,
      rms_norm_eps: 1e-6,
      rope_theta: 1000000,
    },
    settings: { vocab_size: 151936, max_seq_length: 512, batch_size: 1, learning_rate: 3e-4 },
  },
  {
    name: "microgpt-1.1b",
    description: "TinyLlama's shape: 2,048 channels, 22 layers, 32/4 heads, vocabulary 32,000",
    model: {
      ...llama(2048, 5632, 22, 32, 2048, { vocab_size: 32000, tie_word_embeddings: false }),
      num_key_value_heads: 4,
    },
    settings: { vocab_size: 32000, max_seq_length: 512, batch_size: 1, learning_rate: 4e-4 },
  },
];

export const PRESETS: ReadonlyMap<string, Preset> = new Map(
  TABLE.map((preset) => [preset.name, preset]),
);

/** Throws `TrainError` with the nearest name. */
export function presetOf(name: string): Preset {
  const preset = PRESETS.get(name);
  if (preset === undefined) {
    throw new TrainError(
      "train.preset.unknown",
      `there is no preset "${name}".${didYouMean(name, PRESETS.keys())}`,
      { remedy: `Presets: ${[...PRESETS.keys()].join(", ")}.` },
    );
  }
  return preset;
}
