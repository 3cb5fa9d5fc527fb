// Whether there is a tokenizer, without what it takes to load one.
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { withGguf } from "../model/gguf/gguf-file.ts";
import { modelLayout, readModelConfig } from "../model/index.ts";

/** Whether a model, a folder or a file, has a tokenizer that `loadTokenizer` would load. */
export function hasTokenizer(path: string): boolean {
  switch (modelLayout(path)) {
    case "gguf":
      return hasGgufTokenizer(path);
    case "llama2.c":
      return hasLlama2cTokenizer(path);
    case "folder":
    case undefined:
      return existsSync(join(path, "tokenizer.json"));
  }
}

function hasGgufTokenizer(path: string): boolean {
  return withGguf(path, ({ metadata }) => metadata.has("tokenizer.ggml.tokens"));
}

function hasLlama2cTokenizer(checkpoint: string): boolean {
  const { vocabularySize } = readModelConfig(checkpoint);
  return llama2cTokenizerPaths(checkpoint, vocabularySize).some((path) => existsSync(path));
}

/** Files in which a checkpoint's tokenizer may stand: llama2.c's own name, and that of vocabularies it trained. */
export function llama2cTokenizerPaths(
  checkpoint: string,
  vocabularySize: number,
): readonly string[] {
  return ["tokenizer.bin", `tok${vocabularySize}.bin`].map((name) =>
    join(dirname(checkpoint), name),
  );
}
