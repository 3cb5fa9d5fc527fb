import type { LlamaConfig } from "./config.ts";
import { decoderFamily } from "./decoder.ts";
import type { Family } from "./family.ts";

/** Llama and its likes (TinyLlama, SmolLM, stories15M): biases only where config.json asks for them. */
export const LLAMA: Family<LlamaConfig> = decoderFamily((config) => ({
  ...config,
  headNorm: false,
}));
