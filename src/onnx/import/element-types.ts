import type { GraphProto, NodeProto } from "../generated/onnx_pb.ts";

/** Operators that keep the element type of their first input, among those that move small types. */
const SAME_TYPE: ReadonlySet<string> = new Set([
  "Concat",
  "Expand",
  "Flatten",
  "Gather",
  "GatherElements",
  "GatherND",
  "Identity",
  "Pad",
  "Reshape",
  "Slice",
  "Split",
  "Squeeze",
  "Tile",
  "Transpose",
  "Unsqueeze",
]);

/** Element types that a graph declares: of inputs, constants, results and what stands in its `value_info`. */
export function declaredTypes(graph: GraphProto): Map<string, number> {
  const types = new Map<string, number>();
  for (const { name, type } of [...graph.input, ...graph.output, ...graph.valueInfo])
    if (type?.value.case === "tensorType") types.set(name, type.value.value.elemType);
  for (const { name, dataType } of graph.initializer) types.set(name, dataType);
  return types;
}

/** The element type of a node's first result where nothing is said: that of its first input, if it keeps it. */
export function inheritedType(
  { input: [from = ""], opType, attribute }: NodeProto,
  types: ReadonlyMap<string, number>,
): number | undefined {
  if (opType === "Constant") return attribute.find(({ name }) => name === "value")?.t?.dataType;
  return SAME_TYPE.has(opType) ? types.get(from) : undefined;
}
