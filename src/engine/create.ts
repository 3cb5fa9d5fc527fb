import { didYouMean } from "../util/nearest.ts";
import { createCpuEngine } from "./cpu/index.ts";
import type { Engine } from "./engine.ts";
import { EngineError } from "./errors.ts";
import { createReferenceEngine } from "./reference/index.ts";
import { createSimEngine } from "./sim/index.ts";

export interface EngineOptions {
  /** Default: what the system offers. */
  readonly threads?: number;
}

type CreateEngine = (options: EngineOptions) => Engine | Promise<Engine>;

/** Engines by the name `--engine` takes. */
const ENGINES: Readonly<Record<string, CreateEngine>> = {
  cpu: createCpuEngine,
  reference: () => createReferenceEngine(),
};

/** What `--engine` accepts; `sim:` goes before the name of any chip. */
export const ENGINE_NAMES: readonly string[] = ["auto", ...Object.keys(ENGINES), "sim:m4"];

const SIMULATED = "sim:";

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
  if (name.startsWith(SIMULATED)) return createSimEngine(name.slice(SIMULATED.length), options);
  const create = ENGINES[name === "auto" ? "cpu" : name];
  if (create === undefined) {
    throw new EngineError(
      "engine.unknown",
      `there is no engine "${name}".${didYouMean(name, ENGINE_NAMES)}`,
      { remedy: `Engines: ${ENGINE_NAMES.join(", ")}.` },
    );
  }
  return create(options);
}
