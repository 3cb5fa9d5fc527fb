import type { DataType } from "../../mil/types.ts";

/** A tensor's memory: `byteLength` bytes of a buffer, dense. */
export interface TensorPlace {
  readonly name: string;
  readonly dataType: DataType;
  readonly shape: readonly number[];
  readonly buffer: ArrayBuffer | SharedArrayBuffer;
  readonly byteOffset: number;
  readonly byteLength: number;
}

/** A graph bound to memory. `release` frees what the binding holds. */
export interface BoundGraph {
  /** Runs the graph; blocks the thread while it computes. */
  readonly run: () => Promise<void> | void;
  readonly release: () => void;
}

export interface CompiledGraph {
  bind(inputs: readonly TensorPlace[], outputs: readonly TensorPlace[]): BoundGraph;
  release(): Promise<void> | void;
}

export interface CompileOptions {
  /** Threads wait busily for the next node: quick for small graphs, costly for whoever shares the cores. */
  readonly spins: boolean;
}

/** A way to ONNX Runtime. */
export interface GraphRuntime {
  /** Names the library and its version. */
  readonly version: string;
  compile(model: Uint8Array, options: CompileOptions): Promise<CompiledGraph>;
  /** Bytes the runtime holds for values inside graphs, where it tells. */
  arenaBytes(): number | undefined;
  close(): Promise<void> | void;
}

export interface GraphRuntimeOptions {
  readonly threads: number;
  /** Writes ONNX Runtime's own profile of every session to files with this prefix. */
  readonly profilePrefix?: string;
}
