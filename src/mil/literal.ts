import { roundToFloat16 } from "../util/float16.ts";
import { MilError } from "./errors.ts";
import type { Literal, NumericData } from "./program.ts";
import { elementCount, formatType, scalarType, staticShape, tensorType } from "./types.ts";
import type { DataType, TensorType } from "./types.ts";

/** The array class that holds numbers of a type, and nothing for strings. */
export function allocateNumbers(dataType: DataType, length: number): NumericData {
  switch (dataType) {
    case "fp16":
    case "bf16":
    case "fp8e4m3fn":
    case "fp8e5m2":
    case "fp32":
      return new Float32Array(length);
    case "fp64":
      return new Float64Array(length);
    case "int4":
    case "int8":
      return new Int8Array(length);
    case "int16":
      return new Int16Array(length);
    case "int32":
      return new Int32Array(length);
    case "int64":
      return new BigInt64Array(length);
    case "uint1":
    case "uint2":
    case "uint3":
    case "uint4":
    case "uint6":
    case "uint8":
    case "bool":
      return new Uint8Array(length);
    case "uint16":
      return new Uint16Array(length);
    case "uint32":
      return new Uint32Array(length);
    case "uint64":
      return new BigUint64Array(length);
    case "string":
      throw new MilError("mil.literal.strings", "strings are not numbers");
  }
}

/** Numbers in the array class of a type: those given where they are in it, else a copy. Integers drop fractions. */
export function numbersAs(dataType: DataType, numbers: ArrayLike<number | bigint>): NumericData {
  const typed = allocateNumbers(dataType, numbers.length);
  if (typed.constructor === numbers.constructor) return numbers as NumericData;
  if (typed instanceof BigInt64Array || typed instanceof BigUint64Array) {
    for (let i = 0; i < typed.length; i++) {
      const number = numbers[i] ?? 0;
      typed[i] = typeof number === "bigint" ? number : BigInt(Math.trunc(number));
    }
  } else for (let i = 0; i < typed.length; i++) typed[i] = Number(numbers[i] ?? 0);
  return typed;
}

/** A literal over numbers that already have the type's precision (fp16 values must be fp16 numbers). */
export function numericLiteral(type: TensorType, numbers: NumericData): Literal {
  const count = elementCount(staticShape(type));
  if (numbers.length !== count) {
    throw new MilError(
      "mil.literal.count",
      `a literal of type ${formatType(type)} needs ${count} numbers, ${numbers.length} were given`,
    );
  }
  return Object.freeze({
    kind: "literal",
    type,
    data: Object.freeze({ kind: "numbers", numbers }),
  });
}

/** A tensor literal from plain numbers, rounded to the type. */
export function tensorLiteral(
  dataType: DataType,
  shape: readonly number[],
  values: ArrayLike<number>,
): Literal {
  const numbers = allocateNumbers(dataType, values.length);
  if (numbers instanceof BigInt64Array || numbers instanceof BigUint64Array) {
    for (let i = 0; i < values.length; i++) numbers[i] = BigInt(Math.trunc(values[i] ?? 0));
  } else {
    for (let i = 0; i < values.length; i++) {
      const value = values[i] ?? 0;
      numbers[i] = dataType === "fp16" ? roundToFloat16(value) : value;
    }
  }
  return numericLiteral(tensorType(dataType, shape), numbers);
}

/** A scalar of a numeric type as a constant. */
export function scalarLiteral(dataType: DataType, value: number): Literal {
  return tensorLiteral(dataType, [], [value]);
}

/** An int32 scalar as a constant. */
export function int32Literal(value: number): Literal {
  return scalarLiteral("int32", value);
}

/** A vector of int32 as a constant, shape `[N]`. */
export function int32sLiteral(values: readonly number[]): Literal {
  return tensorLiteral("int32", [values.length], values);
}

/** A bool as a constant. */
export function boolLiteral(value: boolean): Literal {
  return scalarLiteral("bool", value ? 1 : 0);
}

/** A string as a constant. */
export function stringLiteral(value: string): Literal {
  return Object.freeze({
    kind: "literal",
    type: scalarType("string"),
    data: Object.freeze({ kind: "strings", strings: Object.freeze([value]) }),
  });
}

/** A numeric literal's numbers as doubles. Throws `MilError` for strings, blobs and containers. */
export function literalNumbers(literal: Literal): readonly number[] {
  if (literal.data.kind !== "numbers") {
    throw new MilError(
      "mil.literal.kind",
      `numbers are needed, this ${formatType(literal.type)} literal holds ${literal.data.kind}`,
    );
  }
  return Array.from(literal.data.numbers, Number);
}

export function literalString(literal: Literal): string {
  const text = literal.data.kind === "strings" ? literal.data.strings[0] : undefined;
  if (text === undefined) {
    throw new MilError("mil.literal.kind", `a string is needed, not ${formatType(literal.type)}`);
  }
  return text;
}
