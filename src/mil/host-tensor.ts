import { roundToFloat16 } from "../util/float16.ts";
import { MilError } from "./errors.ts";
import type { Literal, NumericData } from "./program.ts";
import { elementCount, formatType, staticShape } from "./types.ts";
import type { DataType } from "./types.ts";

/**
 * A tensor as the reference evaluation holds it: every number a double, row-major.
 * Integers are exact up to 2^53; bools are 0 and 1.
 */
export interface HostTensor {
  readonly dataType: DataType;
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

export function hostTensor(
  dataType: DataType,
  shape: readonly number[],
  data: Float64Array = new Float64Array(elementCount(shape)),
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
  return hostTensor(
    literal.type.dataType,
    staticShape(literal.type),
    Float64Array.from(literal.data.numbers as Iterable<number | bigint>, Number),
  );
}

/** Row-major strides in elements. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides: number[] = Array.from({ length: shape.length }, () => 1);
  for (let axis = shape.length - 2; axis >= 0; axis--) {
    strides[axis] = (strides[axis + 1] ?? 1) * (shape[axis + 1] ?? 1);
  }
  return strides;
}

/** Rounds one double to what the type can hold; integers wrap around as two's complement. */
export function roundTo(dataType: DataType, value: number): number {
  switch (dataType) {
    case "fp16":
      return roundToFloat16(value);
    case "fp32":
      return Math.fround(value);
    case "bool":
      return value === 0 ? 0 : 1;
    case "int8":
      return (value << 24) >> 24;
    case "int16":
      return (value << 16) >> 16;
    case "int32":
      return value | 0;
    case "uint8":
      return value & 0xff;
    case "uint16":
      return value & 0xffff;
    case "uint32":
      return value >>> 0;
    default:
      return value;
  }
}

/** Numbers of a tensor in the array class its type is stored in, fp16 as numbers and not as bits. */
export function copyNumbers(source: HostTensor, target: NumericData): void {
  if (target instanceof BigInt64Array || target instanceof BigUint64Array) {
    for (let i = 0; i < target.length; i++) target[i] = BigInt(Math.trunc(source.data[i] ?? 0));
  } else {
    for (let i = 0; i < target.length; i++) target[i] = source.data[i] ?? 0;
  }
}
