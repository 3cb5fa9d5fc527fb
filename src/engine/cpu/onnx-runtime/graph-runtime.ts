import type { Blas } from "../blas/library.ts";
import type { BoundFunction, TensorPlace } from "../compiler.ts";

/** A session. Tensors carry the names of the graph's inputs and outputs. */
export interface CompiledGraph {
  bind(inputs: readonly TensorPlace[], outputs: readonly TensorPlace[]): BoundFunction;
  release(): Promise<void> | void;
}

export interface GraphOptions {
  /** Threads wait busily for the next node. */
  readonly spins: boolean;
  /** Numbers of the model's given constants, by their names in it; they stay where they are and must not change. */
  readonly constants?: readonly TensorPlace[];
}

/** A way to ONNX Runtime: its C interface, or its binding to JavaScript. */
export interface GraphRuntime {
  /** Names the library and its version, and why it is not a better one. */
  readonly version: string;
  /** Who computes the operators of `onnx/foreign-products.ts`; graphs must not have them where nobody does. */
  readonly foreignProducts: string | undefined;
  /** Whether it takes given constants. */
  readonly takesConstants: boolean;
  compile(model: Uint8Array, options: GraphOptions): Promise<CompiledGraph>;
  /** Bytes the runtime holds for values inside graphs, where it tells. */
  arenaBytes(): number | undefined;
  close(): Promise<void> | void;
}

export interface GraphRuntimeOptions {
  readonly threads: number;
  /** Writes ONNX Runtime's own profile of every session to files with this prefix. */
  readonly profilePrefix?: string;
  /** Multiplies large matrices in the runtime's place, where the runtime can be given operators. */
  readonly blas?: Blas;
}
