import { existsSync, readdirSync, renameSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { syncFolder } from "../util/atomic-file.ts";
import { checkpointProblem, listCheckpoints } from "./checkpoint.ts";
import type { CheckpointFolder } from "./checkpoint.ts";

export interface DamagedCheckpoint extends CheckpointFolder {
  /** A sentence that names the folder, the file and what is wrong with it. */
  readonly problem: string;
}

/** The newest checkpoint that is whole, and newer ones that are not. */
export interface FoundCheckpoint {
  readonly checkpoint: CheckpointFolder | undefined;
  /** Newer ones that were passed over, newest first. */
  readonly damaged: readonly DamagedCheckpoint[];
}

/** The newest checkpoint that is whole. Only reads: another process may be writing the run. */
export function newestWholeCheckpoint(runFolder: string): FoundCheckpoint {
  const damaged: DamagedCheckpoint[] = [];
  for (const checkpoint of [...listCheckpoints(runFolder)].reverse()) {
    const problem = checkpointProblem(checkpoint.folder);
    if (problem === undefined) return { checkpoint, damaged };
    damaged.push({ ...checkpoint, problem });
  }
  return { checkpoint: undefined, damaged };
}

/** What to tell of checkpoints that were passed over, a sentence each. */
export function damageNotes({ checkpoint, damaged }: FoundCheckpoint): readonly string[] {
  const instead =
    checkpoint === undefined
      ? "it is passed over"
      : `the older ${basename(checkpoint.folder)} is used`;
  return damaged.map(({ problem }) => `${problem}; ${instead}`);
}

/** Removes what saves that were cut off left in a run's folder. For the process that trains there, no other. */
export function removeUnfinishedSaves(runFolder: string): void {
  if (!existsSync(runFolder)) return;
  for (const name of readdirSync(runFolder)) {
    if (/^\.checkpoint-\d+\.tmp$/.test(name)) {
      rmSync(join(runFolder, name), { recursive: true, force: true });
    }
  }
}

/**
 * Renames a damaged checkpoint to `<name>.damaged`, so that it is neither resumed from nor counted, and returns that
 * name. An earlier one of the same name gives way.
 */
export function setAside({ folder }: CheckpointFolder): string {
  const aside = `${folder}.damaged`;
  rmSync(aside, { recursive: true, force: true });
  renameSync(folder, aside);
  syncFolder(join(folder, ".."));
  return basename(aside);
}

/**
 * Keeps the newest `limit` whole checkpoints, and that of step `kept`, and removes older ones; 0 keeps all. Damaged ones
 * among the newest do not count and are set aside. Returns a sentence for each of those.
 */
export function pruneCheckpoints(
  runFolder: string,
  limit: number,
  kept?: number,
): readonly string[] {
  const checkpoints = [...listCheckpoints(runFolder)].reverse();
  if (limit === 0 || checkpoints.length <= limit) return [];
  const notes: string[] = [];
  let wholeCount = 0;
  for (const checkpoint of checkpoints) {
    if (wholeCount === limit) {
      if (checkpoint.step === kept) continue;
      rmSync(checkpoint.folder, { recursive: true, force: true });
      continue;
    }
    const problem = checkpointProblem(checkpoint.folder);
    if (problem === undefined) wholeCount++;
    else notes.push(`${problem}; it is kept as ${setAside(checkpoint)} and does not count`);
  }
  return notes;
}
