import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { TrainError } from "./errors.ts";
import { damageNotes, newestWholeCheckpoint } from "./whole-checkpoints.ts";

/**
 * The model folder that a path means: the folder itself, or the newest whole checkpoint of a run's folder.
 * `note` hears of newer ones that are damaged. Throws `TrainError` where there is neither.
 */
export function resolveModelFolder(
  path: string,
  note: (message: string) => void = () => undefined,
): string {
  if (!existsSync(path) || !statSync(path).isDirectory()) {
    throw new TrainError("train.model.missing", `there is no model folder ${path}`, {
      remedy: "Train one with `anecdote train`, or give a Hugging Face model folder.",
    });
  }
  if (existsSync(join(path, "config.json"))) return path;
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
  throw new TrainError(
    "train.model.folder",
    `${path} is neither a model folder (config.json, model.safetensors) nor a run with a checkpoint: ${reason}`,
  );
}
