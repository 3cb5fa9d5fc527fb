import { basename } from "node:path";
import { lowerBound } from "../util/plot/down-sample.ts";
import { listCheckpoints } from "./checkpoint.ts";
import { RunError } from "./errors.ts";
import { glimpseOfNothing, glimpseRun } from "./run-glimpse.ts";
import type { RunGlimpse } from "./run-glimpse.ts";
import { folderByteLength, stateAfter } from "./run-summary.ts";
import type { RunState } from "./run-summary.ts";

const SPARK_COUNT = 60;
/** Places at which a long log is glimpsed. */
export const GLIMPSE_COUNT = 100;

/** A run in a list. */
export interface RunRow {
  /** Its folder's name. */
  readonly id: string;
  readonly state: RunState;
  /** Why nothing more is told of it, where it is "unreadable". */
  readonly problem: string | null;
  readonly isPaused: boolean;
  readonly step: number;
  readonly maxSteps: number | null;
  readonly model: string | null;
  readonly parameterCount: number | null;
  readonly engine: string | null;
  readonly trainLoss: number | null;
  readonly evalLoss: number | null;
  readonly tokensPerSecond: number | null;
  readonly joulesPerToken: number | null;
  readonly etaSeconds: number | null;
  /** Seconds since 1970. */
  readonly startedAt: number | null;
  readonly updatedAt: number | null;
  /** Of the whole folder. */
  readonly byteLength: number;
  /** Some training losses, evenly over the run. */
  readonly losses: readonly number[];
}

/** What a caller that asks again has kept. */
export interface KnownOfRun {
  readonly glimpse?: () => RunGlimpse;
  readonly byteLength?: () => number;
}

/**
 * A run's row, by a glimpse at its log: of a long run about as fast as of a short one. A run that cannot be read, as of a
 * later version, has a row that says so.
 */
export function runRow(folder: string, known: KnownOfRun = {}): RunRow {
  const { glimpse = () => glimpseRun(folder, GLIMPSE_COUNT), byteLength } = known;
  const bytes = byteLength?.() ?? folderByteLength(folder);
  try {
    return rowOf(folder, glimpse(), bytes);
  } catch (error) {
    if (!(error instanceof RunError)) throw error;
    return {
      ...rowOf(folder, glimpseOfNothing(), bytes),
      state: "unreadable",
      problem: error.message,
    };
  }
}

function rowOf(folder: string, glimpse: RunGlimpse, byteLength: number): RunRow {
  const { first, start, last, lastReport, lastEvaluation, reports } = glimpse;
  const state = stateAfter(folder, last?.kind, lastReport !== undefined);
  return {
    id: basename(folder),
    state,
    problem: null,
    isPaused: state === "running" && glimpse.isPaused,
    step: last?.step ?? listCheckpoints(folder).at(-1)?.step ?? 0,
    maxSteps: start?.max_steps ?? first?.max_steps ?? null,
    model: start?.preset ?? start?.model ?? first?.preset ?? first?.model ?? null,
    parameterCount: (start ?? first)?.parameters ?? null,
    engine: (start ?? first)?.engine ?? null,
    trainLoss: lastReport?.train_loss ?? null,
    evalLoss: lastEvaluation?.eval_loss ?? null,
    tokensPerSecond: lastReport?.tokens_per_second ?? null,
    joulesPerToken: lastReport?.joules_per_token ?? null,
    etaSeconds: state === "running" ? (lastReport?.eta_seconds ?? null) : null,
    startedAt: first?.t ?? null,
    updatedAt: glimpse.updatedAt ?? null,
    byteLength,
    losses: evenly(reports),
  };
}

/** Losses at places that lie evenly over the steps: a glimpse knows more of a log's ends than of its middle. */
function evenly(reports: RunGlimpse["reports"]): readonly number[] {
  const steps = reports.map(({ step }) => step);
  const [first = 0] = steps;
  const span = (steps.at(-1) ?? 0) - first;
  const count = Math.min(SPARK_COUNT, reports.length);
  return Array.from({ length: count }, (_, index) => {
    const wanted = first + (span * index) / Math.max(1, count - 1);
    const at = Math.min(steps.length - 1, lowerBound(steps, wanted));
    return Number((reports[at]?.train_loss ?? 0).toPrecision(4));
  });
}
