import { create } from "@bufbuild/protobuf";
import type { DataType, Dimension, MilType } from "../mil/types.ts";
import { formatType, tensorType } from "../mil/types.ts";
import { carriedBy, carry } from "./carried.ts";
import { CoreMlError } from "./errors.ts";
import { DimensionSchema, ValueTypeSchema } from "./generated/mil_pb.ts";
import type { Dimension as DimensionMessage, TensorType, ValueType } from "./generated/mil_pb.ts";

/** Element types by their number in a model (facts: formats, section 6.1). */
const DATA_TYPE_CODES: Readonly<Record<DataType, number>> = {
  bool: 1,
  string: 2,
  fp16: 10,
  fp32: 11,
  fp64: 12,
  bf16: 13,
  int8: 21,
  int16: 22,
  int32: 23,
  int64: 24,
  int4: 25,
  uint8: 31,
  uint16: 32,
  uint32: 33,
  uint64: 34,
  uint4: 35,
  uint2: 36,
  uint1: 37,
  uint6: 38,
  uint3: 39,
  fp8e4m3fn: 40,
  fp8e5m2: 41,
};

const CODE_TYPES: ReadonlyMap<number, DataType> = new Map(
  Object.entries(DATA_TYPE_CODES).map(([name, code]) => [code, name as DataType]),
);

/** A type from its message. Throws `CoreMlError` for one that has no meaning. */
export function readType(message: ValueType | undefined): MilType {
  const type = message?.type;
  switch (type?.case) {
    case "tensorType":
      return readTensorType(type.value);
    case "listType":
      return Object.freeze({
        kind: "list",
        element: readType(type.value.type),
        length: readDimension(type.value.length).size,
      });
    case "tupleType":
      return Object.freeze({ kind: "tuple", items: Object.freeze(type.value.types.map(readType)) });
    case "dictionaryType":
      return Object.freeze({
        kind: "dict",
        key: readType(type.value.keyType),
        value: readType(type.value.valueType),
      });
    case "stateType": {
      const wrapped = readType(type.value.wrappedType);
      if (wrapped.kind === "tensor") return Object.freeze({ kind: "state", wrapped });
      throw new CoreMlError(
        "coreml.type.state",
        `a state wraps a tensor, not a ${formatType(wrapped)}`,
      );
    }
    case undefined:
      throw new CoreMlError("coreml.type.missing", "a type is missing, or is of a newer format");
  }
}

function readTensorType(message: TensorType): MilType {
  const dataType = CODE_TYPES.get(message.dataType);
  if (dataType === undefined) {
    throw new CoreMlError(
      "coreml.type.element",
      `a tensor has the unknown element type ${message.dataType}`,
    );
  }
  const dimensions = message.dimensions.map(readDimension);
  const isRankOpen = message.rank < 0n;
  if (!isRankOpen && message.rank !== BigInt(dimensions.length)) {
    throw new CoreMlError(
      "coreml.type.rank",
      `a tensor type says rank ${message.rank} and has ${dimensions.length} dimensions`,
    );
  }
  const shape = dimensions.map((dimension) => dimension.size);
  const type = tensorType(dataType, isRankOpen && shape.length === 0 ? ["?"] : shape);
  if (isRankOpen || message.attributes.length > 0 || dimensions.some(({ variadic }) => variadic)) {
    carry(type, { fields: { message } });
  }
  return type;
}

function readDimension(message: DimensionMessage | undefined): {
  readonly size: Dimension;
  readonly variadic: boolean;
} {
  const dimension = message?.dimension;
  if (dimension?.case === "constant") {
    const { size } = dimension.value;
    if (size > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw new CoreMlError("coreml.type.size", `a dimension has the impossible size ${size}`);
    }
    return { size: Number(size), variadic: false };
  }
  return { size: "?", variadic: dimension?.value?.variadic === true };
}

/** The message of a type. Throws `CoreMlError` for `tensor_buffer`, which exists in text only. */
export function writeType(type: MilType): ValueType {
  switch (type.kind) {
    case "tensor": {
      const original = carriedBy(type)?.fields?.["message"] as TensorType | undefined;
      if (original !== undefined) {
        return create(ValueTypeSchema, { type: { case: "tensorType", value: original } });
      }
      return create(ValueTypeSchema, {
        type: {
          case: "tensorType",
          value: {
            dataType: DATA_TYPE_CODES[type.dataType],
            rank: BigInt(type.shape.length),
            dimensions: type.shape.map(writeDimension),
          },
        },
      });
    }
    case "list":
      return create(ValueTypeSchema, {
        type: {
          case: "listType",
          value: { type: writeType(type.element), length: writeDimension(type.length) },
        },
      });
    case "tuple":
      return create(ValueTypeSchema, {
        type: { case: "tupleType", value: { types: type.items.map(writeType) } },
      });
    case "dict":
      return create(ValueTypeSchema, {
        type: {
          case: "dictionaryType",
          value: { keyType: writeType(type.key), valueType: writeType(type.value) },
        },
      });
    case "state":
      return create(ValueTypeSchema, {
        type: { case: "stateType", value: { wrappedType: writeType(type.wrapped) } },
      });
    case "tensor_buffer":
      throw new CoreMlError(
        "coreml.type.buffer",
        `a ${formatType(type)} exists in the runtime's text only, not in Core ML models`,
        { remedy: "Save the program as .mil." },
      );
  }
}

function writeDimension(size: Dimension): DimensionMessage {
  return create(DimensionSchema, {
    dimension:
      size === "?"
        ? { case: "unknown", value: { variadic: false } }
        : { case: "constant", value: { size: BigInt(size) } },
  });
}
