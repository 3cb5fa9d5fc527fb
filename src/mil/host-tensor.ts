import { roundToFloat16 } from "../util/float16.ts";
import { MilError } from "./errors.ts";
import { FLOAT_FORMATS, roundToFormat } from "./float-format.ts";
import type { Literal, NumericData } from "./program.ts";
import { DATA_TYPE_BITS, elementCount, formatType, staticShape } from "./types.ts";
import type { DataType } from "./types.ts";

/**
 * A tensor as the reference evaluation holds it: every number a double, row-major.
 * Integers are exact up to 2^53; bools are 0 and 1.
 */
export interface HostTensor {
  readonly dataType: DataType;
  readonly shape: readonly number[];
  readonly data: Float64Array;
  /** A list that does not grow (`make_list` with `dynamic_length` false). */
  readonly isFixedList?: true;
}

/** Elements of the largest tensor that is evaluated: 8 GiB of doubles. */
const MAXIMUM_ELEMENTS = 2 ** 30;

/** Zeros for a tensor of `shape`. Throws `MilError` for one that cannot be held. */
export function zeros(shape: readonly number[]): Float64Array {
  const count = elementCount(shape);
  if (!(count <= MAXIMUM_ELEMENTS) || shape.some((size) => !Number.isInteger(size) || size < 0)) {
    throw new MilError(
      "mil.tensor.size",
      `a tensor of shape [${shape.join(", ")}] cannot be evaluated: ${count} elements, the limit is ${MAXIMUM_ELEMENTS}`,
    );
  }
  return new Float64Array(count);
}

/** A tensor of numbers, row-major; zeros where none are given. Throws `MilError` for a wrong count. */
export function hostTensor(
  dataType: DataType,
  shape: readonly number[],
  data: Float64Array = zeros(shape),
): HostTensor {
  if (data.length !== elementCount(shape)) {
    throw new MilError(
      "mil.tensor.count",
      `a tensor of shape [${shape.join(", ")}] holds ${elementCount(shape)} numbers, not ${data.length}`,
    );
  }
  return { dataType, shape, data };
}

/** A numeric literal as a host tensor. Throws `MilError` for strings, blobs and containers. */
export function hostTensorOfLiteral(literal: Literal): HostTensor {
  if (literal.type.kind !== "tensor" || literal.data.kind !== "numbers") {
    throw new MilError(
      "mil.literal.kind",
      `numbers are needed, not a ${formatType(literal.type)} literal with ${literal.data.kind}`,
    );
  }
  const { numbers } = literal.data;
  const isBig = numbers instanceof BigInt64Array || numbers instanceof BigUint64Array;
  const data = isBig ? Float64Array.from(numbers, Number) : new Float64Array(numbers);
  return hostTensor(literal.type.dataType, staticShape(literal.type), data);
}

/** Row-major strides in elements. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides: number[] = Array.from({ length: shape.length }, () => 1);
  for (let axis = shape.length - 2; axis >= 0; axis--) {
    strides[axis] = (strides[axis + 1] ?? 1) * (shape[axis + 1] ?? 1);
  }
  return strides;
}

/**
 * Rounds one double to what the type can hold. Floats round to nearest, ties to even; integers drop their
 * fraction and wrap around as two's complement; NaN becomes integer 0.
 */
export function roundTo(dataType: DataType, value: number): number {
  switch (dataType) {
    case "fp16":
      return roundToFloat16(value);
    case "fp32":
      return Math.fround(value);
    case "bf16":
    case "fp8e4m3fn":
    case "fp8e5m2":
      return roundToFormat(value, FLOAT_FORMATS[dataType]);
    case "fp64":
    case "string":
      return value;
    case "bool":
      return value === 0 ? 0 : 1;
    case "int8":
      return (value << 24) >> 24;
    case "int16":
      return (value << 16) >> 16;
    case "int32":
      return value | 0;
    case "int4":
      return (value << 28) >> 28;
    case "uint1":
    case "uint2":
    case "uint3":
    case "uint4":
    case "uint6":
    case "uint8":
    case "uint16":
      return value & (2 ** DATA_TYPE_BITS[dataType] - 1);
    case "uint32":
      return value >>> 0;
    case "int64":
      return Number.isFinite(value) ? Number(BigInt.asIntN(64, BigInt(Math.trunc(value)))) : 0;
    case "uint64":
      return Number.isFinite(value) ? Number(BigInt.asUintN(64, BigInt(Math.trunc(value)))) : 0;
  }
}

/** The nearest integer; the even one of two that are equally near. */
export function roundHalfToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

/** Numbers of a tensor in the array class its type is stored in, fp16 as numbers and not as bits. */
export function copyNumbers(source: HostTensor, target: NumericData): void {
  if (target instanceof BigInt64Array || target instanceof BigUint64Array) {
    for (let i = 0; i < target.length; i++)
      target[i] = BigInt(roundTo("int64", source.data[i] ?? 0));
  } else {
    for (let i = 0; i < target.length; i++) target[i] = source.data[i] ?? 0;
  }
}
