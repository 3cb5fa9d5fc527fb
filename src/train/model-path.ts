import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { newestWholeCheckpoint } from "./checkpoint.ts";
import { TrainError } from "./errors.ts";

/**
 * The model folder that a path means: the folder itself, or the newest whole checkpoint of a run's folder.
 * Throws `TrainError` where there is neither.
 */
export function resolveModelFolder(path: string): string {
  if (!existsSync(path) || !statSync(path).isDirectory()) {
    throw new TrainError("train.model.missing", `there is no model folder ${path}`, {
      remedy: "Train one with `anecdote train`, or give a Hugging Face model folder.",
    });
  }
  if (existsSync(join(path, "config.json"))) return path;
  const { checkpoint, damaged } = newestWholeCheckpoint(path);
  if (checkpoint !== undefined) return checkpoint.folder;
  const reason =
    damaged.length > 0
      ? damaged.join("; ")
      : `it holds ${readdirSync(path).slice(0, 5).join(", ") || "nothing"}`;
  throw new TrainError(
    "train.model.folder",
    `${path} is neither a model folder (config.json, model.safetensors) nor a run with a checkpoint: ${reason}`,
  );
}
