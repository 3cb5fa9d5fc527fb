import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import {
  cachedHubModel,
  fetchHubModel,
  hubModelNamed,
  snapshotOfCacheFolder,
} from "../hub/hub-model.ts";
import { modelLayout } from "../model/index.ts";
import { hasTokenizer } from "../text/index.ts";
import { didYouMean } from "../util/nearest.ts";
import { bestCheckpoint } from "./best-checkpoint.ts";
import { listCheckpoints } from "./checkpoint.ts";
import { RunError } from "./errors.ts";
import { damageNotes, newestWholeCheckpoint } from "./whole-checkpoints.ts";

const WHERE_MODELS_COME_FROM =
  "Train one with `anecdote train`, or give a Hugging Face model folder or a .gguf file.";

/** Kinds of tokenizers that are made for the data. */
export const TOKENIZER_KINDS = ["bpe", "char", "byte"] as const;

/**
 * The model that a path means: the folder itself, the file of a model of one file, or of a run's folder the best
 * checkpoint where it keeps one, else the newest whole one. `note` hears which it is where that is not the newest.
 * Throws `RunError` where there is none.
 */
export function resolveModelFolder(
  path: string,
  note: (message: string) => void = () => undefined,
): string {
  if (!existsSync(path)) {
    const named = hubModelNamed(path);
    const cached = named === undefined ? undefined : cachedHubModel(named);
    if (cached !== undefined) return cached;
    throw new RunError(
      "train.model.missing",
      named === undefined
        ? `there is no model folder ${path}`
        : `there is no model folder ${path}, and the Hub's cache has no model of that name`,
      { remedy: WHERE_MODELS_COME_FROM },
    );
  }
  const snapshot = snapshotOfCacheFolder(path);
  if (snapshot !== undefined) return resolveModelFolder(snapshot, note);
  if (!statSync(path).isDirectory()) {
    if (modelLayout(path) !== undefined) return path;
    throw new RunError(
      "train.model.file",
      `${path} is a file, and neither GGUF nor a checkpoint of llama2.c`,
      { remedy: WHERE_MODELS_COME_FROM },
    );
  }
  if (existsSync(join(path, "config.json"))) return path;
  const best = bestCheckpoint(path);
  if (best !== undefined) {
    const newest = listCheckpoints(path).at(-1);
    if (newest !== undefined && newest.step > best.step) {
      note(
        `${best.folder} is used, the best by eval_loss (${best.evalLoss.toFixed(4)}); the newest is ${basename(newest.folder)}`,
      );
    }
    return best.folder;
  }
  const [file, ...others] = readdirSync(path).filter((name) => name.endsWith(".gguf"));
  if (file !== undefined) {
    if (others.length === 0) return join(path, file);
    throw new RunError(
      "train.model.several",
      `${path} holds ${others.length + 1} GGUF files: ${[file, ...others].join(", ")}`,
      { remedy: `Name one of them: ${join(path, file)}.` },
    );
  }
  const found = newestWholeCheckpoint(path);
  const { checkpoint, damaged } = found;
  if (checkpoint !== undefined) {
    for (const message of damageNotes(found)) note(message);
    return checkpoint.folder;
  }
  const reason =
    damaged.length > 0
      ? damaged.map(({ problem }) => problem).join("; ")
      : `it holds ${readdirSync(path).slice(0, 5).join(", ") || "nothing"}`;
  throw new RunError(
    "train.model.folder",
    `${path} is neither a model folder (config.json, model.safetensors) nor a run with a checkpoint: ${reason}`,
  );
}

/**
 * Brings a model here that is named as on the Hub, so that `resolveModelFolder` finds it; does nothing for a path, and
 * for one that is here. `note` hears of what is fetched. Throws `HubError`.
 */
export async function fetchNamedModel(
  name: string,
  note: (message: string) => void = () => undefined,
  signal?: AbortSignal,
): Promise<void> {
  const model = hubModelNamed(name);
  if (model === undefined) return;
  await fetchHubModel(model, {
    onFile: (file, number, count) => note(`fetching ${model.id}: ${file} (${number} of ${count})`),
    ...(signal !== undefined && { signal }),
  });
}

/**
 * The tokenizer.json that a path means: the file itself, or the one of a folder, of a model or of a run. Throws
 * `RunError` where there is none.
 */
export function resolveTokenizer(
  path: string,
  note: (message: string) => void = () => undefined,
): string {
  if (!existsSync(path) && hubModelNamed(path) === undefined) {
    throw new RunError(
      "train.tokenizer.missing",
      `there is no tokenizer ${path}.${didYouMean(path, TOKENIZER_KINDS)}`,
      { remedy: "Give a tokenizer.json, or the folder of one, of a model or of a run." },
    );
  }
  if (existsSync(path) && !statSync(path).isDirectory()) return path;
  const own = join(path, "tokenizer.json");
  if (existsSync(own)) return own;
  const model = resolveModelFolder(path, note);
  if (!statSync(model).isDirectory() && hasTokenizer(model)) return model;
  const file = join(model, "tokenizer.json");
  if (existsSync(file)) return file;
  throw new RunError("train.tokenizer.missing", `${path} holds no tokenizer.json`, {
    remedy: "A model with only tokenizer.model must be converted first.",
  });
}
