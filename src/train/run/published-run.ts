import * as z from "zod";
import { trainerStateSchema } from "../../runs/state.ts";
import type { TrainerState } from "../../runs/state.ts";

/** What the training thread leaves in the control block at every whole step, for whoever has to save it. */
export const publishedRunSchema = z.object({
  state: trainerStateSchema,
  /** How many of the activities due after this step are not done. */
  leftCount: z.int().nonnegative(),
});

export type PublishedRun = z.infer<typeof publishedRunSchema>;

export function publishedRun(state: TrainerState, leftCount: number): PublishedRun {
  return { state, leftCount };
}
