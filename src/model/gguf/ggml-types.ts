import { float16Bits, float16Value } from "../../util/float16.ts";
import type { StoredFloat } from "../float-conversion.ts";
import { decodeFloats, encodeFloats } from "../float-conversion.ts";

/** A type of numbers in GGUF files: blocks of `blockSize` numbers in `blockBytes` bytes. */
export interface GgmlType {
  readonly name: string;
  readonly number: number;
  readonly blockSize: number;
  readonly blockBytes: number;
  /** Fills numbers from whole blocks; absent for types that are not read. */
  readonly decode?: (bytes: Uint8Array, numbers: Float32Array) => void;
  /** Whole blocks of numbers; absent for types that are not written. */
  readonly encode?: (numbers: Float32Array) => Uint8Array;
}

function half(bytes: Uint8Array, at: number): number {
  return float16Value((bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8));
}

function setHalf(bytes: Uint8Array, at: number, value: number): void {
  const bits = float16Bits(value);
  bytes[at] = bits & 255;
  bytes[at + 1] = bits >> 8;
}

function signed(byte: number | undefined): number {
  return ((byte ?? 0) << 24) >> 24;
}

function decodeQ8(bytes: Uint8Array, numbers: Float32Array): void {
  for (let block = 0; block * 32 < numbers.length; block++) {
    const at = block * 34;
    const scale = half(bytes, at);
    for (let i = 0; i < 32; i++) numbers[block * 32 + i] = signed(bytes[at + 2 + i]) * scale;
  }
}

/** As ggml's reference: the scale meets the largest magnitude, the codes are those under the scale before fp16. */
function encodeQ8(numbers: Float32Array): Uint8Array {
  const bytes = new Uint8Array((numbers.length / 32) * 34);
  for (let block = 0; block * 32 < numbers.length; block++) {
    const members = numbers.subarray(block * 32, block * 32 + 32);
    let largest = 0;
    for (const number of members) largest = Math.max(largest, Math.abs(number));
    const scale = Math.fround(largest / 127);
    const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
    const at = block * 34;
    setHalf(bytes, at, scale);
    members.forEach((number, i) => {
      bytes[at + 2 + i] = awayFromZero(Math.fround(number * inverse)) & 255;
    });
  }
  return bytes;
}

/** C's roundf. */
function awayFromZero(value: number): number {
  return Math.sign(value) * Math.round(Math.abs(value));
}

function decodeQ4(bytes: Uint8Array, numbers: Float32Array): void {
  for (let block = 0; block * 32 < numbers.length; block++) {
    const at = block * 18;
    const scale = half(bytes, at);
    for (let i = 0; i < 16; i++) {
      const pair = bytes[at + 2 + i] ?? 0;
      numbers[block * 32 + i] = ((pair & 15) - 8) * scale;
      numbers[block * 32 + 16 + i] = ((pair >> 4) - 8) * scale;
    }
  }
}

/** As ggml's reference: the number of largest magnitude takes code 0, that is -8. */
function encodeQ4(numbers: Float32Array): Uint8Array {
  const bytes = new Uint8Array((numbers.length / 32) * 18);
  for (let block = 0; block * 32 < numbers.length; block++) {
    const members = numbers.subarray(block * 32, block * 32 + 32);
    let extreme = 0;
    for (const number of members) if (Math.abs(number) > Math.abs(extreme)) extreme = number;
    const scale = Math.fround(extreme / -8);
    const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
    const at = block * 18;
    setHalf(bytes, at, scale);
    const code = (number: number | undefined): number =>
      Math.min(15, Math.trunc(Math.fround((number ?? 0) * inverse) + 8.5));
    for (let i = 0; i < 16; i++)
      bytes[at + 2 + i] = code(members[i]) | (code(members[16 + i]) << 4);
  }
  return bytes;
}

/** Eight groups of 32 codes with 6-bit scales and minimums. */
function decodeQ4K(bytes: Uint8Array, numbers: Float32Array): void {
  for (let block = 0; block * 256 < numbers.length; block++) {
    const at = block * 144;
    const scale = half(bytes, at);
    const minimum = half(bytes, at + 2);
    const packed = (i: number): number => bytes[at + 4 + i] ?? 0;
    for (let group = 0; group < 8; group++) {
      const [s, m] =
        group < 4
          ? [packed(group) & 63, packed(group + 4) & 63]
          : [
              (packed(group + 4) & 15) | ((packed(group - 4) >> 6) << 4),
              (packed(group + 4) >> 4) | ((packed(group) >> 6) << 4),
            ];
      const factor = Math.fround(scale * s);
      const subtracted = Math.fround(minimum * m);
      const codes = at + 16 + (group >> 1) * 32;
      const shift = (group & 1) * 4;
      for (let i = 0; i < 32; i++) {
        const code = ((bytes[codes + i] ?? 0) >> shift) & 15;
        numbers[block * 256 + group * 32 + i] = Math.fround(factor * code) - subtracted;
      }
    }
  }
}

/** Sixteen groups of 16 codes of 6 bits with 8-bit scales. */
function decodeQ6K(bytes: Uint8Array, numbers: Float32Array): void {
  for (let block = 0; block * 256 < numbers.length; block++) {
    const at = block * 210;
    const scale = half(bytes, at + 208);
    for (let side = 0; side < 2; side++) {
      const low = at + side * 64;
      const high = at + 128 + side * 32;
      const scales = at + 192 + side * 8;
      for (let i = 0; i < 32; i++) {
        const upper = bytes[high + i] ?? 0;
        for (let quarter = 0; quarter < 4; quarter++) {
          const pair = bytes[low + i + (quarter & 1) * 32] ?? 0;
          const nibble = quarter < 2 ? pair & 15 : pair >> 4;
          const code = (nibble | (((upper >> (2 * quarter)) & 3) << 4)) - 32;
          const group = signed(bytes[scales + (i >> 4) + 2 * quarter]);
          numbers[block * 256 + side * 128 + quarter * 32 + i] = Math.fround(scale * group) * code;
        }
      }
    }
  }
}

function other(name: string, number: number, blockSize: number, blockBytes: number): GgmlType {
  return { name, number, blockSize, blockBytes };
}

function floats(name: StoredFloat, number: number, blockBytes: number): GgmlType {
  return {
    ...other(name, number, 1, blockBytes),
    decode: (bytes, numbers) => decodeFloats(bytes, name, numbers),
    encode: (numbers) => encodeFloats(numbers, name),
  };
}

/** Types of ggml by number; sizes are those of its block structures. */
export const GGML_TYPES: readonly GgmlType[] = [
  floats("F32", 0, 4),
  floats("F16", 1, 2),
  { ...other("Q4_0", 2, 32, 18), decode: decodeQ4, encode: encodeQ4 },
  other("Q4_1", 3, 32, 20),
  other("Q5_0", 6, 32, 22),
  other("Q5_1", 7, 32, 24),
  { ...other("Q8_0", 8, 32, 34), decode: decodeQ8, encode: encodeQ8 },
  other("Q8_1", 9, 32, 36),
  other("Q2_K", 10, 256, 84),
  other("Q3_K", 11, 256, 110),
  { ...other("Q4_K", 12, 256, 144), decode: decodeQ4K },
  other("Q5_K", 13, 256, 176),
  { ...other("Q6_K", 14, 256, 210), decode: decodeQ6K },
  other("Q8_K", 15, 256, 292),
  other("IQ2_XXS", 16, 256, 66),
  other("IQ2_XS", 17, 256, 74),
  other("IQ3_XXS", 18, 256, 98),
  other("IQ1_S", 19, 256, 50),
  other("IQ4_NL", 20, 32, 18),
  other("IQ3_S", 21, 256, 110),
  other("IQ2_S", 22, 256, 82),
  other("IQ4_XS", 23, 256, 136),
  other("I8", 24, 1, 1),
  other("I16", 25, 1, 2),
  other("I32", 26, 1, 4),
  other("I64", 27, 1, 8),
  other("F64", 28, 1, 8),
  other("IQ1_M", 29, 256, 56),
  floats("BF16", 30, 2),
  other("TQ1_0", 34, 256, 54),
  other("TQ2_0", 35, 256, 66),
];

/** Names of the types that are read. */
export const READ_TYPES: readonly string[] = GGML_TYPES.flatMap(({ name, decode }) =>
  decode === undefined ? [] : [name],
);

/** The type of that name, which must be known. */
export function ggmlType(name: "F32" | "F16" | "BF16" | "Q8_0" | "Q4_0"): GgmlType {
  const type = GGML_TYPES.find((candidate) => candidate.name === name);
  if (type === undefined) throw new RangeError(`no type ${name}`);
  return type;
}
