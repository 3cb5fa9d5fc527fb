import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { writeWholeFile } from "../../util/atomic-file.ts";
import { readSmallFile } from "../../util/byte-source.ts";
import { RunError } from "../../runs/errors.ts";
import { refuseLater } from "../../util/format-version.ts";

/** What a run does after a step besides training. */
export type Activity = "evaluate" | "sample" | "save" | `final-sample-${number}`;

/** When a run does what, by the names of its settings. */
export interface ActivityTimes {
  readonly max_steps: number;
  readonly eval_steps: number;
  readonly sample_steps: number;
  readonly save_steps: number;
  /** Samples after the last step. */
  readonly final_samples: number;
  /** Before the first step. */
  readonly eval_on_start: boolean;
}

/** What is due after a step, in order. */
export function activitiesAfter(step: number, times: ActivityTimes): readonly Activity[] {
  if (step === 0) return times.eval_on_start ? ["evaluate"] : [];
  if (step >= times.max_steps) {
    const samples = Array.from(
      { length: times.final_samples },
      (_, index): Activity => `final-sample-${index}`,
    );
    return ["evaluate", "save", ...samples];
  }
  const isDue = (steps: number): boolean => steps > 0 && step % steps === 0;
  return [
    ...(isDue(times.eval_steps) ? (["evaluate"] as const) : []),
    ...(isDue(times.sample_steps) ? (["sample"] as const) : []),
    ...(isDue(times.save_steps) ? (["save"] as const) : []),
  ];
}

/** The event that tells of an activity; a save is told by none that is ever told again. */
function eventOf(activity: Activity): "eval" | "sample" | undefined {
  if (activity === "save") return undefined;
  return activity === "evaluate" ? "eval" : "sample";
}

/**
 * How many events of a kind a log may hold of a step, where that kind is still `due` after it: those beyond will be
 * told again.
 */
export function doneEvents(
  step: number,
  due: readonly Activity[],
  times: ActivityTimes,
): ReadonlyMap<string, number> {
  const countOf = (activities: readonly Activity[], kind: string): number =>
    activities.filter((activity) => eventOf(activity) === kind).length;
  const all = activitiesAfter(step, times);
  return new Map(
    ["eval", "sample"].flatMap((kind) => {
      const again = countOf(due, kind);
      return again === 0 ? [] : [[kind, countOf(all, kind) - again] as const];
    }),
  );
}

/** Seed of the draws of a sample. */
export function sampleSeed(activity: Activity, step: number, seed: number): number {
  const [, index] = /^final-sample-(\d+)$/.exec(activity) ?? [];
  return seed + step + Number(index ?? 0);
}

const FILE = "continue.json";
/** Changes with the meaning of a field; a file without it is of the first version. */
const VERSION = 1;
const leftSchema = z.object({
  step: z.int().nonnegative(),
  activities: z.array(z.string()),
  evalLoss: z.number().nullable(),
});

/** What is still due after a step, and what has come of the rest since its checkpoint was written. */
export interface Left {
  readonly activities: readonly Activity[];
  readonly evalLoss: number | null;
}

/**
 * What a process could not do after its last step, kept in the run's folder for the one that goes on. Absent where
 * nothing was left.
 */
export class LeftActivities {
  readonly #path: string;

  constructor(runFolder: string) {
    this.#path = join(runFolder, FILE);
  }

  write(step: number, left: Left): void {
    writeWholeFile(this.#path, `${JSON.stringify({ version: VERSION, step, ...left })}\n`);
  }

  /**
   * For a run at `step`: nothing where the file is of another one, or broken. Throws `RunError` `run.continue.version`
   * for one of a later version: what it holds back would be done twice, or not at all.
   */
  read(step: number, times: ActivityTimes): Left | undefined {
    const content = this.#content();
    const format = { known: VERSION, what: this.#path };
    refuseLater(content, format, RunError, "run.continue.version");
    const left = leftSchema.safeParse(content);
    if (!left.success || left.data.step !== step) return undefined;
    const due = activitiesAfter(step, times);
    const first = due.findIndex((activity) => left.data.activities.includes(activity));
    return { activities: first < 0 ? [] : due.slice(first), evalLoss: left.data.evalLoss };
  }

  #content(): unknown {
    if (!existsSync(this.#path)) return undefined;
    try {
      return JSON.parse(Buffer.from(readSmallFile(this.#path, 1 << 16)).toString("utf8"));
    } catch {
      return undefined;
    }
  }

  clear(): void {
    rmSync(this.#path, { force: true });
  }
}
