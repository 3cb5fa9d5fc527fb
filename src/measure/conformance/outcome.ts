import * as z from "zod";

/** How one test ended on one engine. */
export const outcomeSchema = z.object({
  result: z.enum(["passed", "refused", "wrong", "crashed"]),
  /** Of the refusal. */
  code: z.string().optional(),
  reason: z.string().optional(),
  /** Why the reference engine ran it instead. */
  fallback: z.string().optional(),
  /** Inputs that became constants. */
  bound: z.array(z.string()).optional(),
});
export type Outcome = z.infer<typeof outcomeSchema>;

export const jobSchema = z.object({
  folder: z.string(),
  layout: z.enum(["onnx", "packages"]),
  id: z.string(),
  engines: z.array(z.string()),
});
export type Job = z.infer<typeof jobSchema>;

export const messageSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("ready") }),
  z.object({ kind: z.literal("end"), engine: z.string(), outcome: outcomeSchema }),
]);
export type Message = z.infer<typeof messageSchema>;
