import { statSync } from "node:fs";
import { basename } from "node:path";
import { requireFreeOutputs } from "../files/output-file.ts";
import { fusedWeights, openModel, readModelConfig } from "../model/index.ts";
import type { AdapterSource } from "../model/index.ts";
import { ggufModelMetadata, ggufTensors } from "../model/gguf/gguf-model.ts";
import type { GgufTypeName } from "../model/gguf/gguf-model.ts";
import { writeGguf } from "../model/gguf/gguf-writer.ts";
import { hasTokenizer, loadTokenizer } from "../text/index.ts";
import { ggufVocabulary } from "../text/gguf-vocabulary.ts";

/** How a GGUF file is written. */
export interface GgufExportOptions {
  /** Of matrices; vectors are F32. */
  readonly type: GgufTypeName;
  /** Replaces a file that exists. Default false. */
  readonly overwrite?: boolean;
  /** Added to the model's weights; a folder's own adapter always is. */
  readonly adapters?: readonly AdapterSource[];
}

/** What a GGUF file holds. */
export interface GgufExport {
  readonly output: string;
  readonly type: GgufTypeName;
  readonly tensors: number;
  readonly byteLength: number;
  /** What other programs will not see of the model, and matrices of another type, as sentences. */
  readonly notes: readonly string[];
}

/**
 * Writes a model, an adapter added to it, as a GGUF file with its tokenizer and chat template; one weight in memory at
 * a time. Throws `ModelError` `model.gguf.write` and `TextError` `text.gguf` for what the format has no place for.
 */
export function exportGguf(
  folder: string,
  output: string,
  { type, overwrite = false, adapters = [] }: GgufExportOptions,
): GgufExport {
  requireFreeOutputs({ paths: [output], inputs: [folder], overwrite });
  const config = readModelConfig(folder);
  const { metadata, notes } = ggufModelMetadata(config, type);
  const said = [...notes];
  const vocabulary = hasTokenizer(folder)
    ? ggufVocabulary(loadTokenizer(folder), config.vocabularySize)
    : undefined;
  if (vocabulary === undefined) said.push("the model has no tokenizer, and neither has the file");
  const tensors = ggufTensors(config, fusedWeights(openModel(folder, adapters)), type, (message) =>
    said.push(message),
  );
  const name = basename(output).replace(/\.gguf$/, "");
  writeGguf(
    output,
    [
      ...metadata,
      ["general.name", { type: "string", value: name }],
      ...(vocabulary ?? idsOf(config)),
    ],
    tensors,
  );
  const byteLength = statSync(output).size;
  return { output, type, tensors: tensors.length, byteLength, notes: said };
}

/** Begin and end tokens of a model without tokenizer. */
function idsOf({
  beginTokenId,
  endTokenIds: [end],
}: ReturnType<typeof readModelConfig>): ReturnType<typeof ggufVocabulary> {
  const ids = [
    ["bos", beginTokenId],
    ["eos", end],
  ] as const;
  return ids.flatMap(([name, id]) =>
    id === undefined
      ? []
      : [[`tokenizer.ggml.${name}_token_id`, { type: "uint32", value: id }] as const],
  );
}
