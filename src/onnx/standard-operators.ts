import { create } from "@bufbuild/protobuf";
import { OnnxError } from "./errors.ts";
import { madeNode } from "./graph-writer.ts";
import { TensorProtoSchema } from "./generated/onnx_pb.ts";
import type { GraphProto, NodeProto } from "./generated/onnx_pb.ts";

/** Adds a scalar of fp32 to the graph and returns its name. */
type MakeScalar = (value: number) => string;

/** How an operator of ONNX Runtime's own is written with those of the standard. */
type Expand = (node: NodeProto, scalar: MakeScalar) => readonly NodeProto[];

const EXPANSIONS: Readonly<Record<string, Expand>> = {
  FastGelu: (node) => [step(node, "Gelu", node.input, "", { approximate: "tanh" })],
  /** x * sigmoid(alpha * x) */
  QuickGelu: (node, scalar) => {
    const [x = ""] = node.input;
    const alpha = float(node, "alpha", 1.702);
    const inner = alpha === 1 ? [] : [step(node, "Mul", [x, scalar(alpha)], "scaled")];
    const gated = inner[0]?.output[0] ?? x;
    const gate = step(node, "Sigmoid", [gated], "gate");
    return [...inner, gate, step(node, "Mul", [x, ...gate.output], "")];
  },
};

/** Replaces operators of ONNX Runtime's own, which only it knows, by standard ones. */
export function writeWithStandardOperators(graph: GraphProto): void {
  const scalars = new Map<number, string>();
  const scalar: MakeScalar = (value) => {
    const name = scalars.get(value) ?? `scalar.${scalars.size}`;
    if (!scalars.has(value)) {
      scalars.set(value, name);
      graph.initializer.push(create(TensorProtoSchema, { name, dataType: 1, floatData: [value] }));
    }
    return name;
  };
  expandIn(graph, scalar);
}

/** Nested graphs read the scalars of the outermost. */
function expandIn(graph: GraphProto, scalar: MakeScalar): void {
  graph.node = graph.node.flatMap((node) => {
    for (const { g } of node.attribute) if (g !== undefined) expandIn(g, scalar);
    if (node.domain === "") return [node];
    const expand = EXPANSIONS[node.opType];
    if (expand === undefined) {
      throw new OnnxError(
        "onnx.export.operator",
        `${node.domain}.${node.opType} has no standard form`,
      );
    }
    return expand(node, scalar);
  });
}

/** A node in place of another: the last one has its result, those before it results of their own. */
function step(
  node: NodeProto,
  opType: string,
  input: readonly string[],
  suffix: string,
  attributes: Readonly<Record<string, string>> = {},
): NodeProto {
  const [result = ""] = node.output;
  const named = (name: string): string => (suffix === "" ? name : `${name}.${suffix}`);
  return madeNode(opType, input, named(result), attributes, named(node.name));
}

function float({ attribute }: NodeProto, name: string, fallback: number): number {
  return attribute.find((one) => one.name === name)?.f ?? fallback;
}
