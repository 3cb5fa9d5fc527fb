import { existsSync, realpathSync } from "node:fs";
import { isAbsolute, join, normalize, relative } from "node:path";
import { allocateNumbers, numbersAs } from "../mil/literal.ts";
import type { NumericData } from "../mil/program.ts";
import { bfloat16ToFloat32 } from "../util/bfloat16.ts";
import { float16ToFloat32 } from "../util/float16.ts";
import { OnnxError } from "./errors.ts";
import { TensorProto_DataLocation } from "./generated/onnx_pb.ts";
import type { TensorProto } from "./generated/onnx_pb.ts";
import { smallFloatTable } from "./small-floats.ts";
import { elementTypeName, storedTypeOf } from "./type-codes.ts";
import type { StoredType } from "./type-codes.ts";
import { withFileSource } from "../util/byte-source.ts";

const RANK_LIMIT = 16;

/**
 * A tensor's numbers as the file holds them: 64-bit integers stay exact, 16-bit and smaller floats stand in a
 * Float32Array, integers of less than a byte in a byte array.
 */
export interface TensorNumbers {
  readonly name: string;
  /** ONNX's code of the element type. */
  readonly elementType: number;
  readonly shape: readonly number[];
  readonly numbers: NumericData;
}

/**
 * Decodes a tensor. `folder` is where files with tensors are looked for; absent when the bytes came from nowhere.
 * Throws `OnnxError` where the data are not what shape and type say, and for strings and complex numbers.
 */
export function tensorNumbers(tensor: TensorProto, folder: string | undefined): TensorNumbers {
  const what = `tensor "${tensor.name}"`;
  const shape = tensor.dims.map(Number);
  const count = shape.reduce((product, size) => product * size, 1);
  if (shape.length > RANK_LIMIT || shape.some((size) => size < 0) || !Number.isSafeInteger(count)) {
    throw new OnnxError("onnx.tensor.shape", `${what} cannot have the shape [${shape.join(", ")}]`);
  }
  const { name, dataType: elementType } = tensor;
  return { name, elementType, shape, numbers: decoded(tensor, count, folder, what) };
}

function decoded(
  tensor: TensorProto,
  count: number,
  folder: string | undefined,
  what: string,
): NumericData {
  const code = tensor.dataType;
  const stored = storedTypeOf(code);
  if (stored === undefined) {
    throw new OnnxError(
      "onnx.import.type",
      `${what} is of ${elementTypeName(code)}, which has no MIL counterpart`,
    );
  }
  const { bits, type } = stored;
  const packedLength = Math.ceil((count * bits) / 8);
  const isExternal = tensor.dataLocation === TensorProto_DataLocation.EXTERNAL;
  if (isExternal || tensor.rawData !== undefined) {
    const bytes = isExternal
      ? externalBytes(tensor, folder, what)
      : (tensor.rawData ?? new Uint8Array());
    if (bytes.byteLength !== packedLength) {
      throw new OnnxError(
        "onnx.tensor.length",
        `${what} of ${elementTypeName(code)}[${tensor.dims.join(", ")}] takes ${packedLength} bytes, ${bytes.byteLength} are there`,
      );
    }
    return numbersOfBytes(stored, bytes, count);
  }
  const listed = listedNumbers(tensor);
  // Elements of less than a byte are listed by the byte.
  const listedCount = bits < 8 ? packedLength : count;
  if (listed.length !== listedCount) {
    throw new OnnxError(
      "onnx.tensor.length",
      `${what} of shape [${tensor.dims.join(", ")}] holds ${count} numbers, ${listed.length} are there`,
    );
  }
  if (isBitPattern(code, bits)) {
    const width = bits === 16 ? 2 : 1;
    const bytes = Buffer.alloc(packedLength);
    for (let i = 0; i * width < bytes.length; i++)
      bytes.writeUIntLE(Number(listed[i] ?? 0) & (width === 2 ? 0xffff : 0xff), i * width, width);
    return numbersOfBytes(stored, bytes, count);
  }
  return numbersAs(type, listed);
}

/** Whether lists of the format hold an element's bits rather than its value. */
function isBitPattern(code: number, bits: number): boolean {
  return bits < 8 || code in WIDENINGS || smallFloatTable(code) !== undefined;
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

function numbersOfBytes(stored: StoredType, bytes: Uint8Array, count: number): NumericData {
  const { code, bits, type } = stored;
  const table = smallFloatTable(code);
  if (table !== undefined)
    return Float32Array.from({ length: count }, (_, i) => table[element(bytes, bits, i)] ?? 0);
  const widen = WIDENINGS[code];
  if (widen !== undefined) {
    const numbers = new Float32Array(count);
    // A copy starts at an offset that every array class takes; a Buffer's own slice would not be one.
    widen(new Uint16Array(new Uint8Array(bytes).buffer), numbers);
    return numbers;
  }
  const numbers = allocateNumbers(type, count);
  if (bits >= 8) new Uint8Array(numbers.buffer).set(bytes);
  else {
    const signBit = type === "int8" ? 1 << (bits - 1) : 0;
    for (let i = 0; i < count; i++) numbers[i] = (element(bytes, bits, i) ^ signBit) - signBit;
  }
  return numbers;
}

/** Floats of 16 bits, by ONNX's code. */
const WIDENINGS: Readonly<Record<number, typeof float16ToFloat32>> = {
  10: float16ToFloat32,
  16: bfloat16ToFloat32,
};

/** The bits of one element of at most 8; those of less than a byte start at its low end. */
function element(bytes: Uint8Array, bits: number, index: number): number {
  const perByte = 8 / bits;
  const byte = bytes[Math.floor(index / perByte)] ?? 0;
  return (byte >>> (bits * (index % perByte))) & (2 ** bits - 1);
}

/** Bytes that stand in a file beside the model, which may not be outside its folder: links are followed first. */
function externalBytes(tensor: TensorProto, folder: string | undefined, what: string): Uint8Array {
  const entry = (key: string): string | undefined =>
    tensor.externalData.find((item) => item.key === key)?.value;
  const spelled = entry("location") ?? "";
  const location = normalize(spelled);
  const outside = (): OnnxError =>
    new OnnxError(
      "onnx.tensor.external",
      `${what} stands in "${spelled}", which is not a file in the model's folder`,
      { remedy: "Put the data file itself, not a link, beside the model." },
    );
  if (folder === undefined || location === "." || isAbsolute(location) || escapes(location)) {
    throw outside();
  }
  const path = join(folder, location);
  if (!existsSync(path)) {
    throw new OnnxError("onnx.tensor.external", `${what} stands in ${path}, which does not exist`, {
      remedy: "Copy the model together with its data file.",
    });
  }
  const real = realpathSync(path);
  const within = relative(realpathSync(folder), real);
  if (within === "" || isAbsolute(within) || escapes(within)) throw outside();
  return withFileSource(real, (source) => {
    const offset = wholeEntry("offset", entry("offset"), what) ?? 0;
    const length = wholeEntry("length", entry("length"), what) ?? source.byteLength - offset;
    return source.read(offset, length);
  });
}

function wholeEntry(key: string, text: string | undefined, what: string): number | undefined {
  if (text === undefined || text === "") return undefined;
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new OnnxError("onnx.tensor.external", `${what}: its ${key} "${text}" is no whole number`);
}

function escapes(location: string): boolean {
  return location.split(/[/\\]/).includes("..") || location.includes("\0");
}
