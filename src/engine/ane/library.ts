import { existsSync } from "node:fs";
import { EngineError } from "../errors.ts";

/** Espresso's binary lives in the system's shared cache: the file itself need not exist (`e5rt.library`). */
const ESPRESSO = "/System/Library/PrivateFrameworks/Espresso.framework/Espresso";

/** Set to a library's path, any command uses it instead of the system's frameworks, on any platform. */
export const LIBRARY_VARIABLE = "ANECDOTE_ANE_LIBRARY";

export interface AneLibrary {
  readonly path: string;
  /** Named by the user or a test; not the system's. */
  readonly isNamed: boolean;
}

/**
 * The library the driver loads: the one that is named, or the system's on an Apple Silicon Mac. Throws `EngineError`
 * `engine.ane.library` on machines that have none.
 */
export function findLibrary(named?: string): AneLibrary {
  const path = named ?? process.env[LIBRARY_VARIABLE];
  if (path !== undefined && path !== "") {
    if (existsSync(path)) return { path, isNamed: true };
    throw new EngineError("engine.ane.library", `${path} does not exist`, {
      remedy: `Unset ${LIBRARY_VARIABLE}, or let it name a library.`,
    });
  }
  if (hasNeuralEngine()) return { path: ESPRESSO, isNamed: false };
  throw new EngineError(
    "engine.ane.library",
    process.platform === "darwin"
      ? "this Mac has an Intel processor: only Apple Silicon has a Neural Engine that programs can use"
      : `a Neural Engine is in Apple Silicon Macs only, this is ${process.platform} on ${process.arch}`,
    { remedy: "Use --engine cpu, or --engine sim:m4 for the engine's arithmetic." },
  );
}

/** Whether this machine has a library to try. */
export function hasNeuralEngine(): boolean {
  const named = process.env[LIBRARY_VARIABLE];
  const isNamed = named !== undefined && named !== "";
  return isNamed || (process.platform === "darwin" && process.arch === "arm64");
}
