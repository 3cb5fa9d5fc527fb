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
