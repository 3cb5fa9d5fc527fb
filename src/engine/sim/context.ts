import type { Arithmetic } from "../../chip/arithmetic/arithmetic.ts";
import type { OpCall } from "../../mil/op-call.ts";
import type { HalfTensor } from "./half-tensor.ts";
import type { Machine } from "./machine.ts";
import type { Numerics } from "./numerics.ts";

/** How the ops of a function are computed. */
export interface SimContext {
  /** On the engine with its arithmetic, or on the host in fp32. */
  readonly place: "engine" | "host";
  readonly numerics: Numerics;
  readonly machine: Machine;
  /** What decides about bits. */
  readonly arithmetic: Arithmetic;
  /** Slices with an offset on the last axis turn |v| > 4094 into infinity (H13 and H14). */
  readonly clampSlices: boolean;
}

/** An op on the engine: results are fp16 numbers. Nothing for a call that it leaves to the op's evaluation. */
export type SimKernel = (call: OpCall, context: SimContext) => readonly HalfTensor[] | undefined;
