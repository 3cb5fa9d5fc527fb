import type { TensorProto } from "../onnx/generated/onnx_pb.ts";
import { portOf } from "../onnx/read-model.ts";
import type { OnnxFile } from "../onnx/read-model.ts";
import { elementTypeName } from "../onnx/type-codes.ts";
import type { SummarizedPort, SummarizedFunction, SummarizedWeight } from "./summary.ts";

interface OnnxPortSummary extends Omit<SummarizedPort, "flexible"> {
  readonly dtype: string;
  /** Open sizes by the name the model gives them. */
  readonly shape: readonly (number | string)[];
}

interface OnnxFunctionSummary extends SummarizedFunction {
  readonly inputs: readonly OnnxPortSummary[];
  readonly outputs: readonly OnnxPortSummary[];
}

/** What `inspect` tells of an ONNX model, in the words of its own format. */
export interface OnnxSummary {
  readonly producer: string;
  readonly ir_version: number;
  readonly opsets: Readonly<Record<string, number>>;
  readonly functions: readonly OnnxFunctionSummary[];
  readonly weights: readonly Omit<SummarizedWeight, "offset">[];
  readonly weight_bytes: number;
}

export function summarizeOnnx(file: OnnxFile): OnnxSummary {
  const { model, graph } = file;
  const initialized = new Set(graph.initializer.map(({ name }) => name));
  const counts = new Map<string, number>();
  for (const { domain, opType } of graph.node) {
    const name = domain === "" || domain === "ai.onnx" ? opType : `${domain}.${opType}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const ports = (infos: typeof graph.input): OnnxPortSummary[] =>
    infos
      .filter(({ name }) => !initialized.has(name))
      .map((info) => {
        const { name, elementType, shape = ["?"] } = portOf(info);
        const dtype = elementTypeName(elementType);
        return { name, type: `${dtype}[${shape.join(", ")}]`, dtype, shape };
      });
  const weights = graph.initializer.map((tensor) => weightOf(tensor));
  return {
    producer: `${model.producerName} ${model.producerVersion}`.trim(),
    ir_version: Number(model.irVersion),
    opsets: Object.fromEntries(
      model.opsetImport.map(({ domain, version }) => [
        domain === "" ? "ai.onnx" : domain,
        Number(version),
      ]),
    ),
    functions: [
      {
        name: graph.name,
        opset: `onnx${file.opset}`,
        inputs: ports(graph.input),
        outputs: ports(graph.output),
        ops: Object.fromEntries([...counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1))),
        op_count: graph.node.length,
      },
    ],
    weights,
    weight_bytes: weights.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

function weightOf(tensor: TensorProto): OnnxSummary["weights"][number] {
  const external = tensor.externalData.find(({ key }) => key === "location")?.value;
  const length = tensor.externalData.find(({ key }) => key === "length")?.value;
  const listed =
    4 * (tensor.floatData.length + tensor.int32Data.length) +
    8 * (tensor.doubleData.length + tensor.int64Data.length + tensor.uint64Data.length);
  return {
    name: tensor.name,
    dtype: elementTypeName(tensor.dataType),
    shape: tensor.dims.map(Number),
    bytes: length === undefined ? (tensor.rawData?.byteLength ?? listed) : Number(length),
    ...(external !== undefined && { file: external }),
  };
}
