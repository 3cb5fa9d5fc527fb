import * as z from "zod";
import { DRIVERS } from "../../chip/chip.ts";

/** What a machine answered to a rule. `unknown`: it was not tried, or what came back tells nothing. */
export const VERDICTS = ["held", "did not hold", "unknown"] as const;
export type Verdict = (typeof VERDICTS)[number];

/** What a probe found, told by itself. */
export interface Outcome {
  readonly verdict: Verdict;
  /** One sentence with the numbers. */
  readonly detail: string;
  /** Figures that settings and later readers need, by name; units in the names. */
  readonly measured?: Readonly<Record<string, number | string | boolean>>;
}

/** How a probe's process ended: by telling an outcome, by an error of ours, or without a word. */
export const ENDINGS = ["told", "error", "signal", "exit", "time limit", "not tried"] as const;
export type Ending = (typeof ENDINGS)[number];

/** Groups of the report, in its order. */
export const GROUPS = {
  symbols: "Library, functions, classes, messages",
  protocol: "Calls: order, handles, lifetimes",
  memory: "Buffers and surfaces",
  limits: "Limits of a process",
  arithmetic: "Arithmetic",
  miscompiles: "Programs that compute something else than they say",
  refusals: "Programs that are refused",
  ops: "Ops of the plans against the reference",
  rates: "Rates",
} as const;
/** Groups of questions that the self-test asks. */
export type Group = keyof typeof GROUPS;
/** Names of all groups of questions. */
export const GROUP_NAMES = Object.keys(GROUPS) as readonly Group[];

export const resultSchema = z.object({
  /** Stable from version to version; that of the assumption where it is one. */
  id: z.string(),
  group: z.enum(GROUP_NAMES),
  title: z.string(),
  driver: z.enum(DRIVERS),
  /** Where the rule is known from. */
  source: z.string(),
  /** Entry of the drivers' list of assumptions. */
  assumption: z.string().optional(),
  /** Rule of `anecdote check`. */
  rule: z.string().optional(),
  verdict: z.enum(VERDICTS),
  detail: z.string(),
  /** What the verdict means for users. */
  means: z.string().optional(),
  measured: z.record(z.string(), z.union([z.number(), z.string(), z.boolean()])).optional(),
  ended: z.enum(ENDINGS),
  signal: z.string().optional(),
  exit_code: z.number().optional(),
  /** The last characters that the process wrote to stderr. */
  stderr: z.string().optional(),
  elapsed_ms: z.number(),
  /** When, ISO 8601. */
  at: z.string(),
});

/** One row of the report. */
export type ProbeResult = z.infer<typeof resultSchema>;

/** Numbers JSON cannot spell become text. */
export function spell(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value < 0 ? "-infinity" : "infinity";
  if (value === 0) return "0";
  return Math.abs(value) >= 1e-3 && Math.abs(value) < 1e7
    ? String(Number(value.toPrecision(7)))
    : value.toExponential(4);
}

/** "1, 2, 3 …": the first numbers of many. */
export function spellAll(values: ArrayLike<number>, shown = 6): string {
  const texts = Array.from({ length: Math.min(shown, values.length) }, (_, i) =>
    spell(values[i] ?? 0),
  );
  return values.length > shown ? `${texts.join(", ")} …` : texts.join(", ");
}
