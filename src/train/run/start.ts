import { totalmem } from "node:os";
import { planMemory, totalByteLength } from "../../plan/index.ts";
import type { Plan } from "../../plan/index.ts";
import { listCheckpoints } from "../../runs/checkpoint.ts";
import { TrainError } from "../errors.ts";
import { eventsPath, readEvents } from "../../runs/event-log.ts";
import { readTrainerState } from "../../runs/state.ts";
import type { FoundCheckpoint } from "../../runs/whole-checkpoints.ts";

/** Events of a run that has not trained yet: it may begin again. */
const BEFORE_TRAINING: ReadonlySet<string> = new Set([
  "start",
  "notice",
  "power",
  "progress",
  "memory",
]);

/** A run folder that is new, or asked to be resumed. Throws `TrainError` rather than mix two runs. */
export function claimFolder({
  resume,
  output_dir: run,
}: {
  readonly resume: boolean;
  readonly output_dir: string;
}): void {
  if (resume) return;
  const isTaken =
    listCheckpoints(run).length > 0 ||
    readEvents(eventsPath(run)).some(({ kind }) => !BEFORE_TRAINING.has(kind));
  if (isTaken) {
    throw new TrainError("train.output_dir", `${run} holds a run already`, {
      remedy: "Continue it with --resume, or choose another folder with --output-dir.",
    });
  }
}

/** What to tell of a run that has nothing left to do; nothing for one that goes on. */
export function finishedNotice(
  config: {
    readonly max_steps: number;
    readonly output_dir: string;
    readonly patience?: number | undefined;
  },
  { checkpoint }: FoundCheckpoint,
): string | undefined {
  const patience = config.patience ?? Infinity;
  if (checkpoint !== undefined && Number.isFinite(patience)) {
    const { best } = readTrainerState(checkpoint.folder);
    if (best !== undefined && best.evaluationsSince >= patience)
      return `stopped at step ${checkpoint.step}: ${best.evaluationsSince} evaluations in a row were no better than that of step ${best.step}; raise --patience to go on`;
  }
  if (checkpoint === undefined || checkpoint.step < config.max_steps) return undefined;
  const { step } = checkpoint;
  const isEnded = readEvents(eventsPath(config.output_dir)).some(
    (event) => event.kind === "end" && event.step === step,
  );
  if (isEnded) return `finished at step ${step}; raise --max-steps to go on`;
  // Cut off after its last step: what is due after it is still to be done.
  if (step === config.max_steps) return undefined;
  return `step ${step} is done, past --max-steps ${config.max_steps}; raise --max-steps to go on`;
}

/** Bytes of all buffers of a plan, as `plan` prints them. */
export function planBytes(plan: Plan): number {
  return totalByteLength(planMemory(plan));
}

/** Throws `TrainError` `train.memory` for a plan whose buffers this machine's memory does not hold. */
export function requireMemory(plan: Plan): void {
  const needed = planBytes(plan);
  const limit = machineMemory();
  if (needed <= limit) return;
  throw new TrainError(
    "train.memory",
    `a step needs ${gibibytes(needed)} of memory, this machine has ${gibibytes(limit)}`,
    {
      remedy:
        "Lower --batch-size (--gradient-accumulation-steps makes up for it) or --max-seq-length, or choose a smaller model.",
    },
  );
}

/** What this process may have at most: the machine's memory, or what a container leaves of it. */
export function machineMemory(): number {
  const constrained = process.constrainedMemory();
  return constrained > 0 ? Math.min(totalmem(), constrained) : totalmem();
}

function gibibytes(byteLength: number): string {
  return `${Number((byteLength / 2 ** 30).toPrecision(3))} GiB`;
}
