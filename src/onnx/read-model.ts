import { fromBinary } from "@bufbuild/protobuf";
import { allocateNumbers, numericLiteral } from "../mil/literal.ts";
import type { Literal } from "../mil/program.ts";
import { tensorType } from "../mil/types.ts";
import type { DataType } from "../mil/types.ts";
import { messageOf } from "../util/errors.ts";
import { OnnxError } from "./errors.ts";
import { ModelProtoSchema } from "./generated/onnx_pb.ts";
import type { GraphProto, ModelProto, TensorProto, ValueInfoProto } from "./generated/onnx_pb.ts";
import { tensorNumbers } from "./tensor-numbers.ts";
import type { TensorNumbers } from "./tensor-numbers.ts";
import { milTypeOf } from "./type-codes.ts";
import { withFileSource } from "../util/byte-source.ts";

const MODEL_BYTE_LIMIT = 2 ** 31 - 1;
const NESTING_LIMIT = 100;

/** A decoded model; its large tensors may stand in files beside it. */
export interface OnnxFile {
  readonly name: string;
  readonly model: ModelProto;
  readonly graph: GraphProto;
  /** Version of the standard operator set. */
  readonly opset: number;
  /** Where files with tensors are looked for; absent when the bytes came from nowhere. */
  readonly folder: string | undefined;
}

/** Reads a `.onnx` file. Throws `OnnxError` for anything that is no ONNX model, `FileError` without a file. */
export function openOnnx(path: string, folder: string): OnnxFile {
  return withFileSource(path, (source) => {
    if (source.byteLength > MODEL_BYTE_LIMIT) {
      throw new OnnxError(
        "onnx.read.size",
        `${path} has ${source.byteLength} bytes; models of up to ${MODEL_BYTE_LIMIT} are read`,
        { remedy: "Save it with its tensors in a file beside it (external data)." },
      );
    }
    return parseOnnx(source.read(0, source.byteLength), path, folder);
  });
}

/** Decodes a model's bytes. Throws `OnnxError`. */
export function parseOnnx(bytes: Uint8Array, name = "model.onnx", folder?: string): OnnxFile {
  let model: ModelProto;
  try {
    model = fromBinary(ModelProtoSchema, bytes, { recursionLimit: NESTING_LIMIT });
  } catch (error) {
    throw new OnnxError("onnx.read", `${name} is not an ONNX model: ${messageOf(error)}`, {
      cause: error,
    });
  }
  const { graph } = model;
  if (graph === undefined) throw new OnnxError("onnx.read.graph", `${name} holds no graph`);
  const standard = model.opsetImport.find(({ domain }) => domain === "" || domain === "ai.onnx");
  return { name, model, graph, opset: Number(standard?.version ?? 1n), folder };
}

/** Names and sizes of a value; sizes that the model leaves open stand by their name, or as "?". */
export interface OnnxPort {
  readonly name: string;
  readonly elementType: number;
  readonly shape: readonly (number | string)[] | undefined;
}

/** Throws `OnnxError` for sequences, maps and other values that are no tensors. */
export function portOf(info: ValueInfoProto): OnnxPort {
  const type = info.type?.value;
  if (type?.case !== "tensorType") {
    throw new OnnxError("onnx.import.port", `"${info.name}" is not a tensor`);
  }
  const shape = type.value.shape?.dim.map(({ value }) => {
    switch (value.case) {
      case "dimValue":
        // Some writers say -1 for a size they do not know.
        return value.value < 0n ? "?" : Number(value.value);
      case "dimParam":
        return value.value === "" ? "?" : value.value;
      case undefined:
        return "?";
    }
  });
  return { name: info.name, elementType: type.value.elemType, shape };
}

/**
 * A tensor of the model as a literal of the MIL type that stands for it; `clamped` where 64-bit integers did not fit
 * into 32 bits and became the nearest that does: as bounds of slices they mean the same, in arithmetic not.
 * Throws `OnnxError` where the data are not what shape and type say.
 */
export function literalOfTensor(
  tensor: TensorProto,
  file: OnnxFile,
): { readonly literal: Literal; readonly clamped: boolean } {
  return literalOfNumbers(tensorNumbers(tensor, file.folder));
}

/** `literalOfTensor` of decoded numbers. */
export function literalOfNumbers({ name, elementType, shape, numbers }: TensorNumbers): {
  readonly literal: Literal;
  readonly clamped: boolean;
} {
  const dataType = PACKED_LITERALS[elementType] ?? milTypeOf(elementType, `tensor "${name}"`);
  const type = tensorType(dataType, shape);
  const held = allocateNumbers(dataType, numbers.length);
  if (held.constructor === numbers.constructor)
    return { literal: numericLiteral(type, numbers), clamped: false };
  let clamped = false;
  for (let i = 0; i < numbers.length; i++) {
    const value = Number(numbers[i] ?? 0);
    held[i] = dataType === "int32" ? Math.min(INT32.high, Math.max(INT32.low, value)) : value;
    clamped ||= dataType === "int32" && held[i] !== value;
  }
  return { literal: numericLiteral(type, held), clamped };
}

const INT32 = { low: -(2 ** 31), high: 2 ** 31 - 1 } as const;
/** Integers of four bits stay so as constants, since Core ML's weight files pack them. */
const PACKED_LITERALS: Readonly<Record<number, DataType>> = { 21: "uint4", 22: "int4" };
