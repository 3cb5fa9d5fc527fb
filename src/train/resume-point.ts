import type { CheckpointFolder } from "./checkpoint.ts";
import {
  damageNotes,
  newestWholeCheckpoint,
  removeUnfinishedSaves,
  setAside,
} from "./whole-checkpoints.ts";

/** Where a run goes on. */
export interface ResumePoint {
  readonly checkpoint: CheckpointFolder;
}

/**
 * The newest whole checkpoint of a run that is to go on, or nothing. Newer, damaged ones are set aside, so that they
 * are not taken for the run's newest again; `note` hears of each. What saves that were cut off left is removed.
 */
export function takeResumePoint(
  runFolder: string,
  note: (message: string) => void,
): ResumePoint | undefined {
  removeUnfinishedSaves(runFolder);
  const found = newestWholeCheckpoint(runFolder);
  for (const [index, message] of damageNotes(found).entries()) {
    const damaged = found.damaged[index];
    note(damaged === undefined ? message : `${message}, it is kept as ${setAside(damaged)}`);
  }
  if (found.checkpoint !== undefined) return { checkpoint: found.checkpoint };
  note(`${runFolder} has no checkpoint to resume; starting anew`);
  return undefined;
}
