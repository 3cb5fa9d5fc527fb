import { chipByName } from "../../chip/chips.ts";
import { DRIVERS } from "../../chip/chip.ts";
import type { Chip, Driver } from "../../chip/chip.ts";
import type { Plan } from "../../plan/plan.ts";
import { didYouMean } from "../../util/nearest.ts";
import { createCpuEngine } from "../cpu/index.ts";
import type { Engine, EngineDescription, LoadedPlan, LoadOptions } from "../engine.ts";
import { EngineError } from "../errors.ts";
import { createSimEngine } from "../sim/index.ts";
import { AnePlan } from "./ane-plan.ts";
import type { AneDriver } from "./driver.ts";
import { E5rtDriver } from "./e5rt/driver.ts";
import { lendEvaluator } from "./evaluator.ts";
import { identifyProcessor } from "./identity.ts";
import { InMemoryDriver } from "./in-memory/driver.ts";
import { findLibrary } from "./library.ts";
import type { AneLibrary } from "./library.ts";
import { programCacheFolder } from "./program-folder.ts";
import { LoadedSegments } from "./segments.ts";

export interface AneEngineOptions {
  /** Default "e5rt", or what `ANECDOTE_ANE_DRIVER` names. */
  readonly driver?: Driver;
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
  /** Compiles programs anew though the cache holds them; so does `ANECDOTE_ANE_RECOMPILE=1`. */
  readonly forceRecompilation?: boolean;
  /** How long one call of the runtime may take, compilation included. Default 600 s, or `ANECDOTE_ANE_TIMEOUT` in seconds. */
  readonly timeoutMs?: number;
  /** Every dispatch in a stream of its own: slower by the dispatch floor, with a time for each. */
  readonly separateDispatches?: boolean;
  /** Operations that e5rt may hold at once. Default: what a process may load, less some. */
  readonly operationLimit?: number;
  /** Programs that the in-memory driver may compile in one process. */
  readonly compileBudget?: number;
}

const DEFAULT_TIMEOUT_SECONDS = 600;

/**
 * The Neural Engine of this Mac. Throws `EngineError`: `engine.ane.koffi`, `engine.ane.library`,
 * `engine.ane.symbols` where it cannot be reached, `engine.ane.chip` for a chip nobody knows.
 */
export async function createAneEngine(options: AneEngineOptions = {}): Promise<Engine> {
  const library = findLibrary(options.library);
  const chip = await chipOf(options, library);
  const driver = openDriver(options, library);
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
    driver.close();
    throw error;
  }
  const host = options.host ?? ownHost;
  if (host === undefined)
    throw new EngineError("engine.ane.host", "there is no engine for the host");
  const segments = new LoadedSegments(driver);
  const context = {
    driver,
    chip,
    host,
    segments,
    separateDispatches: options.separateDispatches ?? false,
  };
  const description: EngineDescription = Object.freeze({
    name: "ane",
    device: library.isNamed ? `${chip.name} (${library.path})` : chip.name,
    runtime: `${driver.runtime}; host: ${host.description.runtime}`,
    threads: host.description.threads,
    arithmetic: "fp16",
  });
  const open = new Set<LoadedPlan>();
  return {
    description,
    load: async (plan: Plan, loadOptions: LoadOptions = {}) => {
      const loaded = await AnePlan.load(plan, context, loadOptions);
      open.add(loaded);
      return loaded;
    },
    close: async () => {
      for (const loaded of open) await loaded.close();
      open.clear();
      segments.close();
      driver.close();
      await endEvaluator?.();
      await ownHost?.close();
    },
  };
}

function openDriver(options: AneEngineOptions, library: AneLibrary): AneDriver {
  const name = options.driver ?? process.env["ANECDOTE_ANE_DRIVER"] ?? "e5rt";
  switch (name) {
    case "e5rt":
      return new E5rtDriver({
        library: library.path,
        cacheFolder: options.cacheFolder ?? programCacheFolder(),
        forceRecompilation:
          options.forceRecompilation ?? process.env["ANECDOTE_ANE_RECOMPILE"] === "1",
        timeoutMs: options.timeoutMs ?? timeoutFromEnvironment(),
        ...(options.operationLimit !== undefined && { operationLimit: options.operationLimit }),
      });
    case "in-memory":
      return new InMemoryDriver({
        ...(library.isNamed && { library: library.path }),
        ...(options.compileBudget !== undefined && { compileBudget: options.compileBudget }),
      });
    default:
      throw new EngineError(
        "engine.ane.driver",
        `there is no driver "${name}".${didYouMean(name, DRIVERS)}`,
        { remedy: `Drivers: ${DRIVERS.join(", ")}.` },
      );
  }
}

function timeoutFromEnvironment(): number {
  const text = process.env["ANECDOTE_ANE_TIMEOUT"];
  const seconds = text === undefined || text === "" ? DEFAULT_TIMEOUT_SECONDS : Number(text);
  if (Number.isFinite(seconds) && seconds > 0) return seconds * 1000;
  throw new EngineError(
    "engine.ane.timeout",
    `ANECDOTE_ANE_TIMEOUT must be a number of seconds above 0, not "${text}"`,
  );
}

async function chipOf({ chip }: AneEngineOptions, library: AneLibrary): Promise<Chip> {
  if (chip !== undefined) return chipByName(chip);
  const named = process.env["ANECDOTE_ANE_CHIP"];
  if (named !== undefined && named !== "") return chipByName(named);
  if (library.isNamed) return chipByName("m4");
  const found = await identifyProcessor();
  if (found.chip !== undefined) return found.chip;
  throw new EngineError("engine.ane.chip", `nothing is known of the chip "${found.processor}"`, {
    remedy: "Name the nearest one: ANECDOTE_ANE_CHIP=m4",
  });
}
