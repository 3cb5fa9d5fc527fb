import os from "node:os";
import { join } from "node:path";
import * as z from "zod";
import { DRIVERS } from "../../chip/chip.ts";
import type { Chip, Driver } from "../../chip/chip.ts";
import { cacheFolder } from "../../engine/ane/probe.ts";
import type { AneLibrary, DriverSettings, MachineIdentity } from "../../engine/ane/probe.ts";
import { writeWholeFile } from "../../util/atomic-file.ts";
import { VERSION } from "../../util/version.ts";
import { resultSchema, VERDICTS } from "./outcome.ts";
import type { ProbeResult, Verdict } from "./outcome.ts";
import { LEVELS } from "./probe.ts";
import type { Level } from "./probe.ts";

/** A report to attach to an issue. Names of people, hosts and home folders are not in it. */
export const reportSchema = z.object({
  kind: z.literal("anecdote-self-test"),
  schema: z.literal(1),
  made: z.string(),
  anecdote: z.string(),
  node: z.string(),
  level: z.enum(LEVELS),
  /** Whether every probe of the level was asked, or the test was interrupted. */
  complete: z.boolean(),
  driver: z.enum(DRIVERS),
  library: z.object({ path: z.string(), is_named: z.boolean() }),
  /** What did the arithmetic: only a report of silicon tells of the Neural Engine. */
  ran_on: z.enum(["silicon", "a library that stands for the engine"]),
  machine: z.object({
    chip: z.string(),
    processor: z.string(),
    model: z.string().optional(),
    cores: z.number(),
    memory_bytes: z.number(),
    system: z.string(),
    system_version: z.string().optional(),
    system_build: z.string().optional(),
    architecture: z.string(),
    neural_engine: z.unknown(),
    unread: z.array(z.string()),
  }),
  counts: z.record(z.enum(VERDICTS), z.number()),
  probes: z.array(resultSchema),
  ops: z.array(resultSchema),
  rates: z.array(resultSchema),
  profile: z.object({ path: z.string(), settings: z.record(z.string(), z.unknown()) }).optional(),
});
/** What a self-test found out about a machine. */
export type SelfTestReport = z.infer<typeof reportSchema>;

export interface ReportParts {
  readonly level: Level;
  readonly complete: boolean;
  readonly driver: Driver;
  readonly library: AneLibrary;
  readonly chip: Chip;
  readonly identity: MachineIdentity;
  readonly results: readonly ProbeResult[];
  readonly profile?: { readonly path: string; readonly settings: DriverSettings };
}

export function makeReport(parts: ReportParts): SelfTestReport {
  const { identity, library, results, profile } = parts;
  const counts: Record<Verdict, number> = { held: 0, "did not hold": 0, unknown: 0 };
  for (const { verdict } of results) counts[verdict]++;
  const { system } = identity;
  const report: SelfTestReport = {
    kind: "anecdote-self-test",
    schema: 1,
    made: new Date().toISOString(),
    anecdote: VERSION,
    node: process.versions.node,
    level: parts.level,
    complete: parts.complete,
    driver: parts.driver,
    library: { path: library.path, is_named: library.isNamed },
    ran_on: library.isNamed ? "a library that stands for the engine" : "silicon",
    machine: {
      chip: parts.chip.id,
      processor: identity.processor,
      ...(identity.model !== undefined && { model: identity.model }),
      cores: identity.cores,
      memory_bytes: identity.memoryBytes,
      system: system.name,
      ...(system.version !== undefined && { system_version: system.version }),
      ...(system.build !== undefined && { system_build: system.build }),
      architecture: identity.architecture,
      neural_engine: identity.neuralEngine,
      unread: [...identity.unread],
    },
    counts,
    probes: results.filter(({ group }) => group !== "ops" && group !== "rates"),
    ops: results.filter(({ group }) => group === "ops"),
    rates: results.filter(({ group }) => group === "rates"),
    ...(profile !== undefined && {
      profile: { path: profile.path, settings: { ...profile.settings } },
    }),
  };
  return reportSchema.parse(withoutHome(report));
}

/** The home folder's name is the user's. */
function withoutHome<Value>(value: Value): Value {
  const home = os.homedir();
  if (home.length < 2) return value;
  const text = JSON.stringify(value).replaceAll(JSON.stringify(home).slice(1, -1), "~");
  return JSON.parse(text) as Value;
}

/** Where the last whole report of a chip is kept: what `estimate --calibrated` takes by itself. */
export function savedReportPath(chip: string, root = cacheFolder()): string {
  return join(root, "machine", `report-${chip}.json`);
}

/** Keeps a whole report. A library that stands for the engine leaves what silicon said alone. Throws `FileError`. */
export function saveReport(report: SelfTestReport, root?: string): void {
  if (!report.complete || report.ran_on !== "silicon") return;
  writeWholeFile(
    savedReportPath(report.machine.chip, root),
    `${JSON.stringify(report, undefined, 2)}\n`,
  );
}
