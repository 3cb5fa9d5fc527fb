import { existsSync } from "node:fs";
import { isAbsolute, join, normalize } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { allocateNumbers, numericLiteral } from "../mil/literal.ts";
import type { Literal, NumericData } from "../mil/program.ts";
import { DATA_TYPE_BITS, tensorType } from "../mil/types.ts";
import type { DataType } from "../mil/types.ts";
import { openFileSource } from "../util/byte-source.ts";
import { messageOf } from "../util/errors.ts";
import { float16ToFloat32 } from "../util/float16.ts";
import { OnnxError } from "./errors.ts";
import { ModelProtoSchema, TensorProto_DataLocation } from "./generated/onnx_pb.ts";
import type { GraphProto, ModelProto, TensorProto, ValueInfoProto } from "./generated/onnx_pb.ts";

const MODEL_BYTE_LIMIT = 2 ** 31 - 1;
const NESTING_LIMIT = 100;
const RANK_LIMIT = 16;

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
  const source = openFileSource(path);
  try {
    if (source.byteLength > MODEL_BYTE_LIMIT) {
      throw new OnnxError(
        "onnx.read.size",
        `${path} has ${source.byteLength} bytes; models of up to ${MODEL_BYTE_LIMIT} are read`,
        { remedy: "Save it with its tensors in a file beside it (external data)." },
      );
    }
    return parseOnnx(source.read(0, source.byteLength), path, folder);
  } finally {
    source.close();
  }
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

/** ONNX element types by number: their name there, and the MIL type that stands for them. */
const ELEMENT_TYPES: Readonly<Record<number, readonly [name: string, mil: DataType]>> = {
  1: ["FLOAT", "fp32"],
  2: ["UINT8", "uint8"],
  3: ["INT8", "int8"],
  4: ["UINT16", "uint16"],
  5: ["INT16", "int16"],
  6: ["INT32", "int32"],
  7: ["INT64", "int32"],
  8: ["STRING", "string"],
  9: ["BOOL", "bool"],
  10: ["FLOAT16", "fp16"],
  11: ["DOUBLE", "fp32"],
  12: ["UINT32", "int32"],
  13: ["UINT64", "int32"],
  16: ["BFLOAT16", "fp32"],
  21: ["UINT4", "uint4"],
  22: ["INT4", "int4"],
};

/** How the format spells an element type. */
export function elementTypeName(code: number): string {
  return ELEMENT_TYPES[code]?.[0] ?? `element type ${code}`;
}

/**
 * The MIL type that stands for an ONNX one: Core ML computes with neither 64-bit numbers nor bf16, so
 * int64 becomes int32 and double fp32. Throws `OnnxError` for types without a counterpart.
 */
export function milTypeOf(code: number, what: string): DataType {
  const found = ELEMENT_TYPES[code];
  if (found === undefined || found[1] === "string") {
    throw new OnnxError(
      "onnx.import.type",
      `${what} is of ${elementTypeName(code)}, which has no MIL counterpart`,
    );
  }
  return found[1];
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
        return Number(value.value);
      case "dimParam":
        return value.value === "" ? "?" : value.value;
      case undefined:
        return "?";
    }
  });
  return { name: info.name, elementType: type.value.elemType, shape };
}

/**
 * A tensor of the model as a literal of the MIL type that stands for it. 64-bit integers that do not fit into
 * 32 bits become the nearest that does: they are bounds of slices. Throws `OnnxError` where the data are not
 * what shape and type say.
 */
export function literalOfTensor(tensor: TensorProto, file: OnnxFile): Literal {
  const what = `tensor "${tensor.name}"`;
  const dataType = milTypeOf(tensor.dataType, what);
  const shape = tensor.dims.map(Number);
  const count = shape.reduce((product, size) => product * size, 1);
  if (shape.length > RANK_LIMIT || shape.some((size) => size < 0) || !Number.isSafeInteger(count)) {
    throw new OnnxError("onnx.tensor.shape", `${what} cannot have the shape [${shape.join(", ")}]`);
  }
  const numbers = tensorNumbers(tensor, dataType, count, file, what);
  return numericLiteral(tensorType(dataType, shape), numbers);
}

function tensorNumbers(
  tensor: TensorProto,
  dataType: DataType,
  count: number,
  file: OnnxFile,
  what: string,
): NumericData {
  const external = tensor.dataLocation === TensorProto_DataLocation.EXTERNAL;
  if (external || tensor.rawData !== undefined) {
    const bytes = external
      ? externalBytes(tensor, file, what)
      : (tensor.rawData ?? new Uint8Array());
    const wanted = Math.ceil((count * storedBits(tensor.dataType)) / 8);
    if (bytes.byteLength !== wanted) {
      throw new OnnxError(
        "onnx.tensor.length",
        `${what} of ${elementTypeName(tensor.dataType)}[${tensor.dims.join(", ")}] takes ${wanted} bytes, ${bytes.byteLength} are there`,
      );
    }
    return numbersOfBytes(tensor.dataType, dataType, bytes, count);
  }
  const listed = listedNumbers(tensor);
  const isPacked = storedBits(tensor.dataType) < 8;
  if (listed.length !== (isPacked ? Math.ceil(count / 2) : count)) {
    throw new OnnxError(
      "onnx.tensor.length",
      `${what} of shape [${tensor.dims.join(", ")}] holds ${count} numbers, ${listed.length} are there`,
    );
  }
  const bits = tensor.dataType === 10 || tensor.dataType === 16;
  if (bits || isPacked) {
    const width = bits ? 2 : 1;
    const bytes = Buffer.alloc(isPacked ? Math.ceil(count / 2) : count * width);
    for (let i = 0; i * width < bytes.length; i++)
      bytes.writeUIntLE(Number(listed[i] ?? 0) & (bits ? 0xffff : 0xff), i * width, width);
    return numbersOfBytes(tensor.dataType, dataType, bytes, count);
  }
  return converted(dataType, listed, count);
}

function listedNumbers(tensor: TensorProto): ArrayLike<number | bigint> {
  switch (tensor.dataType) {
    case 1:
      return tensor.floatData;
    case 11:
      return tensor.doubleData;
    case 7:
      return tensor.int64Data;
    case 12:
    case 13:
      return tensor.uint64Data;
    default:
      return tensor.int32Data;
  }
}

function storedBits(code: number): number {
  switch (code) {
    case 7:
    case 11:
    case 13:
      return 64;
    case 12:
      return 32;
    case 16:
      return 16;
    default:
      return DATA_TYPE_BITS[ELEMENT_TYPES[code]?.[1] ?? "uint8"];
  }
}

function numbersOfBytes(
  code: number,
  dataType: DataType,
  bytes: Uint8Array,
  count: number,
): NumericData {
  // A copy starts at an offset that every array class takes; a Buffer's own slice would not be one.
  const buffer = new Uint8Array(bytes).buffer;
  switch (code) {
    case 10: {
      const numbers = new Float32Array(count);
      float16ToFloat32(new Uint16Array(buffer), numbers);
      return numbers;
    }
    case 16: {
      const numbers = new Float32Array(count);
      const words = new Uint32Array(numbers.buffer);
      new Uint16Array(buffer).forEach((half, index) => (words[index] = half << 16));
      return numbers;
    }
    case 7:
      return converted(dataType, new BigInt64Array(buffer), count);
    case 11:
      return converted(dataType, new Float64Array(buffer), count);
    case 12:
      return converted(dataType, new Uint32Array(buffer), count);
    case 13:
      return converted(dataType, new BigUint64Array(buffer), count);
    case 21:
    case 22: {
      const numbers = allocateNumbers(dataType, count);
      for (let i = 0; i < count; i++) {
        const nibble = ((bytes[i >>> 1] ?? 0) >>> (4 * (i & 1))) & 15;
        numbers[i] = code === 22 && nibble > 7 ? nibble - 16 : nibble;
      }
      return numbers;
    }
    default: {
      const numbers = allocateNumbers(dataType, count);
      new Uint8Array(numbers.buffer).set(bytes);
      return numbers;
    }
  }
}

const INT32 = { low: -(2 ** 31), high: 2 ** 31 - 1 } as const;

function converted(
  dataType: DataType,
  source: ArrayLike<number | bigint>,
  count: number,
): NumericData {
  const numbers = allocateNumbers(dataType, count);
  for (let i = 0; i < count; i++) {
    const value = Number(source[i] ?? 0);
    numbers[i] = dataType === "int32" ? Math.min(INT32.high, Math.max(INT32.low, value)) : value;
  }
  return numbers;
}

/** Bytes that stand in a file beside the model, which may not be outside its folder. */
function externalBytes(tensor: TensorProto, file: OnnxFile, what: string): Uint8Array {
  const entry = (key: string): string | undefined =>
    tensor.externalData.find((item) => item.key === key)?.value;
  const location = normalize(entry("location") ?? "");
  if (file.folder === undefined || location === "." || isAbsolute(location) || escapes(location)) {
    throw new OnnxError(
      "onnx.tensor.external",
      `${what} stands in "${entry("location") ?? ""}", which is not a file in the model's folder`,
    );
  }
  const path = join(file.folder, location);
  if (!existsSync(path)) {
    throw new OnnxError("onnx.tensor.external", `${what} stands in ${path}, which does not exist`, {
      remedy: "Copy the model together with its data file.",
    });
  }
  const source = openFileSource(path);
  try {
    const offset = Number(entry("offset") ?? 0);
    return source.read(offset, Number(entry("length") ?? source.byteLength - offset));
  } finally {
    source.close();
  }
}

function escapes(location: string): boolean {
  return location.split(/[/\\]/).includes("..") || location.includes("\0");
}
