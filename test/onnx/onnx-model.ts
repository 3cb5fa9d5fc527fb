import { create, toBinary } from "@bufbuild/protobuf";
import { elementTypeOf } from "../../src/onnx/element-types.ts";
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  TensorProtoSchema,
  TensorShapeProto_DimensionSchema,
  ValueInfoProtoSchema,
} from "../../src/onnx/generated/onnx_pb.ts";
import type { AttributeProto, GraphProto, NodeProto } from "../../src/onnx/generated/onnx_pb.ts";
import { numericArrayBytes } from "../../src/onnx/tensor-bytes.ts";
import { allocateNumbers } from "../../src/mil/literal.ts";
import type { DataType } from "../../src/mil/types.ts";

/** A tensor of a test: its ONNX type by the MIL name of the same width. */
export interface TestTensor {
  readonly type: DataType;
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

export type TestAttribute =
  | bigint
  | number
  | string
  | readonly bigint[]
  | readonly number[]
  | TestTensor
  | GraphProto;

export interface TestNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, TestAttribute>>;
  readonly domain?: string;
}

export interface TestGraph {
  readonly inputs: Readonly<
    Record<string, { type: DataType; shape: readonly (number | string)[] }>
  >;
  readonly constants: Readonly<Record<string, TestTensor>>;
  readonly nodes: readonly TestNode[];
  readonly outputs: Readonly<Record<string, DataType>>;
}

export function tensorMessage(name: string, { type, shape, values }: TestTensor) {
  const numbers = allocateNumbers(type, values.length);
  values.forEach((value, index) => {
    if (numbers instanceof BigInt64Array || numbers instanceof BigUint64Array)
      numbers[index] = BigInt(value);
    else numbers[index] = value;
  });
  return create(TensorProtoSchema, {
    name,
    dataType: elementTypeOf(type),
    dims: shape.map(BigInt),
    rawData: numericArrayBytes(type, numbers),
  });
}

function attributeMessage(name: string, value: TestAttribute): AttributeProto {
  const types = AttributeProto_AttributeType;
  if (typeof value === "bigint")
    return create(AttributeProtoSchema, { name, type: types.INT, i: value });
  if (typeof value === "number")
    return create(AttributeProtoSchema, { name, type: types.FLOAT, f: value });
  if (typeof value === "string") {
    const s = new TextEncoder().encode(value);
    return create(AttributeProtoSchema, { name, type: types.STRING, s });
  }
  if ("values" in value && "shape" in value) {
    return create(AttributeProtoSchema, {
      name,
      type: types.TENSOR,
      t: tensorMessage("", value),
    });
  }
  if ("$typeName" in value) {
    return create(AttributeProtoSchema, { name, type: types.GRAPH, g: value });
  }
  const list = value as readonly (bigint | number)[];
  const ints = list.filter((item) => typeof item === "bigint");
  const floats = list.filter((item) => typeof item === "number");
  return floats.length > 0
    ? create(AttributeProtoSchema, { name, type: types.FLOATS, floats })
    : create(AttributeProtoSchema, { name, type: types.INTS, ints });
}

export function nodeMessage({ op, inputs, outputs, attributes, domain }: TestNode): NodeProto {
  return create(NodeProtoSchema, {
    opType: op,
    domain: domain ?? "",
    name: `${op} node`,
    input: [...inputs],
    output: [...outputs],
    attribute: Object.entries(attributes ?? {}).map(([name, value]) =>
      attributeMessage(name, value),
    ),
  });
}

export function graphMessage(graph: TestGraph): GraphProto {
  return create(GraphProtoSchema, {
    name: "test",
    node: graph.nodes.map(nodeMessage),
    initializer: Object.entries(graph.constants).map(([name, tensor]) =>
      tensorMessage(name, tensor),
    ),
    input: Object.entries(graph.inputs).map(([name, { type, shape }]) => port(name, type, shape)),
    output: Object.entries(graph.outputs).map(([name, type]) => port(name, type, undefined)),
  });
}

function port(name: string, type: DataType, shape: readonly (number | string)[] | undefined) {
  const dimension = (size: number | string) =>
    create(TensorShapeProto_DimensionSchema, {
      value:
        typeof size === "number"
          ? { case: "dimValue", value: BigInt(size) }
          : { case: "dimParam", value: size },
    });
  return create(ValueInfoProtoSchema, {
    name,
    type: {
      value: {
        case: "tensorType",
        value: {
          elemType: elementTypeOf(type),
          ...(shape !== undefined && { shape: { dim: shape.map(dimension) } }),
        },
      },
    },
  });
}

/** The bytes of an ONNX file. */
export function modelBytes(graph: TestGraph, opset = 21): Uint8Array {
  const usesMicrosoft = graph.nodes.some(({ domain }) => domain === "com.microsoft");
  return toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, {
      irVersion: 8n,
      graph: graphMessage(graph),
      opsetImport: [
        { domain: "", version: BigInt(opset) },
        ...(usesMicrosoft ? [{ domain: "com.microsoft", version: 1n }] : []),
      ],
    }),
  );
}
