import type { BufferView, LoadedPlan } from "../../engine/engine.ts";
import { activitiesAfter, LeftActivities } from "./activities.ts";
import { writeCheckpoint } from "../../runs/checkpoint.ts";
import type { ControlBlock, FreezeResult } from "./control.ts";
import { TrainError } from "../errors.ts";
import { logInterruption } from "../../runs/event-log.ts";
import type { TrainEvent } from "../../runs/events.ts";
import { runBuffers, runWriters } from "./checkpoint-contents.ts";
import type { RunFiles } from "./checkpoint-contents.ts";
import { publishedRunSchema } from "./published-run.ts";
import type { ActivityTimes } from "./activities.ts";

/** Why nothing was saved. */
const REASONS: Readonly<Record<FreezeResult, string>> = {
  frozen: "the engine hangs and its memory cannot be saved from outside",
  updating: "the engine hangs inside an update: weights are between two steps and were not saved",
  saving: "the run's own thread hangs while it saves",
};

/** What the main thread needs to save a run whose own thread hangs. The views stand on shared memory. */
export interface SharedRun {
  readonly files: RunFiles;
  readonly views: ReadonlyMap<string, BufferView>;
}

export function sharedRun(loaded: LoadedPlan, files: RunFiles): SharedRun {
  const views = new Map<string, BufferView>();
  for (const name of runBuffers(files.parameters)) {
    const view = loaded.view(name);
    if (view.buffer instanceof SharedArrayBuffer) views.set(name, view);
  }
  return { files, views };
}

/**
 * Saves the last whole step from the main thread, and what is still due after it for the process that goes on.
 * Throws `TrainError` when there is none: the run hung while it was prepared or inside an update, or the engine's
 * memory is not shared. The last checkpoint then stands.
 */
export function saveFromMainThread(
  control: ControlBlock,
  run: SharedRun | undefined,
  config: ActivityTimes & { readonly output_dir: string },
): TrainEvent {
  // From here on the training thread changes nothing, even if it comes back.
  const freeze = control.freeze();
  const published = publishedRunSchema.safeParse(control.readState());
  if (
    freeze !== "frozen" ||
    run === undefined ||
    !published.success ||
    run.views.size < runBuffers(run.files.parameters).length
  ) {
    throw new TrainError("train.stuck", REASONS[freeze], {
      remedy: "The last checkpoint is intact; continue from it with --resume.",
    });
  }
  const { state, leftCount } = published.data;
  const { step, evalLoss } = state;
  writeCheckpoint(
    config.output_dir,
    step,
    runWriters(
      run.files,
      (name) => {
        const view = run.views.get(name);
        if (view === undefined) throw new TrainError("train.stuck", `buffer ${name} is not shared`);
        return view;
      },
      state,
    ),
  );
  const due = activitiesAfter(step, config);
  new LeftActivities(config.output_dir).write(step, {
    activities: due.slice(due.length - leftCount),
    evalLoss,
  });
  return logInterruption(config.output_dir, step);
}
