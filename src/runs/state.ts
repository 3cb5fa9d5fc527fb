import { join } from "node:path";
import * as z from "zod";
import { readSmallFile } from "../util/byte-source.ts";
import { messageOf } from "../util/errors.ts";
import { RunError } from "./errors.ts";
import { refuseLater } from "../util/format-version.ts";

/** Of `trainer_state.json`: it changes with the meaning of a field. */
const STATE_VERSION = 1;

const word = z.number().int().nonnegative();

/** trainer_state.json: what a run needs besides weights and moments to go on bit for bit. */
export const trainerStateSchema = z.object({
  version: z.literal(STATE_VERSION),
  step: word,
  /** Where the batches stand; their implementation reads it. */
  sampler: z.record(z.string(), z.unknown()),
  /** Losses since the last report: their sum and number. */
  window: z.object({
    lossSum: z.number(),
    stepCount: word,
    /** Of pairs of answers. */
    rewards: z
      .object({ chosen: z.number(), rejected: z.number(), correct: z.number(), count: z.number() })
      .optional(),
  }),
  /** Absent in checkpoints of engines that need none. */
  lossScale: z.object({ scale: z.number().positive(), stepCount: word }).optional(),
  trainLoss: z.number().nullable(),
  evalLoss: z.number().nullable(),
  trainedTokens: z.number(),
  elapsedSeconds: z.number(),
  /** Where it ran: other arithmetic gives other bits. */
  /** Of runs that keep their best checkpoint. */
  best: z
    .object({
      step: word,
      evalLoss: z.number(),
      /** Evaluations in a row that were no better. */
      evaluationsSince: word,
      /** Of the evaluation before the first step, where there was one. */
      initialLoss: z.number().optional(),
    })
    .optional(),
  engine: z.object({
    name: z.string(),
    device: z.string(),
    runtime: z.string(),
    threads: z.number().int(),
    /** How products of generated texts add; training does not depend on it. */
    rowSums: z.enum(["fused", "separate"]).optional(),
  }),
  config: z.record(z.string(), z.unknown()),
  /** Digest of the training data; absent for data that are drawn, and in checkpoints of version 0.1. */
  data: z.string().optional(),
});

export type TrainerState = z.infer<typeof trainerStateSchema>;

export const TRAINER_STATE = "trainer_state.json";
/** The state a run publishes is at most a quarter of this; indented, as the file has it, it is larger. */
const FILE_BYTES = 4 << 20;

/** Throws `RunError` where the file is missing or not of this form, `run.state.version` for a later format. */
export function readTrainerState(folder: string): TrainerState {
  const path = join(folder, TRAINER_STATE);
  let content: unknown;
  try {
    content = JSON.parse(Buffer.from(readSmallFile(path, FILE_BYTES)).toString("utf8"));
  } catch (error) {
    throw new RunError("train.state", `${path} cannot be read: ${messageOf(error)}`, {
      cause: error,
    });
  }
  refuseLater(content, { known: STATE_VERSION, what: path }, RunError, "run.state.version");
  const state = trainerStateSchema.safeParse(content);
  if (!state.success) {
    throw new RunError("train.state", `${path}: ${z.prettifyError(state.error)}`);
  }
  return state.data;
}
