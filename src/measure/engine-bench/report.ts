import * as z from "zod";
import type { MeasuredRow } from "../published/measured-row.ts";
import { chipByName } from "../../chip/chips.ts";
import { DRIVERS } from "../../chip/chip.ts";
import type { BenchCase } from "./case.ts";
import { SUITE_NAMES } from "./case.ts";
import { MeasureError } from "../errors.ts";
import { asRow } from "./suites.ts";
import { refuseLater } from "../../util/format-version.ts";

const REPORT_NAME = "anecdote-engine-report";
/** Changes with the meaning of a field; new fields may come without a change. */
const REPORT_VERSION = 1;
export const REPORT_SCHEMA = `${REPORT_NAME}/${REPORT_VERSION}`;

/**
 * `measured`: this machine's engine. `predicted`: the cost model, nothing ran. `test-double`: through a library
 * that stands in for the system's, whose times say nothing.
 */
export const REPORT_KINDS = ["measured", "predicted", "test-double"] as const;
export type ReportKind = (typeof REPORT_KINDS)[number];

/**
 * What became of a case. `wrong`: it ran and its results are not those it should have; no rate is told.
 * `refused`: the chip's rules forbid it. `skipped`: too large for this engine or this machine's memory.
 */
export const STATUSES = ["measured", "predicted", "refused", "skipped", "wrong", "failed"] as const;
export type CaseStatus = (typeof STATUSES)[number];

const milliseconds = z.number().nonnegative();
const publishedSchema = z.object({
  chip: z.string(),
  ms: milliseconds,
  watts: z.number().optional(),
  source: z.string(),
});

const caseSchema = z.object({
  id: z.string(),
  suite: z.enum(SUITE_NAMES as [(typeof SUITE_NAMES)[number]]),
  title: z.string(),
  status: z.enum(STATUSES),
  /** Why there is no time. */
  reason: z.string().optional(),
  rule: z.string().optional(),
  rule_source: z.string().optional(),
  dispatches: z.number().int().positive(),
  host_copies: z.boolean(),
  flops: z.number().nonnegative(),
  weight_bytes: z.number().nonnegative(),
  timing: z
    .object({
      runs: z.number().int().positive(),
      median_ms: milliseconds,
      p10_ms: milliseconds,
      p90_ms: milliseconds,
      minimum_ms: milliseconds,
      /** Every 5 % from the fastest call to the slowest. */
      quantiles_ms: z.array(milliseconds),
      /** Building, converting and compiling the programs, from the cache where it holds them. */
      prepare_ms: milliseconds,
      first_run_ms: milliseconds,
    })
    .optional(),
  outputs: z
    .object({
      /** `compared`: samples against double precision. `finite`: finite and not all zero. */
      check: z.enum(["compared", "finite"]),
      relative_error: z.number().nonnegative().optional(),
      tolerance: z.number().optional(),
    })
    .optional(),
  /** Power while the case ran, where a meter was there. */
  power_watts: z.number().optional(),
  power_source: z.string().optional(),
  /** The cost model, for `report.chip`. */
  predicted: z.object({
    ms: milliseconds,
    joules: z.number(),
    watts: z.number(),
    bound_by: z.enum(["dispatch", "compute", "streaming", "host"]),
  }),
  published: z.array(publishedSchema),
});
/** What became of one case of a bench. */
export type CaseResult = z.infer<typeof caseSchema>;

const reportSchema = z.object({
  schema: z.literal(REPORT_SCHEMA),
  kind: z.enum(REPORT_KINDS),
  /** False while cases are missing: the run was interrupted. */
  complete: z.boolean(),
  created: z.string(),
  anecdote: z.string(),
  engine: z.object({
    name: z.string(),
    device: z.string(),
    runtime: z.string(),
    driver: z.enum(DRIVERS).optional(),
    threads: z.number().optional(),
  }),
  /** The chip that predictions are for and that published rows are looked up for first. */
  chip: z.string(),
  machine: z.object({
    system: z.string(),
    release: z.string(),
    architecture: z.string(),
    processor: z.string(),
    /** "Mac16,5". */
    model: z.string().optional(),
    cores: z.number(),
    memory_bytes: z.number(),
    node: z.string(),
  }),
  /** The meter that was read, or why there was none; absent in a predicted report. */
  power: z.object({ meter: z.string().optional(), unavailable: z.string().optional() }).optional(),
  protocol: z.object({
    quick: z.boolean(),
    warm_up_runs: z.number(),
    budget_ms: z.number(),
    minimum_runs: z.number(),
    suites: z.array(z.string()),
  }),
  cases: z.array(caseSchema),
  /** In the format of bench/data/measurements.json; absent where the engine is no Neural Engine. */
  rows: z.array(z.record(z.string(), z.unknown())),
});
/** A bench of an engine: machine, protocol, cases. */
export type EngineReport = z.infer<typeof reportSchema>;

/** Reads a report's JSON. Throws `MeasureError` `measure.report` naming the field, `measure.report.version`. */
export function parseReport(json: unknown, where: string): EngineReport {
  const { schema } = (json ?? {}) as { readonly schema?: unknown };
  const [name, version] = typeof schema === "string" ? schema.split("/") : [];
  const told = name === REPORT_NAME ? { version: Number(version) } : {};
  const format = { known: REPORT_VERSION, what: where };
  refuseLater(told, format, MeasureError, "measure.report.version");
  const parsed = reportSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new MeasureError(
    "measure.report",
    `${where} is no report of this version (${REPORT_SCHEMA}): ${issue?.path.join(".") ?? ""} ${issue?.message ?? ""}`,
    { remedy: "Choose another --output-dir, or remove the file." },
  );
}

/** The median of a case that ran right, or what the model predicts in a predicted report. */
export function timeOf(result: CaseResult): number | undefined {
  if (result.status === "measured") return result.timing?.median_ms;
  return result.status === "predicted" ? result.predicted.ms : undefined;
}

export function teraflops(flops: number, ms: number): number {
  return flops / ms / 1e9;
}

export function gigabytesPerSecond(bytes: number, ms: number): number {
  return bytes / ms / 1e6;
}

/**
 * Results as rows of a file of measurements, for `npm run bench:cost-model -- FILE` and for everybody's file.
 * Rows of a predicted report say so in their source.
 */
export function contributedRows(
  report: Omit<EngineReport, "rows">,
  casesById: ReadonlyMap<string, BenchCase>,
): readonly MeasuredRow[] {
  const driver = report.engine.driver;
  if (report.kind === "test-double" || driver === undefined) return [];
  const { system, release } = report.machine;
  const source =
    report.kind === "predicted"
      ? `PREDICTED by the cost model of anecdote ${report.anecdote}, not measured`
      : `anecdote ${report.anecdote} bench engine, ${report.chip}, ${system} ${release}, ${report.created.slice(0, 10)}`;
  return report.cases.flatMap((result) => {
    const benchCase = casesById.get(result.id);
    const ms = timeOf(result);
    if (benchCase?.shape === undefined || ms === undefined || benchCase.dispatches > 1) return [];
    const row = asRow(benchCase.shape, chipByName(report.chip).name, source);
    return [
      {
        ...row,
        ms,
        driver,
        host_copies: benchCase.hostCopies,
        ...(result.power_watts !== undefined && { ane_w: result.power_watts }),
      },
    ];
  });
}
