import { join } from "node:path";
import { readModelConfig } from "../../model/index.ts";
import { exportModel } from "../../runs/export-model.ts";
import { resolveModelFolder } from "../../runs/model-path.ts";
import { hasTokenizer, loadTokenizer } from "../../text/index.ts";
import type { BaseSettings } from "../config/part-settings.ts";

/** Of a run whose base got rows for all tokens: the base as it is trained. */
const BASE_FOLDER = "base";

/**
 * The settings with a base that has a row for each token of its tokenizer, where `resize_embeddings` asks for it and the
 * model has fewer: it is written into the run's folder, since adapters need it afterwards. `note` hears of it. Throws what
 * `exportModel` throws.
 */
export function withResizedBase<Settings extends BaseSettings>(
  config: Settings,
  note: (text: string) => void,
): Settings {
  const { model, resize_embeddings: isWanted, resume, output_dir: run } = config;
  if (!isWanted || model === undefined || resume) return config;
  const folder = resolveModelFolder(model, note);
  const { vocabularySize } = readModelConfig(folder);
  const tokenCount = hasTokenizer(folder)
    ? loadTokenizer(folder).tokenizer.vocabularySize
    : vocabularySize;
  if (tokenCount <= vocabularySize) {
    note(`the model has a row for each of its tokenizer's ${tokenCount} tokens: none is added`);
    return config;
  }
  const output = join(run, BASE_FOLDER);
  exportModel(folder, output, { type: "float32", overwrite: true, resizeEmbeddings: true });
  note(
    `${tokenCount - vocabularySize} rows were added to the embedding; the base is ${output} now, which the adapter needs`,
  );
  return { ...config, model: output };
}
