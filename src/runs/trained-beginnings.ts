import { existsSync } from "node:fs";
import { join } from "node:path";
import type { BeginTokens, TrainedBeginnings } from "../text/index.ts";
import { readTrainerState, TRAINER_STATE } from "./state.ts";

/** What a run's settings say of how its documents begin; those of 0.1 say nothing and had no begin token. */
export function beginningsOf(config: Readonly<Record<string, unknown>>): TrainedBeginnings {
  const begin: BeginTokens = config["begin_tokens"] === "template" ? "template" : "none";
  return { beginTokens: begin, byDocument: config["sampling"] === "documents" };
}

/** How the documents began that a checkpoint was trained on; undefined for a model from elsewhere. */
export function trainedBeginnings(modelFolder: string): TrainedBeginnings | undefined {
  if (!existsSync(join(modelFolder, TRAINER_STATE))) return undefined;
  return beginningsOf(readTrainerState(modelFolder).config);
}
