import { MilError } from "./errors.ts";

/**
 * Element types with their width in bits, as MIL spells them.
 * Source of the list: MIL.proto's DataType (docs/facts: formats, section 6.1).
 */
export const DATA_TYPE_BITS = {
  fp16: 16,
  fp32: 32,
  fp64: 64,
  bf16: 16,
  fp8e4m3fn: 8,
  fp8e5m2: 8,
  int4: 4,
  int8: 8,
  int16: 16,
  int32: 32,
  int64: 64,
  uint1: 1,
  uint2: 2,
  uint3: 3,
  uint4: 4,
  uint6: 6,
  uint8: 8,
  uint16: 16,
  uint32: 32,
  uint64: 64,
  bool: 8,
  string: 0,
} as const;

/** Element types, as MIL spells them. */
export type DataType = keyof typeof DATA_TYPE_BITS;

/** A size known when the program is written, or "?" for one that is not. */
export type Dimension = number | "?";

/** A tensor; rank 0 is a scalar, whichever way a dialect prints it. */
export interface TensorType {
  readonly kind: "tensor";
  readonly dataType: DataType;
  readonly shape: readonly Dimension[];
}

/** `list<element, length>`. */
export interface ListType {
  readonly kind: "list";
  readonly element: MilType;
  readonly length: Dimension;
}

/** `tuple<items…>`. */
export interface TupleType {
  readonly kind: "tuple";
  readonly items: readonly MilType[];
}

/** `dict<key, value>`. */
export interface DictionaryType {
  readonly kind: "dict";
  readonly key: MilType;
  readonly value: MilType;
}

/** A buffer that keeps its contents between calls (`read_state`, `write_state`). */
export interface StateType {
  readonly kind: "state";
  readonly wrapped: TensorType;
}

/** The runtime's analytics dialect: a tensor with the layout it has in memory. */
export interface TensorBufferType {
  readonly kind: "tensor_buffer";
  readonly dataType: DataType;
  readonly shape: readonly Dimension[];
  readonly strides: readonly number[];
  readonly interleaveFactors: readonly number[];
}

/** Types of values. */
export type MilType =
  | TensorType
  | ListType
  | TupleType
  | DictionaryType
  | StateType
  | TensorBufferType;

/** Rank of tensors that the language and the engine accept. */
export const MAXIMUM_RANK = 5;

/** A tensor type; "?" for sizes that are not known. */
export function tensorType(dataType: DataType, shape: readonly Dimension[]): TensorType {
  return Object.freeze({ kind: "tensor", dataType, shape: Object.freeze([...shape]) });
}

/** A tensor type of rank 0. */
export function scalarType(dataType: DataType): TensorType {
  return tensorType(dataType, []);
}

const DATA_TYPE_NAMES: ReadonlySet<string> = new Set(Object.keys(DATA_TYPE_BITS));

export function isDataType(name: string): name is DataType {
  return DATA_TYPE_NAMES.has(name);
}

export function isFloat(dataType: DataType): boolean {
  return dataType.startsWith("fp") || dataType === "bf16";
}

export function isInteger(dataType: DataType): boolean {
  return dataType.startsWith("int") || dataType.startsWith("uint");
}

/** `fp32[2, 3]`, the compact form used in messages. */
export function formatType(type: MilType): string {
  switch (type.kind) {
    case "tensor":
      return `${type.dataType}[${type.shape.join(", ")}]`;
    case "list":
      return `list<${formatType(type.element)}, ${type.length}>`;
    case "tuple":
      return `tuple<${type.items.map(formatType).join(", ")}>`;
    case "dict":
      return `dict<${formatType(type.key)}, ${formatType(type.value)}>`;
    case "state":
      return `state<${formatType(type.wrapped)}>`;
    case "tensor_buffer":
      return `tensor_buffer<${type.dataType}[${type.shape.join(", ")}]>`;
  }
}

export function sameShape(a: readonly Dimension[], b: readonly Dimension[]): boolean {
  return a.length === b.length && a.every((size, index) => size === b[index]);
}

export function sameType(a: MilType, b: MilType): boolean {
  if (a.kind === "tensor" && b.kind === "tensor") {
    return a.dataType === b.dataType && sameShape(a.shape, b.shape);
  }
  return formatType(a) === formatType(b);
}

/** All sizes as numbers. Throws `MilError` where one is unknown. */
export function staticShape(type: TensorType, what = "this tensor"): readonly number[] {
  return type.shape.map((size) => {
    if (size === "?") {
      throw new MilError("mil.shape.symbolic", `${what} has an unknown size: ${formatType(type)}`, {
        remedy: "Give every dimension a size.",
      });
    }
    return size;
  });
}

/** Number of elements of a concrete shape. */
export function elementCount(shape: readonly number[]): number {
  let count = 1;
  for (const size of shape) count *= size;
  return count;
}

/** Bytes a dense tensor takes; sub-byte types are packed. Throws `MilError` on unknown sizes. */
export function byteLengthOf(type: TensorType): number {
  return Math.ceil((elementCount(staticShape(type)) * DATA_TYPE_BITS[type.dataType]) / 8);
}
