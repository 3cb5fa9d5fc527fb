import { TensorProto_DataType } from "./generated/onnx_pb.ts";
import type { NodeProto } from "./generated/onnx_pb.ts";
import type { GraphWriter } from "./graph-writer.ts";

/** Names of nodes that not every device gets right. */
export interface DeviceHazards {
  /** Scatters that add or multiply: a device's threads come in any order, so that bits change from run to run. */
  readonly unrepeatable: readonly string[];
  /** Casts to fp16 and back: not every device has it. */
  readonly halves: readonly string[];
}

const HALF = BigInt(TensorProto_DataType.FLOAT16);

/** Reductions whose result does not depend on the order. */
const ORDERLESS: ReadonlySet<string> = new Set(["none", "max", "min"]);

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
    unrepeatable: graph.nodeNames(
      ({ opType, attribute }) =>
        opType === "ScatterElements" &&
        attribute.some(
          ({ name, s }) => name === "reduction" && !ORDERLESS.has(new TextDecoder().decode(s)),
        ),
    ),
    halves: graph.nodeNames(isHalf),
  };
}
