import { readFolderConfig } from "./config-json.ts";
import type { ModelConfig } from "./config.ts";
import { ggufConfig } from "./gguf/gguf-config.ts";
import { withGguf } from "./gguf/gguf-file.ts";
import { llama2cConfig } from "./llama2c.ts";
import { modelLayout } from "./model-files.ts";

/** A model's configuration: of a folder's `config.json`, or of the one file it is. Throws `ModelError` and `FileError`. */
export function readModelConfig(path: string): ModelConfig {
  switch (modelLayout(path)) {
    case "gguf":
      return withGguf(path, ggufConfig);
    case "llama2.c":
      return llama2cConfig(path);
    case "folder":
    case undefined:
      return readFolderConfig(path);
  }
}
