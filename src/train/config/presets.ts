import { modelPreset } from "../../model/index.ts";
import type { ModelConfig } from "../../model/index.ts";
import { didYouMean } from "../../util/nearest.ts";
import { TrainError } from "../errors.ts";
import type { TrainSettings } from "./config.ts";

/** A named model with settings that work. */
export interface Preset {
  readonly name: string;
  readonly description: string;
  readonly model: ModelConfig;
  /** Whether the model's vocabulary is the tokenizer's, whatever that has; otherwise the model's own stands. */
  readonly vocabularyFollowsTokenizer: boolean;
  /** Settings that differ from the defaults, by their option keys. */
  readonly settings: TrainSettings;
}

type Row = Omit<Preset, "name" | "model" | "vocabularyFollowsTokenizer"> & {
  readonly vocabularyFollowsTokenizer?: boolean;
  /** Whose model it is, where another preset trains the same. */
  readonly modelOf?: string;
};

/** What nanoGPT's recipe for characters and its faster form share. */
const BY_CHARACTERS: TrainSettings = {
  tokenizer: "char",
  max_seq_length: 64,
  batch_size: 12,
  weight_decay: 0.1,
  adam_beta1: 0.9,
  adam_beta2: 0.99,
  max_grad_norm: 1,
  eval_steps: 250,
  save_steps: 1000,
  validation_fraction: 0.1,
};

const ROWS: Readonly<Record<string, Row>> = {
  storyteller: {
    description: "a small llama on the built-in stories; what `npm start` trains in some minutes",
    vocabularyFollowsTokenizer: true,
    settings: {
      data: "stories",
      tokenizer: "bpe",
      vocab_size: 4096,
      max_seq_length: 216,
      batch_size: 4,
      max_steps: 1400,
      learning_rate: 3e-3,
      min_learning_rate: 1e-4,
      warmup_steps: 60,
      weight_decay: 0.01,
      adam_beta2: 0.99,
      sampling: "documents",
      eval_steps: 400,
      save_steps: 400,
      final_samples: 3,
      sample_tokens: 220,
      sample_temperature: 0.7,
    },
  },
  "nanogpt-char": {
    description: "nanoGPT's CPU recipe for Shakespeare by characters: gpt2 family, 0.8M parameters",
    vocabularyFollowsTokenizer: true,
    settings: {
      ...BY_CHARACTERS,
      max_steps: 2000,
      learning_rate: 1e-3,
      min_learning_rate: 1e-4,
      warmup_steps: 100,
    },
  },
  "nanogpt-char-fast": {
    description: "nanogpt-char to the same loss in less than half the time: Muon, a short schedule",
    modelOf: "nanogpt-char",
    vocabularyFollowsTokenizer: true,
    settings: {
      ...BY_CHARACTERS,
      max_steps: 500,
      learning_rate: 3e-3,
      min_learning_rate: 3e-4,
      warmup_steps: 20,
      optimizer: "muon",
      muon_learning_rate: 9e-3,
      muon_iterations: 3,
    },
  },
  stories15M: {
    description: "llama2.c's stories15M: llama, 288 channels, 6 layers, vocabulary 32,000",
    settings: { vocab_size: 32000, max_seq_length: 256, batch_size: 4, learning_rate: 5e-4 },
  },
  stories110M: {
    description: "llama2.c's stories110M: llama, 768 channels, 12 layers, vocabulary 32,000",
    settings: { vocab_size: 32000, max_seq_length: 1024, batch_size: 1, learning_rate: 4e-4 },
  },
  gpt2: {
    description: "GPT-2 small: 768 channels, 12 layers, vocabulary 50,257, 124M parameters",
    settings: { vocab_size: 50257, max_seq_length: 1024, batch_size: 1, learning_rate: 6e-4 },
  },
  "qwen3-0.6b": {
    description: "Qwen3-0.6B: 1,024 channels, 28 layers, 16/8 heads of 128, vocabulary 151,936",
    settings: { vocab_size: 151936, max_seq_length: 512, batch_size: 1, learning_rate: 3e-4 },
  },
  "microgpt-1.1b": {
    description: "TinyLlama's shape: 2,048 channels, 22 layers, 32/4 heads, vocabulary 32,000",
    settings: { vocab_size: 32000, max_seq_length: 512, batch_size: 1, learning_rate: 4e-4 },
  },
  "llama-2-70b": {
    description: "Llama-2-70B's shape, for plans: 8,192 channels, 80 layers, 64/8 heads",
    settings: { vocab_size: 32000, max_seq_length: 512, batch_size: 1, learning_rate: 1e-4 },
  },
  "qwen2.5-32b": {
    description: "Qwen2.5-32B's shape, for plans: 5,120 channels, 64 layers, 40/8 heads",
    settings: { vocab_size: 152064, max_seq_length: 512, batch_size: 1, learning_rate: 1e-4 },
  },
};

/** Of a run whose model nobody chose. */
export const DEFAULT_PRESET = "storyteller";

/** Named models with settings that work, by name. */
export const PRESETS: ReadonlyMap<string, Preset> = new Map(
  Object.entries(ROWS).map(([name, row]) => [
    name,
    {
      vocabularyFollowsTokenizer: false,
      ...row,
      name,
      model: modelPreset(row.modelOf ?? name),
    },
  ]),
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
