import { EngineError } from "../errors.ts";
import type { Driver } from "../../chip/chip.ts";
import type { MilFunction } from "../../mil/program.ts";

/** Memory the engine reads and writes in place. */
export interface DeviceBuffer {
  readonly byteLength: number;
  /** Where it stands, for as long as it is not released; absent where the address may change. */
  readonly address?: bigint;
  /**
   * Lets the host at the memory, which is its own only while `use` runs: fp16 as bits, dense, in the declared
   * shape of the port it is bound to.
   */
  access<Result>(mode: "read" | "write", use: (halves: Uint16Array) => Result): Result;
  release(): void;
}

/** A function ready for the engine: `main`, canonical port names, constants named. */
export interface EngineSource {
  /** For people: the plan's name of the program. */
  readonly label: string;
  readonly main: MilFunction;
}

/** A compiled function; any number of operations are made from it. */
export interface DriverProgram {
  readonly label: string;
  release(): void;
}

/** A program loaded on the engine with a buffer at every port, in the order of the function's inputs and outputs. */
export interface DriverOperation {
  readonly label: string;
  release(): void;
}

/** Operations that one call runs in order. */
export interface DriverStream {
  release(): void;
}

/** Where one process may compile only so many programs. */
export interface DriverCompilations {
  /** Of all engines of this process together. */
  readonly budget: number;
  /** What is left of it. */
  readonly left: number;
  /** What is compiled already, and costs nothing. */
  readonly isCompiled: (source: EngineSource) => boolean;
  /** Equal for sources that are compiled once. */
  readonly keyOf: (source: EngineSource) => string;
}

/** One way into the Neural Engine. All calls come from one thread. */
export interface AneDriver {
  readonly name: Driver;
  /** Library and version, as far as it tells. */
  readonly runtime: string;
  /** Operations that may be loaded at once. */
  readonly operationLimit: number;
  /** Bytes every buffer must have at least; `equal` asks for one size a side of a program. */
  readonly buffers: { readonly minimumBytes: number; readonly equalSizes: boolean };
  /** Absent where programs are compiled without a limit. */
  readonly compilations?: DriverCompilations;
  allocate(byteLength: number): DeviceBuffer;
  /** Throws `EngineError` `engine.ane.compile` with the runtime's reason. */
  compile(source: EngineSource): Promise<DriverProgram>;
  load(
    program: DriverProgram,
    inputs: readonly DeviceBuffer[],
    outputs: readonly DeviceBuffer[],
    label: string,
  ): DriverOperation;
  encode(operations: readonly DriverOperation[]): DriverStream;
  /** Throws `EngineError`: `engine.ane.execute` with the runtime's reason, `engine.ane.timeout` when it hangs. */
  execute(stream: DriverStream, label: string): Promise<void>;
  close(): void | Promise<void>;
}

/** What is thrown where a driver is given what another one made. */
export function foreignObject(what: string): EngineError {
  return new EngineError("engine.ane.driver", `a ${what} of another driver was given`);
}

/** What is thrown where the engine has not come back: `what` says from which call. */
export function hangError(what: string, timeoutMs: number, words = ""): EngineError {
  return new EngineError(
    "engine.ane.timeout",
    `${what} has not come back for ${timeoutMs / 1000} s${words}`,
    {
      remedy:
        "The engine of this process cannot be used any more. Start again; a run continues with --resume.",
    },
  );
}
