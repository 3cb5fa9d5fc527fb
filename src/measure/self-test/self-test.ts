import type { Driver } from "../../chip/chip.ts";
import {
  chooseChip,
  findLibrary,
  identifyMachine,
  saveMachineProfile,
  systemBuild,
} from "../../engine/ane/probe.ts";
import type { DriverSettings } from "../../engine/ane/probe.ts";
import { chooseDriver } from "../../chip/choose-driver.ts";
import { VERSION } from "../../util/version.ts";
import { opItem, probeItem } from "./items.ts";
import { collectOps } from "./op-rows.ts";
import type { Group, ProbeResult } from "./outcome.ts";
import type { Level, Probe } from "./probe.ts";
import { probesFor } from "./probes.ts";
import { makeReport } from "./report.ts";
import type { SelfTestReport } from "./report.ts";
import { ResultStore } from "./result-store.ts";
import { Run } from "./run-items.ts";
import type { Progress } from "./run-items.ts";
import { defined } from "../../util/defined.ts";

/** What the self-test asks, of which driver. */
export interface SelfTestOptions {
  readonly level: Level;
  readonly driver?: Driver;
  /** A library instead of the system's, as `ANECDOTE_ANE_LIBRARY` names one. */
  readonly library?: string;
  readonly chip?: string;
  /** Asks everything anew though answers of this machine are kept. */
  readonly isFresh?: boolean;
  /** What one probe may take at most, whatever its own limit. */
  readonly timeLimitMs?: number;
  /** What the whole test may take. Default: no bound. */
  readonly totalMs?: number;
  /** Default: all. */
  readonly groups?: readonly Group[];
  /** Of those groups, only these probes and ops, by id. */
  readonly only?: (id: string) => boolean;
  readonly signal?: AbortSignal;
  /** Hears what is asked now, and how much is left. */
  readonly onProgress?: (progress: Progress) => void;
  /** Hears each answer; `isKept`: from a report that was begun before. */
  readonly onResult?: (result: ProbeResult, isKept: boolean) => void;
}

/**
 * What is asked first where not all has room: what everything needs, the contested arithmetic, the rates that prices
 * follow, whether a run's ops compute, and then what a run can do without.
 */
const ORDER: readonly Group[] = [
  "symbols",
  "protocol",
  "arithmetic",
  "rates",
  "memory",
  "ops",
  "miscompiles",
  "refusals",
  "limits",
];

/** What everything else needs: asked whatever the groups are. */
const FOUNDATION: ReadonlySet<string> = new Set(["program.runs"]);

/**
 * Asks this machine about every rule of a level, each in a process that may die. What is known is kept at once, so
 * that an interrupted test goes on where it stopped; a whole one saves the machine's profile. Throws `EngineError`
 * where there is no library or its chip is not known.
 */
export async function runSelfTest(options: SelfTestOptions): Promise<SelfTestReport> {
  const library = findLibrary(options.library);
  const driver = chooseDriver(options.driver);
  const chip = await chooseChip(options.chip, library);
  const identity = await identifyMachine();
  const key = { chip: chip.id, osBuild: systemBuild(), library: library.path };
  const store = new ResultStore({ driver, chip: chip.id, osBuild: key.osBuild, library });
  if (options.isFresh === true) store.clear();
  const isWanted = (group: Group): boolean => options.groups?.includes(group) ?? true;
  const probes = probesFor(driver, options.level).filter(
    ({ id, group }) => isWanted(group) || FOUNDATION.has(id),
  );
  options.onProgress?.({
    done: 0,
    total: 0,
    title: "collecting the ops of all plans",
    remainingMs: NaN,
  });
  const ops = isWanted("ops") ? collectOps(chip, driver, options.level) : [];
  const items = ORDER.flatMap((group) => [
    ...probes
      .filter((probe) => probe.group === group)
      .map((probe) => probeItem(probe, driver, chip)),
    ...(group === "ops" ? ops.map((row) => opItem(row, driver)) : []),
  ]).filter(({ id }) => options.only?.(id) ?? true);
  const { timeLimitMs, totalMs, onProgress, onResult } = options;
  const run = new Run(items, {
    driver,
    library,
    chip,
    store,
    signal: options.signal ?? new AbortController().signal,
    ...defined({ timeLimitMs, totalMs, onProgress, onResult }),
  });
  await run.all();
  const complete = run.results.size === items.length && run.leftOutCount === 0;
  const settings = settingsFrom(probesFor(driver, "thorough"), store, run.results);
  const isWhole = options.groups === undefined && options.only === undefined;
  const isPassed = passes([...run.results.values()], isWhole);
  const profile = complete
    ? {
        path: saveMachineProfile(
          key,
          { [driver]: settings[driver] ?? {} },
          VERSION,
          // A part of the test can take trust away, and only the whole can give it.
          isPassed && !isWhole ? {} : { passed: { [driver]: isPassed } },
        ),
        settings,
      }
    : undefined;
  return makeReport({
    level: options.level,
    complete,
    driver,
    library,
    chip,
    identity,
    results: [...run.results.values()],
    ...(profile !== undefined && { profile }),
  });
}

/** Groups whose rules a run relies on as they stand, unlike limits and rates, which settings and prices follow. */
const RELIED_ON: ReadonlySet<Group> = new Set(["symbols", "protocol", "memory", "arithmetic"]);

/**
 * Whether training may rely on the driver: no rule that it relies on is broken, and every op of the plans that was
 * asked computes; of the whole test there must be some.
 */
export function passes(
  results: readonly Pick<ProbeResult, "id" | "group" | "verdict">[],
  isWhole: boolean,
): boolean {
  const runs = results.find(({ id }) => id === "program.runs");
  const ops = results.filter(({ group }) => group === "ops");
  return (
    runs?.verdict === "held" &&
    (ops.length > 0 || !isWhole) &&
    ops.every(({ verdict }) => verdict === "held") &&
    results.every(({ group, verdict }) => !RELIED_ON.has(group) || verdict !== "did not hold")
  );
}

/** What all answers of this machine, of this and of earlier tests, mean for the drivers. */
function settingsFrom(
  probes: readonly Probe[],
  store: ResultStore,
  results: ReadonlyMap<string, ProbeResult>,
): DriverSettings {
  let settings: DriverSettings = {};
  for (const { id, settings: choose } of probes) {
    const result = results.get(id) ?? store.get(id);
    if (choose === undefined || result === undefined) continue;
    const { verdict, detail, measured } = result;
    const chosen = choose({ verdict, detail, ...(measured !== undefined && { measured }) });
    if (chosen === undefined) continue;
    settings = {
      e5rt: { ...settings.e5rt, ...chosen.e5rt },
      "in-memory": { ...settings["in-memory"], ...chosen["in-memory"] },
    };
  }
  return settings;
}
export type { Progress } from "./run-items.ts";
