import type { Qwen3Config } from "./config.ts";
import { decoderFamily } from "./decoder.ts";
import type { Family } from "./family.ts";

/** Qwen3 differs from llama by norms on queries and keys and a head size of its own. */
export const QWEN3: Family<Qwen3Config> = decoderFamily((config) => ({
  ...config,
  feedForwardBias: false,
  headNorm: true,
}));
