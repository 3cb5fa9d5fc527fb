import * as z from "zod";
import { DRIVERS } from "../../chip/chip.ts";
import { VERDICTS } from "./outcome.ts";

/** What a child process is given: a probe of the table, or an op of a plan as MIL text. */
export const taskSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("probe"), id: z.string(), round: z.int() }),
  z.object({
    kind: z.literal("op"),
    id: z.string(),
    text: z.string(),
    /** Of the random inputs. */
    seed: z.int(),
  }),
]);
export type Task = z.infer<typeof taskSchema>;

export const jobSchema = z.object({
  driver: z.enum(DRIVERS),
  library: z.object({ path: z.string(), isNamed: z.boolean() }),
  /** A chip's id. */
  chip: z.string(),
  scratch: z.string(),
  tasks: z.array(taskSchema),
});
export type Job = z.infer<typeof jobSchema>;

const outcomeSchema = z.object({
  verdict: z.enum(VERDICTS),
  detail: z.string(),
  measured: z.record(z.string(), z.union([z.number(), z.string(), z.boolean()])).optional(),
});

/** What a child tells. A task that has begun and not ended is the one at which it died. */
export const messageSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("ready") }),
  z.object({ kind: z.literal("begin"), id: z.string() }),
  z.object({ kind: z.literal("end"), id: z.string(), outcome: outcomeSchema }),
  z.object({
    kind: z.literal("error"),
    id: z.string(),
    code: z.string().optional(),
    message: z.string(),
  }),
]);
export type ChildMessage = z.infer<typeof messageSchema>;
