import type { Driver } from "../../chip/chip.ts";
import { EngineError } from "../errors.ts";
import type { AneDriver } from "./driver.ts";
import { E5rtDriver } from "./e5rt/driver.ts";
import { InMemoryDriver } from "./in-memory/driver.ts";
import type { AneLibrary } from "./library.ts";
import type { DriverSettings } from "./machine-profile.ts";
import { MachinePrograms } from "./machine-programs.ts";
import { programCacheFolder } from "./program-folder.ts";

export interface DriverOptions {
  /** What a machine profile or a test chose, for each driver. */
  readonly settings?: DriverSettings;
  /** Where e5rt keeps compiled programs. */
  readonly cacheFolder?: string;
  /** How long one call may take. Default: `ANECDOTE_ANE_TIMEOUT`, or 600 s. */
  readonly timeoutMs?: number;
  /** Places among the machine's programs. Default: those of the environment; "uncounted" for who asks for limits. */
  readonly machinePrograms?: MachinePrograms | "uncounted";
}

const DEFAULT_TIMEOUT_SECONDS = 600;

/** Throws `EngineError` `engine.ane.koffi`, `engine.ane.library` or `engine.ane.symbols` where it cannot be reached. */
export function openDriver(
  name: Driver,
  library: AneLibrary,
  options: DriverOptions = {},
): AneDriver {
  const counted = options.machinePrograms ?? MachinePrograms.of(library);
  const machinePrograms = counted === "uncounted" ? undefined : counted;
  switch (name) {
    case "e5rt": {
      const { operationLimit, forceRecompilation } = options.settings?.e5rt ?? {};
      return new E5rtDriver({
        library: library.path,
        cacheFolder: options.cacheFolder ?? programCacheFolder(),
        forceRecompilation: forceRecompilation ?? false,
        timeoutMs: options.timeoutMs ?? timeoutFromEnvironment(),
        ...(operationLimit !== undefined && { operationLimit }),
        machinePrograms,
      });
    }
    case "in-memory":
      return new InMemoryDriver({
        ...options.settings?.["in-memory"],
        ...(library.isNamed && { library: library.path }),
        machinePrograms,
        timeoutMs: options.timeoutMs ?? timeoutFromEnvironment(),
      });
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
