import { allocateNumbers, numbersAs } from "../mil/literal.ts";
import type { NumericData } from "../mil/program.ts";
import { DATA_TYPE_BITS } from "../mil/types.ts";
import type { DataType } from "../mil/types.ts";
import { bfloat16ToFloat32, float32ToBfloat16 } from "../util/bfloat16.ts";
import { float16ToFloat32, float32ToFloat16 } from "../util/float16.ts";
import { smallFloat, smallFloats } from "../util/small-floats.ts";
import { CoreMlError } from "./errors.ts";

// Tensors as bytes: little-endian, dense, types below a byte packed as a stream of bits, low bits first
// (facts: formats, section 7). Every machine Node runs on that matters here is little-endian.

/** Bytes that `count` elements take. */
export function packedByteLength(dataType: DataType, count: number): number {
  return Math.ceil((count * bitsOf(dataType)) / 8);
}

/** Unused high bits of the last byte of `count` packed elements. */
export function paddingBits(dataType: DataType, count: number): number {
  return packedByteLength(dataType, count) * 8 - count * bitsOf(dataType);
}

/** Element types that share bytes with their neighbours. */
export function isSubByte(dataType: DataType): boolean {
  const bits = DATA_TYPE_BITS[dataType];
  return bits > 0 && bits < 8;
}

function bitsOf(dataType: DataType): number {
  if (dataType === "string") {
    throw new CoreMlError("coreml.element", "strings have no fixed width");
  }
  return DATA_TYPE_BITS[dataType];
}

/** The numbers of `count` elements. Throws `CoreMlError` when the bytes are not exactly those. */
export function decodeElements(dataType: DataType, bytes: Uint8Array, count: number): NumericData {
  if (bytes.byteLength !== packedByteLength(dataType, count)) {
    throw new CoreMlError(
      "coreml.element.count",
      `${count} ${dataType} elements take ${packedByteLength(dataType, count)} bytes, here are ${bytes.byteLength}`,
    );
  }
  const numbers = allocateNumbers(dataType, count);
  switch (dataType) {
    case "fp16":
      float16ToFloat32(halfWords(bytes), numbers as Float32Array);
      return numbers;
    case "bf16":
      bfloat16ToFloat32(halfWords(bytes), numbers as Float32Array);
      return numbers;
    case "fp8e4m3fn":
    case "fp8e5m2": {
      const values = FLOAT8_VALUES[dataType];
      for (let i = 0; i < count; i++) numbers[i] = values[bytes[i] ?? 0] ?? NaN;
      return numbers;
    }
    case "int4":
    case "uint1":
    case "uint2":
    case "uint3":
    case "uint4":
    case "uint6":
      unpackBits(bytes, DATA_TYPE_BITS[dataType], dataType === "int4", numbers, count);
      return numbers;
    case "bool":
      for (let i = 0; i < count; i++) numbers[i] = bytes[i] === 0 ? 0 : 1;
      return numbers;
    case "fp32":
    case "fp64":
    case "int8":
    case "int16":
    case "int32":
    case "int64":
    case "uint8":
    case "uint16":
    case "uint32":
    case "uint64":
      new Uint8Array(numbers.buffer).set(bytes);
      return numbers;
    case "string":
      throw new CoreMlError("coreml.element", "strings are not numbers");
  }
}

/** The bytes of numbers in the array class of their type. fp16 and smaller floats are rounded, ties to even. */
export function encodeElements(dataType: DataType, numbers: NumericData): Uint8Array {
  const count = numbers.length;
  const bytes = new Uint8Array(packedByteLength(dataType, count));
  switch (dataType) {
    case "fp16":
      float32ToFloat16(numbersAs("fp32", numbers) as Float32Array, new Uint16Array(bytes.buffer));
      return bytes;
    case "bf16":
      float32ToBfloat16(numbersAs("fp32", numbers) as Float32Array, new Uint16Array(bytes.buffer));
      return bytes;
    case "fp8e4m3fn":
    case "fp8e5m2":
      for (let i = 0; i < count; i++) bytes[i] = float8Bits(dataType, Number(numbers[i]));
      return bytes;
    case "int4":
    case "uint1":
    case "uint2":
    case "uint3":
    case "uint4":
    case "uint6":
      packBits(numbers, DATA_TYPE_BITS[dataType], bytes);
      return bytes;
    case "bool":
      for (let i = 0; i < count; i++) bytes[i] = Number(numbers[i]) === 0 ? 0 : 1;
      return bytes;
    case "fp32":
    case "fp64":
    case "int8":
    case "int16":
    case "int32":
    case "int64":
    case "uint8":
    case "uint16":
    case "uint32":
    case "uint64": {
      const typed = numbersAs(dataType, numbers);
      bytes.set(new Uint8Array(typed.buffer, typed.byteOffset, typed.byteLength));
      return bytes;
    }
    case "string":
      throw new CoreMlError("coreml.element", "strings are not numbers");
  }
}

/** Pairs of bytes as numbers; a copy, since bytes may begin anywhere. */
function halfWords(bytes: Uint8Array): Uint16Array {
  return new Uint16Array(new Uint8Array(bytes).buffer);
}

function unpackBits(
  bytes: Uint8Array,
  bits: number,
  isSigned: boolean,
  numbers: NumericData,
  count: number,
): void {
  const mask = (1 << bits) - 1;
  const signBit = isSigned ? 1 << (bits - 1) : 0;
  for (let i = 0; i < count; i++) {
    const position = i * bits;
    const at = Math.floor(position / 8);
    const pair = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
    const value = (pair >>> (position % 8)) & mask;
    numbers[i] = (value ^ signBit) - signBit;
  }
}

function packBits(numbers: NumericData, bits: number, bytes: Uint8Array): void {
  const mask = (1 << bits) - 1;
  for (let i = 0; i < numbers.length; i++) {
    const position = i * bits;
    const at = Math.floor(position / 8);
    const shifted = (Number(numbers[i]) & mask) << (position % 8);
    bytes[at] = (bytes[at] ?? 0) | (shifted & 0xff);
    if (shifted > 0xff) bytes[at + 1] = (bytes[at + 1] ?? 0) | (shifted >>> 8);
  }
}

type Float8 = "fp8e4m3fn" | "fp8e5m2";

/** The number that each byte stands for. */
const FLOAT8_VALUES: Readonly<Record<Float8, Float32Array>> = {
  fp8e4m3fn: smallFloats(smallFloat(4, 3, 7, "last is NaN")),
  fp8e5m2: smallFloats(smallFloat(5, 2, 15, "ieee")),
};

/** The byte of the nearest number, ties to even; beyond the largest, infinity, or NaN where there is none. */
function float8Bits(dataType: Float8, value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x80 : 0;
  if (Number.isNaN(value)) return sign | 0x7f;
  const values = FLOAT8_VALUES[dataType];
  const magnitude = Math.abs(value);
  const last = dataType === "fp8e4m3fn" ? 0x7e : 0x7b;
  // Bytes of positive numbers stand in the order of the numbers.
  let low = 0;
  let high = last;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if ((values[middle] ?? 0) <= magnitude) low = middle;
    else high = middle - 1;
  }
  const below = values[low] ?? 0;
  if (low === last) {
    const limit = below + (below - (values[last - 1] ?? 0)) / 2;
    if (dataType === "fp8e4m3fn") return sign | (magnitude <= limit ? last : 0x7f);
    return sign | (magnitude < limit ? last : 0x7c);
  }
  const above = values[low + 1] ?? 0;
  const middle = (below + above) / 2;
  const up = magnitude > middle || (magnitude === middle && (low & 1) === 1);
  return sign | (up ? low + 1 : low);
}
