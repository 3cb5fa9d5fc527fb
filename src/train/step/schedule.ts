/** Courses of the learning rate. */
export const SCHEDULES = ["cosine", "linear", "constant"] as const;
/** Courses of the learning rate. */
export type ScheduleKind = (typeof SCHEDULES)[number];

/** The learning rate over a run. */
export interface Schedule {
  readonly kind: ScheduleKind;
  readonly learningRate: number;
  readonly minimumLearningRate: number;
  readonly warmupSteps: number;
  readonly maxSteps: number;
  /** The update, counted from 0, that has the minimum; default: the one after the last, as nanoGPT's. */
  readonly decaySteps?: number;
}

/** `warmup_steps` as a count: a number below 1 is a share of all steps. */
export function resolveWarmupSteps(warmupSteps: number, maxSteps: number): number {
  return warmupSteps > 0 && warmupSteps < 1 ? Math.round(warmupSteps * maxSteps) : warmupSteps;
}

/** The learning rate of update `step`, counted from 0: a linear climb, then down to the minimum. */
export function learningRateAt(schedule: Schedule, step: number): number {
  const { kind, learningRate, minimumLearningRate, warmupSteps } = schedule;
  const decaySteps = schedule.decaySteps ?? schedule.maxSteps;
  if (step < warmupSteps) return (learningRate * (step + 1)) / (warmupSteps + 1);
  const progress = Math.min(1, (step - warmupSteps) / Math.max(1, decaySteps - warmupSteps));
  switch (kind) {
    case "constant":
      return learningRate;
    case "linear":
      return learningRate + (minimumLearningRate - learningRate) * progress;
    case "cosine":
      return (
        minimumLearningRate +
        0.5 * (1 + Math.cos(Math.PI * progress)) * (learningRate - minimumLearningRate)
      );
  }
}
