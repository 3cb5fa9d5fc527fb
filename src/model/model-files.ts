import { statSync } from "node:fs";
import type { ByteSource } from "../util/byte-source.ts";
import type { ModelConfig } from "./config.ts";
import { isGgufSource } from "./gguf/gguf-file.ts";
import { openGgufWeights } from "./gguf/gguf-weights.ts";
import { isLlama2cSource, openLlama2cWeights } from "./llama2c.ts";
import { openSafetensorsWeights } from "./safetensors-source.ts";
import type { WeightSource } from "./weight-source.ts";
import { withFileSource } from "../util/byte-source.ts";

/** How a model is stored: a folder as the Hub has it, or one file. */
export type ModelLayout = "folder" | "gguf" | "llama2.c";

/** The layout of what a path names; a file that is neither of the two is none. Throws `FileError` where it cannot be read. */
export function modelLayout(path: string): ModelLayout | undefined {
  const status = statSync(path, { throwIfNoEntry: false });
  if (status === undefined || status.isDirectory()) return "folder";
  return withFileSource(path, (source) => {
    if (isGgufSource(source)) return "gguf";
    return isLlama2cSource(source) ? "llama2.c" : undefined;
  });
}

/** Whether a file is a model of its own, of either kind. */
export function isModelFile(source: ByteSource): boolean {
  return isGgufSource(source) || isLlama2cSource(source);
}

/** Opens a model's weights wherever they stand. Throws `ModelError` and `FileError` for what is wrong with them. */
export function openWeightSource(path: string, config: ModelConfig): WeightSource {
  switch (modelLayout(path)) {
    case "gguf":
      return openGgufWeights(path, config);
    case "llama2.c":
      return openLlama2cWeights(path);
    case "folder":
    case undefined:
      return openSafetensorsWeights(path);
  }
}
