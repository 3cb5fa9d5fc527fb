import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { writeWholeFile } from "../util/atomic-file.ts";
import { readSmallFile } from "../util/byte-source.ts";
import type { TrainConfig } from "./config.ts";

/** What a run does after a step besides training. */
export type Activity = "evaluate" | "sample" | "save" | `final-sample-${number}`;

/** What is due after a step, in order. */
export function activitiesAfter(step: number, config: TrainConfig): readonly Activity[] {
  if (step >= config.max_steps) {
    const samples = Array.from(
      { length: config.final_samples },
      (_, index): Activity => `final-sample-${index}`,
    );
    return ["evaluate", "save", ...samples];
  }
  const isDue = (steps: number): boolean => steps > 0 && step % steps === 0;
  return [
    ...(isDue(config.eval_steps) ? (["evaluate"] as const) : []),
    ...(isDue(config.sample_steps) ? (["sample"] as const) : []),
    ...(isDue(config.save_steps) ? (["save"] as const) : []),
  ];
}

/** Seed of the draws of a sample. */
export function sampleSeed(activity: Activity, step: number, { seed }: TrainConfig): number {
  const [, index] = /^final-sample-(\d+)$/.exec(activity) ?? [];
  return seed + step + Number(index ?? 0);
}

const FILE = "continue.json";
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
    writeWholeFile(this.#path, `${JSON.stringify({ step, ...left })}\n`);
  }

  /** For a run at `step`: nothing where the file is of another one, or broken. */
  read(step: number, config: TrainConfig): Left | undefined {
    if (!existsSync(this.#path)) return undefined;
    try {
      const text = Buffer.from(readSmallFile(this.#path, 1 << 16)).toString("utf8");
      const left = leftSchema.parse(JSON.parse(text));
      if (left.step !== step) return undefined;
      const activities = activitiesAfter(step, config).filter((due) =>
        left.activities.includes(due),
      );
      return { activities, evalLoss: left.evalLoss };
    } catch {
      return undefined;
    }
  }

  clear(): void {
    rmSync(this.#path, { force: true });
  }
}
