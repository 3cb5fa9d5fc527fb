import type { MilFunction } from "../../mil/program.ts";
import type { DataType } from "../../mil/types.ts";

/** Memory of one of a function's inputs or outputs: `byteLength` bytes of a buffer, dense. */
export interface TensorPlace {
  /** The port's name. */
  readonly name: string;
  readonly dataType: DataType;
  readonly shape: readonly number[];
  readonly buffer: ArrayBuffer | SharedArrayBuffer;
  readonly byteOffset: number;
  readonly byteLength: number;
}

/** A function bound to memory. `release` frees what the binding holds. */
export interface BoundFunction {
  /** Runs the function; blocks the thread while it computes. */
  readonly run: () => Promise<void> | void;
  readonly release: () => void;
}

/** A compiled function, which may be bound many times: once for every dispatch that computes the same elsewhere. */
export interface CompiledFunction {
  /** Bytes that its values are estimated to hold while it runs, inputs and outputs not counted. */
  readonly intermediateBytes: number;
  bind(inputs: readonly TensorPlace[], outputs: readonly TensorPlace[]): BoundFunction;
  /** Lets go of one compilation; equal functions may share what is behind it. */
  release(): Promise<void> | void;
}

export interface CompileOptions {
  /** What is compiled, for messages: a dispatch's label. */
  readonly label: string;
  /** Threads wait busily for the next op: quick for small functions, costly for whoever shares the cores. */
  readonly spins: boolean;
  /**
   * Inputs that hold the same numbers in every run, by the function's names: the compiler may keep them in another form as
   * well, and does not want them bound. Only where `keepsRowBits` says so.
   */
  readonly constants?: readonly TensorPlace[];
}

/**
 * A way to run a MIL function on the CPU. The engine asks its compilers in order; the first that suits a function
 * compiles it, and the last suits all. An output may stand on an input's memory where `mayStandOn` allows it.
 */
export interface FunctionCompiler {
  /** Names what runs and its version. */
  readonly version: string;
  suits(fn: MilFunction): boolean;
  /**
   * Whether it takes constants, and a product with one gives a row the same bits whatever number of rows stands beside it.
   * Absent: it does not.
   */
  keepsRowBits?(): Promise<boolean>;
  /** What a function becomes, in a few words; costs nothing, so that plans can print it before anything compiles. */
  describe(fn: MilFunction, hasConstants?: boolean): string;
  /** Throws `EngineError` naming `label` for a function that it refuses. */
  compile(fn: MilFunction, options: CompileOptions): Promise<CompiledFunction>;
  /** Bytes held for values inside functions, where it tells. */
  arenaBytes(): number | undefined;
  close(): Promise<void> | void;
}
