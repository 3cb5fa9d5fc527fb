import { create } from "@bufbuild/protobuf";
import { elementCount } from "../mil/types.ts";
import { float32ToFloat16, LARGEST_FLOAT16 } from "../util/float16.ts";
import { OnnxError } from "./errors.ts";
import { madeNode } from "./graph-writer.ts";
import { TensorProto_DataType, TensorProtoSchema } from "./generated/onnx_pb.ts";
import type { GraphProto, NodeProto, TensorProto } from "./generated/onnx_pb.ts";

/**
 * How an ONNX decoder holds its weights, as readers in JavaScript spell it. fp32: as they are computed with. fp16: all of
 * them, widened when the file is opened. q8: matrices and tables as codes with a scale for each row, the rest fp32.
 */
export const ONNX_WEIGHT_TYPES = ["fp32", "fp16", "q8"] as const;
export type OnnxWeightType = (typeof ONNX_WEIGHT_TYPES)[number];

/** A weight that is an input of the graph, to become a part of the file. */
export interface GraphWeight {
  readonly name: string;
  readonly shape: readonly number[];
}

/** The tensors that a weight becomes, and how their bytes are made from its numbers, in the same order. */
export interface StoredWeight {
  readonly name: string;
  readonly tensors: readonly TensorProto[];
  readonly byteLengths: readonly number[];
  readonly bytesOf: (numbers: Float32Array) => readonly Uint8Array[];
}

const LARGEST_CODE = 127;
const toFloat = { to: BigInt(TensorProto_DataType.FLOAT) };

/**
 * Turns inputs of the graph into stored weights: the graph loses the inputs and gains the nodes that widen them; the
 * tensors have no bytes yet. Throws `OnnxError` for a weight that is no input.
 */
export function storeWeights(
  graph: GraphProto,
  weights: readonly GraphWeight[],
  type: OnnxWeightType,
): readonly StoredWeight[] {
  const inputs = new Set(graph.input.map(({ name }) => name));
  const absent = weights.find(({ name }) => !inputs.has(name));
  if (absent !== undefined)
    throw new OnnxError("onnx.weights", `weight "${absent.name}" is no input of the graph`);
  const names = new Set(weights.map(({ name }) => name));
  graph.input = graph.input.filter(({ name }) => !names.has(name));
  const widening: NodeProto[] = [];
  const stored = weights.map((weight) => {
    switch (type) {
      case "fp32":
        return plain(weight);
      case "fp16":
        widening.push(madeNode("Cast", [half(weight.name)], weight.name, toFloat));
        return halved(weight);
      case "q8":
        if (weight.shape.length !== 2) return plain(weight);
        pickCodes(graph, weight.name);
        if (isRead(graph, weight.name))
          widening.push(
            madeNode("DequantizeLinear", partsOf(weight.name), weight.name, { axis: 0n }),
          );
        return coded(weight);
    }
  });
  graph.node = [...widening, ...graph.node];
  return stored;
}

const half = (name: string): string => `${name}.fp16`;
const partsOf = (name: string): readonly [codes: string, scales: string] => [
  `${name}.codes`,
  `${name}.scales`,
];

function plain({ name, shape }: GraphWeight): StoredWeight {
  return {
    name,
    tensors: [tensor(name, shape, TensorProto_DataType.FLOAT)],
    byteLengths: [4 * elementCount(shape)],
    bytesOf: (numbers) => [bytesIn(numbers)],
  };
}

function halved({ name, shape }: GraphWeight): StoredWeight {
  return {
    name,
    tensors: [tensor(half(name), shape, TensorProto_DataType.FLOAT16)],
    byteLengths: [2 * elementCount(shape)],
    bytesOf: (numbers) => {
      const large = numbers.find((number) => !(Math.abs(number) <= LARGEST_FLOAT16));
      if (large !== undefined) {
        throw new OnnxError(
          "onnx.weights.float16",
          `weight "${name}" has ${large}, fp16 ends at ${LARGEST_FLOAT16}`,
          { remedy: "Use --dtype fp32." },
        );
      }
      const bits = new Uint16Array(numbers.length);
      float32ToFloat16(numbers, bits);
      return [bytesIn(bits)];
    },
  };
}

function coded({ name, shape }: GraphWeight): StoredWeight {
  const [rows = 1, columns = 1] = shape;
  const [codesName, scalesName] = partsOf(name);
  return {
    name,
    tensors: [
      tensor(codesName, shape, TensorProto_DataType.INT8),
      tensor(scalesName, [rows], TensorProto_DataType.FLOAT),
    ],
    byteLengths: [rows * columns, 4 * rows],
    bytesOf: (numbers) => {
      const codes = new Int8Array(rows * columns);
      const scales = new Float32Array(rows);
      for (let row = 0; row < rows; row++) {
        const first = row * columns;
        let largest = 0;
        for (let at = first; at < first + columns; at++)
          largest = Math.max(largest, Math.abs(numbers[at] ?? 0));
        // A row of zeros has codes of zero, whatever its scale.
        const scale = Math.fround(largest / LARGEST_CODE) || 1;
        scales[row] = scale;
        for (let at = first; at < first + columns; at++)
          codes[at] = Math.round((numbers[at] ?? 0) / scale);
      }
      return [bytesIn(codes), bytesIn(scales)];
    },
  };
}

/** Rows of a table are picked as codes: unpacking all of it for each token would cost more than the rest. */
function pickCodes(graph: GraphProto, name: string): void {
  const [codes, scales] = partsOf(name);
  graph.node = graph.node.flatMap((one) => {
    const [table, indices = ""] = one.input;
    const [output = ""] = one.output;
    if (one.opType !== "Gather" || table !== name || !picksRows(one)) return [one];
    const picked = [`${output}.codes`, `${output}.scales`] as const;
    return [
      madeNode("Gather", [codes, indices], picked[0], { axis: 0n }),
      madeNode("Gather", [scales, indices], picked[1], { axis: 0n }),
      madeNode("DequantizeLinear", picked, output, { axis: 0n }),
    ];
  });
}

/** Indices of decoders have one axis, so that a picked row's scale belongs to the first axis again. */
function picksRows({ attribute }: NodeProto): boolean {
  return attribute.every(({ name, i }) => name !== "axis" || i === 0n);
}

function isRead(graph: GraphProto, name: string): boolean {
  return graph.node.some(({ input }) => input.includes(name));
}

function bytesIn(numbers: Float32Array | Uint16Array | Int8Array): Uint8Array {
  return new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
}

function tensor(name: string, shape: readonly number[], dataType: number): TensorProto {
  return create(TensorProtoSchema, { name, dims: shape.map(BigInt), dataType });
}
