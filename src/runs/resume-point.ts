import type { CheckpointFolder } from "./checkpoint.ts";
import { readTrainerState } from "./state.ts";
import type { TrainerState } from "./state.ts";
import { damageNotes, setAside } from "./whole-checkpoints.ts";
import type { FoundCheckpoint } from "./whole-checkpoints.ts";

/** Where a run goes on. */
export interface ResumePoint extends CheckpointFolder {
  readonly state: TrainerState;
}

/**
 * The checkpoint that was found in a run's folder and its state, or nothing where the run begins anew. Newer, damaged
 * ones are set aside, so that they are not taken for the run's newest again; `note` hears of each.
 */
export function takeResumePoint(
  runFolder: string,
  found: FoundCheckpoint,
  note: (message: string) => void,
): ResumePoint | undefined {
  for (const [index, message] of damageNotes(found).entries()) {
    const damaged = found.damaged[index];
    note(damaged === undefined ? message : `${message}, it is kept as ${setAside(damaged)}`);
  }
  const { checkpoint } = found;
  if (checkpoint !== undefined) {
    return { ...checkpoint, state: readTrainerState(checkpoint.folder) };
  }
  note(`${runFolder} has no checkpoint to resume; starting anew`);
  return undefined;
}
