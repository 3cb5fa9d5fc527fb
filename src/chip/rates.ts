import type { Figure } from "./figure.ts";

/**
 * What the cost model needs to know of a chip, one figure each. Everything else in the model is shared by
 * all chips (cost/model.ts).
 */
export interface ChipRates {
  /** Time of a call that does nothing, through `_ANEInMemoryModel`. */
  readonly inMemoryFloor: Figure;
  /** The same through `e5rt_execution_stream_execute_sync`. */
  readonly e5rtFloor: Figure;
  /** The same through Core ML's `prediction`, host work included. */
  readonly coremlFloor: Figure;
  /** Inputs and outputs of a program, read and written where buffers are shared, by one engine. */
  readonly edgeStream: Figure;
  /** How much faster a program runs that the compiler splits over the package's engines; 1 where it has one. */
  readonly splitSpeed: Figure;
  /** A product over P positions costs as much as one over P + this: filling the array. */
  readonly fillPositions: Figure;
  /** Products of 1x1 convolutions over many positions. */
  readonly pointwise: Figure;
  /** Products of convolutions with a kernel wider than 1. */
  readonly spatial: Figure;
  /** Products of `matmul` whose second operand is small. */
  readonly matmul: Figure;
  /** How much faster int8 weights and activations are than fp16. */
  readonly int8Factor: Figure;
  /** Weights from memory. */
  readonly weightStream: Figure;
  /** Activations between the ops of one program. */
  readonly activationStream: Figure;
  /** Host to engine buffers and back, with conversion, one thread: what the published harnesses do each call. */
  readonly hostCopy: Figure;
  /** fp32 matrix products on the host's cores, for what stays there. */
  readonly hostProducts: Figure;
  /** Energy of products and traffic relative to M4 (cost/energy.ts). */
  readonly energyScale: Figure;
}
