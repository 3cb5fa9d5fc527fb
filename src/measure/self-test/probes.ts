import type { Driver } from "../../chip/chip.ts";
import { ASSUMPTIONS } from "../../engine/ane/probe.ts";
import type { AssumptionId } from "../../engine/ane/probe.ts";
import { ARITHMETIC_CASES } from "./arithmetic-cases.ts";
import { E5RT_PROBES } from "./e5rt-probes.ts";
import { IN_MEMORY_PROBES } from "./in-memory-probes.ts";
import { MISCOMPILE_CASES } from "./miscompile-cases.ts";
import { numberProbe } from "./number-case.ts";
import { LEVELS } from "./probe.ts";
import type { Level, Probe } from "./probe.ts";
import { PROGRAM_PROBES } from "./program-probes.ts";
import { RATE_PROBES } from "./rate-probes.ts";
import { REFUSAL_CASES } from "./refusal-cases.ts";
import { refusalProbe } from "./refusal-probe.ts";
import { SYMBOL_PROBES } from "./symbol-probes.ts";
import { WEIGHT_PROBES } from "./weight-probes.ts";

/** Every probe but those of ops, which are made from the plans (op-rows.ts). In the order they run. */
export const PROBES: readonly Probe[] = [
  ...SYMBOL_PROBES,
  ...E5RT_PROBES.filter(({ id }) => id === "e5rt.out-first"),
  ...IN_MEMORY_PROBES.filter(({ group }) => group === "symbols"),
  ...PROGRAM_PROBES,
  ...E5RT_PROBES.filter(({ id }) => id !== "e5rt.out-first"),
  ...IN_MEMORY_PROBES.filter(({ group }) => group !== "symbols"),
  ...WEIGHT_PROBES,
  ...ARITHMETIC_CASES.map((entry) => numberProbe(entry, "arithmetic")),
  ...MISCOMPILE_CASES.map((entry) => numberProbe(entry, "miscompiles")),
  ...REFUSAL_CASES.map(refusalProbe),
  ...RATE_PROBES,
];

/** Assumptions that cannot be asked about, and why. */
export const UNPROBED: Partial<Readonly<Record<AssumptionId, string>>> = {
  "in-memory.load-retry":
    "a failure without a reason cannot be brought about; the driver tries twice and tells when both fail",
  "machine-programs":
    "asking would load more than a hundred programs in two processes at once, which may leave the machine without an engine until it is started anew; the drivers keep all of Anecdote's processes below the limit of one",
};

/** Assumptions without a probe and without a reason. */
export function uncovered(): readonly string[] {
  const covered = new Set<string | undefined>(PROBES.map(({ assumption }) => assumption));
  return Object.keys(ASSUMPTIONS).filter((id) => !covered.has(id) && !Object.hasOwn(UNPROBED, id));
}

export function probesFor(driver: Driver, level: Level): readonly Probe[] {
  const limit = LEVELS.indexOf(level);
  return PROBES.filter(
    (probe) =>
      (probe.driver === "both" || probe.driver === driver) &&
      LEVELS.indexOf(probe.level ?? "default") <= limit,
  );
}
