import type { DataType } from "../mil/types.ts";
import { OnnxError } from "./errors.ts";

interface ElementType {
  /** How the format spells it. */
  readonly name: string;
  /** Bits of an element as stored; absent for what no array of numbers holds. */
  readonly bits?: number;
  /** The MIL type that stands for it; absent where none can. */
  readonly mil?: DataType;
  /** The MIL type of the same numbers, in which programs are written; absent where `mil` is that type or there is none. */
  readonly same?: DataType;
}

/**
 * ONNX element types by number. Core ML computes with neither 64-bit numbers nor bf16 nor smaller floats: int64
 * becomes int32, double and the other floats fp32 whose values the smaller type has.
 * Source: onnx.proto of release 1.22, TensorProto.DataType.
 */
const ELEMENT_TYPES: Readonly<Record<number, ElementType>> = {
  1: { name: "FLOAT", bits: 32, mil: "fp32" },
  2: { name: "UINT8", bits: 8, mil: "uint8" },
  3: { name: "INT8", bits: 8, mil: "int8" },
  4: { name: "UINT16", bits: 16, mil: "uint16" },
  5: { name: "INT16", bits: 16, mil: "int16" },
  6: { name: "INT32", bits: 32, mil: "int32" },
  7: { name: "INT64", bits: 64, mil: "int32", same: "int64" },
  8: { name: "STRING", same: "string" },
  9: { name: "BOOL", bits: 8, mil: "bool" },
  10: { name: "FLOAT16", bits: 16, mil: "fp16" },
  11: { name: "DOUBLE", bits: 64, mil: "fp32", same: "fp64" },
  12: { name: "UINT32", bits: 32, mil: "int32", same: "uint32" },
  13: { name: "UINT64", bits: 64, mil: "int32", same: "uint64" },
  14: { name: "COMPLEX64" },
  15: { name: "COMPLEX128" },
  16: { name: "BFLOAT16", bits: 16, mil: "fp32", same: "bf16" },
  17: { name: "FLOAT8E4M3FN", bits: 8, mil: "fp32" },
  18: { name: "FLOAT8E4M3FNUZ", bits: 8, mil: "fp32" },
  19: { name: "FLOAT8E5M2", bits: 8, mil: "fp32" },
  20: { name: "FLOAT8E5M2FNUZ", bits: 8, mil: "fp32" },
  21: { name: "UINT4", bits: 4, mil: "uint8" },
  22: { name: "INT4", bits: 4, mil: "int8" },
  23: { name: "FLOAT4E2M1", bits: 4, mil: "fp32" },
  24: { name: "FLOAT8E8M0", bits: 8, mil: "fp32" },
  25: { name: "UINT2", bits: 2, mil: "uint8" },
  26: { name: "INT2", bits: 2, mil: "int8" },
};

/** How the format spells an element type. */
export function elementTypeName(code: number): string {
  return ELEMENT_TYPES[code]?.name ?? `element type ${code}`;
}

/** Codes by the MIL type of the same numbers; of several that a type stands for, the first is its own. */
const CODES: ReadonlyMap<DataType | undefined, number> = new Map(
  Object.entries(ELEMENT_TYPES)
    .toReversed()
    .map(([code, { mil, same = mil }]) => [same, Number(code)]),
);

/** The code of the element type in which a program's numbers of a MIL type are written. */
export function codeOf(dataType: DataType): number | undefined {
  return CODES.get(dataType);
}

/** How an array holds numbers of an element type: bits of one in a file, and the type of the array. */
export interface StoredType {
  readonly code: number;
  readonly bits: number;
  readonly type: DataType;
}

export function storedTypeOf(code: number): StoredType | undefined {
  const { bits, mil, same: type = mil } = ELEMENT_TYPES[code] ?? {};
  return bits === undefined || type === undefined ? undefined : { code, bits, type };
}

/** The MIL type that stands for an ONNX one. Throws `OnnxError` for types without a counterpart. */
export function milTypeOf(code: number, what: string): DataType {
  const mil = ELEMENT_TYPES[code]?.mil;
  if (mil === undefined) {
    throw new OnnxError(
      "onnx.import.type",
      `${what} is of ${elementTypeName(code)}, which has no MIL counterpart`,
    );
  }
  return mil;
}
