import type { Driver } from "../chip/chip.ts";
import type { OperandScaling } from "../lower/operand-scaling.ts";
import { didYouMean } from "../util/nearest.ts";
import type { AneEngineOptions } from "./ane/index.ts";
import type { Engine } from "./engine.ts";
import { EngineError } from "./errors.ts";
import type { Scaling } from "./scaling.ts";
import type { Numerics } from "./sim/numerics.ts";
import { isSimulated, simulatedChip } from "../chip/simulated.ts";

/** What an engine is made with; each engine takes what concerns it. */
export interface EngineOptions {
  /** Default: what the system offers. */
  readonly threads?: number;
  /** The way into the Neural Engine, for "ane" and "sim:<chip>". Default "e5rt", or what `ANECDOTE_ANE_DRIVER` names. */
  readonly driver?: Driver;
  /** For "sim:<chip>": its arithmetic bit for bit, or a faster approximation. Default "exact". */
  readonly numerics?: Numerics;
  /** For "sim:<chip>": which rules decide about bits (`parseArithmetic`). Default: the best-supported ones. */
  readonly arithmetic?: string;
  /** For "ane" and "sim:<chip>": powers of two at operands where products would be lost. Default "auto". */
  readonly operandScaling?: OperandScaling;
  /** For "ane" alone. */
  readonly ane?: AneEngineOptions;
  /** For "cpu": whether neighbouring dispatches become one graph. Default: as the size of the section suggests. */
  readonly join?: "auto" | "always" | "never";
  /** For "cpu": who multiplies large matrices, "auto", "off" or the path of a library (`CpuEngineOptions`). Default "off". */
  readonly blas?: string;
  /** For "auto": told what was chosen and why, where there was a choice. */
  readonly onChoice?: (reason: string) => void;
}

/** Settings as users give them; absent ones may be undefined. */
export interface EngineSettings {
  readonly threads?: number | undefined;
  readonly blas?: string | undefined;
  readonly driver?: Driver | undefined;
  /** The same, as the command line and configuration files name it; `driver` wins. */
  readonly ane_driver?: Driver | undefined;
  readonly numerics?: Numerics | undefined;
  readonly arithmetic?: string | undefined;
  /** What of a training run is scaled; only "auto" scales operands. */
  readonly scaling?: Scaling | undefined;
}

/** An engine by name, with its settings. */
export interface EngineChoice extends EngineSettings {
  readonly engine: string;
}

export function engineOptions({
  threads,
  blas,
  ane_driver,
  driver = ane_driver,
  numerics,
  arithmetic,
  scaling = "auto",
}: EngineSettings): EngineOptions {
  return {
    ...(threads !== undefined && { threads }),
    ...(blas !== undefined && { blas }),
    ...(driver !== undefined && { driver }),
    ...(numerics !== undefined && { numerics }),
    ...(arithmetic !== undefined && { arithmetic }),
    ...(scaling !== "auto" && { operandScaling: "off" as const }),
  };
}

type CreateEngine = (options: EngineOptions) => Promise<Engine>;

/** Engines by the name `--engine` takes; each is loaded when it is made, so that nobody waits for the others. */
const ENGINES: Readonly<Record<string, CreateEngine>> = {
  ane: async (options) => (await import("./ane/index.ts")).createAneEngine(aneOptions(options)),
  cpu: async (options) => (await import("./cpu/index.ts")).createCpuEngine(options),
  gpu: async () => (await import("./gpu/index.ts")).createGpuEngine(),
  reference: async () => (await import("./reference/index.ts")).createReferenceEngine(),
};

/** Whether threads are a setting of an engine. */
export function hasThreads(name: string): boolean {
  return name !== "gpu" && name !== "reference";
}

/** What `--engine` accepts. */
export const ENGINE_NAMES: readonly string[] = ["auto", ...Object.keys(ENGINES), "sim:<chip>"];

/**
 * Makes an engine by name; "auto" takes the best one this machine has.
 * Throws `EngineError` for an unknown name, and where an engine's runtime is missing.
 */
export async function createEngine(name: string, options: EngineOptions = {}): Promise<Engine> {
  const { threads } = options;
  if (threads !== undefined && (!Number.isInteger(threads) || threads < 1)) {
    throw new EngineError(
      "engine.threads",
      `threads must be a whole number from 1, not ${threads}`,
    );
  }
  checkMeaning(name, options);
  const chip = simulatedChip(name);
  if (chip !== undefined) {
    return (await import("./sim/index.ts")).createSimEngine(chip.id, options);
  }
  if (name === "auto") return bestEngine(options);
  const create = ENGINES[name];
  if (create === undefined) {
    throw new EngineError(
      "engine.unknown",
      `there is no engine "${name}".${didYouMean(name, [...Object.keys(ENGINES), "auto", "sim:m4"])}`,
      { remedy: `Engines: ${ENGINE_NAMES.join(", ")}.` },
    );
  }
  return create(options);
}

/** The Neural Engine where `autoChoice` trusts it and it can be reached, else the CPU. */
async function bestEngine(options: EngineOptions): Promise<Engine> {
  const { driver, onChoice } = options;
  const { autoChoice } = await import("./auto.ts");
  const { engine, reason } = await autoChoice({ ...(driver !== undefined && { driver }) });
  if (engine === "ane") {
    try {
      const { createAneEngine } = await import("./ane/index.ts");
      const ane = await createAneEngine(aneOptions(options));
      if (reason !== undefined) onChoice?.(reason);
      return ane;
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      onChoice?.(`engine auto is cpu: the Neural Engine cannot be reached: ${error.message}`);
    }
  } else if (reason !== undefined) onChoice?.(reason);
  const { createCpuEngine } = await import("./cpu/index.ts");
  return createCpuEngine(cpuOptions(options));
}

/** Throws `EngineError` for a setting that the engine does not have. */
function checkMeaning(
  name: string,
  { driver, numerics, arithmetic, threads, blas }: EngineOptions,
): void {
  const namesLibrary = blas !== undefined && blas !== "auto" && blas !== "off";
  if (namesLibrary && name !== "cpu" && name !== "auto") {
    throw new EngineError("engine.option", `engine "${name}" multiplies matrices itself`, {
      remedy: "--blas is a setting of cpu.",
    });
  }
  if (numerics !== undefined && !isSimulated(name)) {
    throw new EngineError("engine.option", `engine "${name}" has no choice of numerics`, {
      remedy: "--numerics is a setting of sim:<chip>, as in --engine sim:m4.",
    });
  }
  if (arithmetic !== undefined && !isSimulated(name)) {
    throw new EngineError("engine.option", `engine "${name}" has no choice of arithmetic`, {
      remedy: "--arithmetic is a setting of sim:<chip>, as in --engine sim:m4.",
    });
  }
  if (name === "gpu" && threads !== undefined) {
    throw new EngineError("engine.option", `engine "gpu" has no threads to choose`, {
      remedy: "--threads is a setting of cpu and sim:<chip>.",
    });
  }
  if (driver !== undefined && (name === "cpu" || name === "gpu" || name === "reference")) {
    throw new EngineError("engine.option", `engine "${name}" has no drivers`, {
      remedy: "--ane-driver is a setting of ane and sim:<chip>, as in --engine sim:m4.",
    });
  }
}

function aneOptions(options: EngineOptions): AneEngineOptions {
  const { driver, operandScaling, ane } = options;
  return {
    ...ane,
    ...(options.threads !== undefined && { threads: options.threads }),
    ...(driver !== undefined && { driver }),
    ...(operandScaling !== undefined && { operandScaling }),
  };
}

function cpuOptions({
  threads,
  join,
  blas,
}: EngineOptions): Pick<EngineOptions, "threads" | "join" | "blas"> {
  return {
    ...(threads !== undefined && { threads }),
    ...(join !== undefined && { join }),
    ...(blas !== undefined && { blas }),
  };
}
