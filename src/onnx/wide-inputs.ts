import { TensorProto_DataType } from "./generated/onnx_pb.ts";
import type { GraphProto } from "./generated/onnx_pb.ts";
import { madeNode } from "./graph-writer.ts";

/** Inputs of int32 take int64 instead, as most runtimes' callers have token ids, and are narrowed first. */
export function widenIntegerInputs(graph: GraphProto): void {
  const narrowed = new Map<string, string>();
  for (const { name, type } of graph.input) {
    if (type?.value.case !== "tensorType") continue;
    const tensor = type.value.value;
    if (tensor.elemType !== TensorProto_DataType.INT32) continue;
    tensor.elemType = TensorProto_DataType.INT64;
    narrowed.set(name, `${name}.int32`);
  }
  for (const node of graph.node) node.input = node.input.map((name) => narrowed.get(name) ?? name);
  const to = BigInt(TensorProto_DataType.INT32);
  const casts = [...narrowed].map(([name, output]) => madeNode("Cast", [name], output, { to }));
  graph.node = [...casts, ...graph.node];
}
