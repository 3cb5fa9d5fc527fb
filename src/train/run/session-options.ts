import { AnecdoteError } from "../../util/errors.ts";
import type { TrainEvent } from "../../runs/events.ts";
import type { RunLock } from "../../runs/run-lock.ts";
import type { EnergyBlock } from "../costs/energy-block.ts";
import type { TrainProgress } from "./run-context.ts";

/** What a run in a thread of its own is given beside its settings. */
export interface SessionOptions {
  /** Hears every event of the run, in order. */
  readonly onEvent?: (event: TrainEvent) => void;
  /** What is being done: tokenizing, compiling, or training `at` a step. */
  readonly onProgress?: (text: string, at?: TrainProgress) => void;
  /**
   * Aborting saves a checkpoint after the current step and ends with an `interrupted` event; before the first step
   * it ends at once, without one.
   */
  readonly signal?: AbortSignal;
  /** Told what aborting does. */
  readonly onStop?: (how: "save" | "leave") => void;
  /** Where a power meter of the calling thread puts what it reads. */
  readonly energy?: EnergyBlock;
  /** The caller's lock on the run's folder. Default: one of this session's own. */
  readonly lock?: RunLock;
  /** How long a stop may wait for the current step before the main thread saves the last whole one. */
  readonly stuckAfterMs?: number;
}

/** What a thread or process tells another one of an error. */
export interface ToldError {
  readonly code?: string;
  readonly message: string;
  readonly stack?: string;
}

export function toldError(error: unknown): ToldError {
  if (!(error instanceof Error)) return { message: String(error) };
  return {
    message: error.message,
    ...(error instanceof AnecdoteError && { code: error.code }),
    ...(error.stack !== undefined && { stack: error.stack }),
  };
}

/** The error as it was there. */
export function revived({ code, message, stack }: ToldError): Error {
  if (code !== undefined) return new AnecdoteError(code, message);
  const error = new Error(message);
  if (stack !== undefined) error.stack = stack;
  return error;
}
