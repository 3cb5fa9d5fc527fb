import { TensorProto_DataType } from "./generated/onnx_pb.ts";
import type { NodeProto } from "./generated/onnx_pb.ts";
import type { GraphWriter } from "./graph-writer.ts";

/** Names of nodes that not every device gets right. */
export interface DeviceHazards {
  /**
   * Scatters that may name a place twice: a device's threads come in any order, so that bits change from run to run,
   * or the wrong one of two stays. Einsum, of which the WebGPU provider (1.30) gets some equations wrong.
   */
  readonly kept: readonly string[];
  /** Casts to fp16 and back: not every device has it. */
  readonly halves: readonly string[];
}

const HALF = BigInt(TensorProto_DataType.FLOAT16);

export function hazardsOf(graph: GraphWriter): DeviceHazards {
  const halves = new Set<string>();
  const isHalf = ({ opType, attribute, input, output }: NodeProto): boolean => {
    if (opType !== "Cast") return false;
    if (attribute.some(({ name, i }) => name === "to" && i === HALF)) {
      for (const value of output) halves.add(value);
      return true;
    }
    return input.some((value) => halves.has(value));
  };
  return {
    kept: graph.nodeNames(({ output }) => output.some((value) => graph.isKeptFromDevice(value))),
    halves: graph.nodeNames(isHalf),
  };
}
