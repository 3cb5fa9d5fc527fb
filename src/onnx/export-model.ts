import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { MilFunction } from "../mil/program.ts";
import { OnnxError } from "./errors.ts";
import { ModelProtoSchema } from "./generated/onnx_pb.ts";
import type { GraphProto, ModelProto } from "./generated/onnx_pb.ts";
import { renameIn } from "./graph-writer.ts";
import { writeWithStandardOperators } from "./standard-operators.ts";
import { functionToOnnx } from "./lower-function.ts";

export interface ExportedModel {
  readonly bytes: Uint8Array;
  readonly nodeCount: number;
  /** Names that had to change because an input has them too: from the function's to the file's. */
  readonly renamed: ReadonlyMap<string, string>;
}

/** What a protocol buffer can hold, less some room for the graph. */
const WEIGHT_BYTE_LIMIT = 2 ** 31 - 2 ** 24;

/** A function as an ONNX model that is not encoded yet. */
export interface ExportedGraph {
  readonly model: ModelProto;
  readonly graph: GraphProto;
  readonly renamed: ReadonlyMap<string, string>;
}

/**
 * A function as an ONNX file whose inputs and outputs carry the function's own names.
 * Throws `OnnxError` naming the op that has no ONNX form, or where the weights exceed what one file can hold.
 */
export function exportOnnx(fn: MilFunction): ExportedModel {
  checkSize(fn);
  const { model, graph, renamed } = exportGraph(fn);
  return { bytes: toBinary(ModelProtoSchema, model), nodeCount: graph.node.length, renamed };
}

/** As `exportOnnx`, for who changes the graph before it is encoded. */
export function exportGraph(fn: MilFunction): ExportedGraph {
  const model = fromBinary(ModelProtoSchema, functionToOnnx(fn, { isForOthers: true }).bytes);
  const { graph } = model;
  if (graph === undefined) throw new OnnxError("onnx.export", `"${fn.name}" became no graph`);
  writeWithStandardOperators(graph);
  model.opsetImport = model.opsetImport.filter(({ domain }) => domain === "");
  const taken = new Set(namesIn(graph));
  const names = new Map<string, string>();
  const renamed = new Map<string, string>();
  const claim = (from: string, wanted: string): void => {
    let name = wanted;
    while (taken.has(name)) name = `${name}_`;
    taken.add(name);
    names.set(from, name);
    if (name !== wanted) renamed.set(wanted, name);
  };
  for (const { name } of fn.inputs) claim(`in:${name}`, name);
  for (const { name } of fn.outputs) claim(`out:${name}`, name);
  const rename = (name: string): string => names.get(name) ?? name;
  for (const port of [...graph.input, ...graph.output]) port.name = rename(port.name);
  renameIn(graph.node, rename);
  return { model, graph, renamed };
}

/** Names of values that nodes make, in the graphs inside nodes too. */
function namesIn(graph: GraphProto): readonly string[] {
  return [
    ...graph.input.map(({ name }) => name),
    ...graph.node.flatMap(({ output, attribute }) => [
      ...output,
      ...attribute.flatMap(({ g }) => (g === undefined ? [] : namesIn(g))),
    ]),
  ];
}

function checkSize(fn: MilFunction): void {
  let bytes = 0;
  for (const { attributes } of fn.operations) {
    for (const { data } of attributes.values()) {
      if (data.kind === "numbers") bytes += data.numbers.byteLength;
    }
  }
  if (bytes > WEIGHT_BYTE_LIMIT) {
    throw new OnnxError(
      "onnx.export.size",
      `the weights of "${fn.name}" take ${bytes} bytes as ONNX computes with them; one file holds ${WEIGHT_BYTE_LIMIT}`,
      { remedy: "Convert the model in parts." },
    );
  }
}
