import { writeBest } from "../../runs/best-checkpoint.ts";
import { writeCheckpoint } from "../../runs/checkpoint.ts";
import { pruneCheckpoints } from "../../runs/whole-checkpoints.ts";
import { runWriters } from "./checkpoint-contents.ts";
import type { RunFiles, ViewOf } from "./checkpoint-contents.ts";
import type { KeptLosses } from "./wire-state.ts";

/** A checkpoint that is to be written; plain data, so that another thread can have it. */
export interface SaveOrder {
  readonly runFolder: string;
  readonly step: number;
  /** The trainer's, of that step. */
  readonly state: unknown;
  /** The best evaluation, where it is of this step. */
  readonly best?: { readonly step: number; readonly evalLoss: number } | undefined;
  /** Whose checkpoint stays beside the newest. */
  readonly keptStep?: number | undefined;
  /** How many checkpoints stay; 0: all. */
  readonly limit: number;
}

export interface SavedCheckpoint {
  readonly folder: string;
  readonly byteLength: number;
  /** What was found of older checkpoints, a sentence each. */
  readonly notes: readonly string[];
}

/** Writes a checkpoint, notes it as the best where it is, and removes those that nobody wants any more. */
export function saveCheckpoint(
  { runFolder, step, state, best, keptStep, limit }: SaveOrder,
  files: RunFiles,
  viewOf: ViewOf,
  losses?: KeptLosses,
): SavedCheckpoint {
  const writers = runWriters(files, viewOf, state, losses);
  const { folder, byteLength } = writeCheckpoint(runFolder, step, writers);
  if (best !== undefined) writeBest(runFolder, best.step, best.evalLoss);
  return { folder, byteLength, notes: pruneCheckpoints(runFolder, limit, keptStep) };
}
