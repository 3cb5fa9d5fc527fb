import { availableParallelism } from "node:os";
import type { Chip, Driver } from "../../chip/chip.ts";
import type { OperandScaling } from "../../lower/operand-scaling.ts";
import type { Plan } from "../../plan/plan.ts";
import { createCpuEngine } from "../cpu/index.ts";
import type { Engine, EngineDescription, LoadOptions } from "../engine.ts";
import { EngineError } from "../errors.ts";
import { OpenPlans } from "../host/open-plans.ts";
import { createSimEngine } from "../sim/index.ts";
import { AnePlan } from "./ane-plan.ts";
import { chooseChip } from "./choose-chip.ts";
import { compilationCostOf } from "./compilations.ts";
import { ConversionPool } from "./conversion-pool.ts";
import { lendEvaluator } from "./evaluator.ts";
import { inMemoryEnvironment } from "./in-memory/settings.ts";
import { findLibrary } from "./library.ts";
import type { AneLibrary } from "./library.ts";
import { describeProfile, readMachineProfile, systemBuild } from "./machine-profile.ts";
import type { DriverSettings, ProfileLookup } from "./machine-profile.ts";
import { chooseDriver } from "../../chip/choose-driver.ts";
import { openDriver } from "./open-driver.ts";
import { PIECE } from "./section-plan.ts";
import { LoadedSegments } from "./segments.ts";
import type { TaskEvent } from "./task-runner.ts";

/** How the Neural Engine's driver is reached and watched. */
export interface AneEngineOptions {
  /** Default "e5rt", or what `ANECDOTE_ANE_DRIVER` names. */
  readonly driver?: Driver;
  /** Powers of two at operands where products would be lost. Default "auto". */
  readonly operandScaling?: OperandScaling;
  /** A library instead of the system's. Default: what `ANECDOTE_ANE_LIBRARY` names. */
  readonly library?: string;
  /** The chip whose rules programs are written for. Default: this Mac's; `ANECDOTE_ANE_CHIP` or m4 for a named library. */
  readonly chip?: string;
  /** Threads of the host's share. */
  readonly threads?: number;
  /**
   * Runs what stays on the host; closed by the caller. Default: a CPU engine of its own, or the simulator beside a
   * library that is lent the simulator's arithmetic: then the results are those of `sim:<chip>` bit for bit.
   */
  readonly host?: Engine;
  /** Where compiled programs are kept. */
  readonly cacheFolder?: string;
  /** Settings of the drivers that stand in for those of the saved machine profile, which is not read then. */
  readonly settings?: DriverSettings;
  /** Compiles programs anew though the cache holds them; so does `ANECDOTE_ANE_RECOMPILE=1`. */
  readonly forceRecompilation?: boolean;
  /** How long one call of the runtime may take, compilation included. Default 600 s, or `ANECDOTE_ANE_TIMEOUT` in seconds. */
  readonly timeoutMs?: number;
  /** Every dispatch in a stream of its own: slower by the dispatch floor, with a time for each. */
  readonly separateDispatches?: boolean;
  /** Bytes that the host converts for one stream, about; smaller ones overlap sooner. Default 1 MiB. */
  readonly bytesPerPiece?: number;
  /** Elements from which on other threads convert. Default 32768. */
  readonly convertAwayFrom?: number;
  /** One task at a time, engine and host in turn: to measure against. */
  readonly sequential?: boolean;
  /** Told when each task begins and ends. */
  readonly onTask?: (event: TaskEvent) => void;
  /** Operations that e5rt may hold at once. Default: what a process may load, less some. */
  readonly operationLimit?: number;
}

/**
 * The Neural Engine of this Mac. Throws `EngineError`: `engine.ane.koffi`, `engine.ane.library`,
 * `engine.ane.symbols` where it cannot be reached, `engine.ane.chip` for a chip nobody knows.
 */
export async function createAneEngine(options: AneEngineOptions = {}): Promise<Engine> {
  const library = findLibrary(options.library);
  const chip = await chooseChip(options.chip, library);
  const profile = profileOf(options, chip, library);
  const driver = openDriver(chooseDriver(options.driver), library, {
    settings: settingsOf(options, profile),
    ...(options.cacheFolder !== undefined && { cacheFolder: options.cacheFolder }),
    ...(options.timeoutMs !== undefined && { timeoutMs: options.timeoutMs }),
  });
  let endEvaluator: (() => Promise<void>) | undefined;
  let ownHost: Engine | undefined;
  try {
    endEvaluator = library.isNamed ? lendEvaluator(library.path, chip) : undefined;
    const threads = options.threads === undefined ? {} : { threads: options.threads };
    if (options.host === undefined) {
      ownHost =
        endEvaluator === undefined
          ? await createCpuEngine(threads)
          : createSimEngine(chip.id, { ...threads, driver: driver.name });
    }
  } catch (error) {
    await endEvaluator?.();
    await driver.close();
    throw error;
  }
  const host = options.host ?? ownHost;
  if (host === undefined)
    throw new EngineError("engine.ane.host", "there is no engine for the host");
  const segments = new LoadedSegments(driver);
  const conversions = new ConversionPool(
    options.threads ?? availableParallelism(),
    options.convertAwayFrom,
  );
  const context = {
    driver,
    operandScaling: options.operandScaling ?? "auto",
    chip,
    host,
    segments,
    conversions,
    separateDispatches: options.separateDispatches ?? false,
    joins: process.env[JOIN_VARIABLE] !== "never",
    bytesPerPiece: options.bytesPerPiece ?? PIECE.bytes,
    isSequential: options.sequential ?? false,
    ...(options.onTask !== undefined && { onTask: options.onTask }),
  };
  const description: EngineDescription = Object.freeze({
    name: "ane",
    device: library.isNamed ? `${chip.name} (${library.path})` : chip.name,
    runtime: `${driver.runtime}; host: ${host.description.runtime}`,
    threads: host.description.threads,
    chip: chip.id,
    arithmetic: "fp16",
    ...(profile !== undefined && { profile: describeProfile(profile) }),
  });
  const open = new OpenPlans();
  return {
    description,
    compilationCost: (needs) =>
      compilationCostOf(driver, chip, { operandScaling: context.operandScaling }, needs),
    load: async (plan: Plan, loadOptions: LoadOptions = {}) => {
      const loaded = await AnePlan.load(plan, context, loadOptions);
      open.add(loaded);
      return loaded;
    },
    close: async () => {
      await open.close();
      await segments.close();
      await conversions.close();
      await driver.close();
      await endEvaluator?.();
      await ownHost?.close();
    },
  };
}

/** Set to "never", every program runs as the plan has it. */
const JOIN_VARIABLE = "ANECDOTE_ANE_JOIN";

/** What was saved about this machine, unless the caller chose settings of its own. */
function profileOf(
  options: AneEngineOptions,
  chip: Chip,
  library: AneLibrary,
): ProfileLookup | undefined {
  if (options.settings !== undefined) return undefined;
  return readMachineProfile({ chip: chip.id, osBuild: systemBuild(), library: library.path });
}

/** Options and the environment first, then the machine's profile, then the drivers' defaults. */
function settingsOf(options: AneEngineOptions, profile: ProfileLookup | undefined): DriverSettings {
  const base =
    options.settings ?? (profile?.state === "used" ? profile.profile.drivers : undefined) ?? {};
  const isForced =
    options.forceRecompilation ??
    (process.env["ANECDOTE_ANE_RECOMPILE"] === "1" ? true : undefined);
  return {
    e5rt: {
      ...base.e5rt,
      ...(isForced !== undefined && { forceRecompilation: isForced }),
      ...(options.operationLimit !== undefined && { operationLimit: options.operationLimit }),
    },
    "in-memory": { ...base["in-memory"], ...inMemoryEnvironment() },
  };
}
