import { MilError } from "../errors.ts";
import type { Literal, NumericData } from "../program.ts";
import { elementCount, formatType } from "../types.ts";
import type { DataType, Dimension, MilType } from "../types.ts";
import { floatFormat, formatDecimalFloat, formatHexFloat } from "../float-format.ts";

/** Writes types and values in one dialect. */
export class LiteralPrinter {
  /** From dialect 1.3 on a scalar is `int32(1)`; before, `tensor<int32, []>(1)`. */
  readonly compactScalars: boolean;
  readonly #types = new Map<MilType, string>();

  constructor(version: string) {
    this.compactScalars = hasCompactScalars(version);
  }

  type(type: MilType): string {
    let text = this.#types.get(type);
    if (text === undefined) {
      text = this.#type(type);
      this.#types.set(type, text);
    }
    return text;
  }

  #type(type: MilType): string {
    switch (type.kind) {
      case "tensor":
        return type.shape.length === 0 && this.compactScalars
          ? type.dataType
          : `tensor<${type.dataType}, [${type.shape.join(", ")}]>`;
      case "list":
        return `list<${this.type(type.element)}, ${type.length}>`;
      case "tuple":
        return `tuple<${type.items.map((item) => this.type(item)).join(", ")}>`;
      case "dict":
        return `dict<${this.type(type.key)}, ${this.type(type.value)}>`;
      case "state":
        return `state<${this.type(type.wrapped)}>`;
      case "tensor_buffer":
        return (
          `tensor_buffer<${type.dataType}, shape=[${type.shape.join(", ")}], ` +
          `strides=[${type.strides.join(", ")}], interleave_factors=[${type.interleaveFactors.join(", ")}]>`
        );
    }
  }

  /** A value with its type in front: `tensor<int32, [2]>([1, 1])`. */
  literal(literal: Literal): string {
    return `${this.type(literal.type)}(${this.#data(literal, false)})`;
  }

  /** A value without its type; inside containers scalars are written as decimals. */
  #data(literal: Literal, inContainer: boolean): string {
    const { data, type } = literal;
    switch (data.kind) {
      case "blob": {
        const path = this.#scalar("string", `"${escapeString(data.path)}"`);
        return `BLOBFILE(path = ${path}, offset = ${this.#scalar("uint64", `${data.offset}`)})`;
      }
      case "items": {
        const items = data.items.map((item) => this.#data(item, true)).join(", ");
        return type.kind === "tuple" ? `(${items})` : `[${items}]`;
      }
      case "pairs":
        return `{${data.pairs
          .map(([key, value]) => `{${this.#data(key, true)}, ${this.#data(value, true)}}`)
          .join(", ")}}`;
      case "strings": {
        const { strings } = data;
        const shape = shapeOfData(type, strings.length, data.shape);
        return nested(shape, (index) => `"${escapeString(strings[index] ?? "")}"`);
      }
      case "numbers": {
        const dataType = elementType(type);
        const shape = shapeOfData(type, data.numbers.length, data.shape);
        return nested(
          shape,
          numberFormatter(dataType, data.numbers, inContainer && shape.length === 0),
        );
      }
    }
  }

  #scalar(dataType: DataType, text: string): string {
    return this.compactScalars ? `${dataType}(${text})` : `tensor<${dataType}, []>(${text})`;
  }
}

export function hasCompactScalars(version: string): boolean {
  const [major = 1, minor = 0] = version.split(".").map(Number);
  return major > 1 || minor >= 3;
}

function elementType(type: MilType): DataType {
  if (type.kind === "tensor" || type.kind === "tensor_buffer") return type.dataType;
  throw new MilError(
    "mil.print.literal",
    `a ${formatType(type)} literal cannot hold plain numbers`,
  );
}

/** The concrete shape of a tensor's data: its own, the type's, or a flat one with the number of elements. */
function shapeOfData(
  type: MilType,
  count: number,
  given: readonly number[] | undefined,
): readonly number[] {
  const declared: readonly Dimension[] = type.kind === "tensor" ? type.shape : [];
  let shape = given;
  if (shape === undefined) {
    const known = declared.filter((size) => size !== "?");
    const open = declared.length - known.length;
    if (open > 1) {
      throw new MilError(
        "mil.print.shape",
        `a ${formatType(type)} literal of ${count} elements does not say its shape`,
        { remedy: "Set `shape` in the literal's data." },
      );
    }
    const rest = elementCount(known);
    shape = declared.map((size) => (size === "?" ? (rest === 0 ? 0 : count / rest) : size));
  }
  if (elementCount(shape) !== count || shape.length !== declared.length) {
    throw new MilError(
      "mil.literal.count",
      `a literal of type ${formatType(type)} needs ${elementCount(shape)} elements, it holds ${count}`,
    );
  }
  return shape;
}

function numberFormatter(
  dataType: DataType,
  numbers: NumericData,
  decimal: boolean,
): (index: number) => string {
  if (dataType === "bool") return (index) => (Number(numbers[index]) === 0 ? "false" : "true");
  const format = floatFormat(dataType);
  if (format === undefined) return (index) => String(numbers[index]);
  if (decimal) {
    return (index) => formatDecimalFloat(Number(numbers[index]), format.decimalDigits);
  }
  return (index) => formatHexFloat(Number(numbers[index]));
}

/** Elements in nested brackets, one level a dimension; a scalar stands alone. */
function nested(shape: readonly number[], element: (index: number) => string): string {
  if (shape.length === 0) return element(0);
  if (elementCount(shape) === 0) return "[]";
  let next = 0;
  const level = (depth: number): string => {
    const size = shape[depth] ?? 0;
    const isInnermost = depth === shape.length - 1;
    const items: string[] = [];
    for (let i = 0; i < size; i++) items.push(isInnermost ? element(next++) : level(depth + 1));
    return `[${items.join(", ")}]`;
  };
  return level(0);
}

const ESCAPED = /["\\]|[^ -~\u0080-\uffff]/;

/** A string's characters between its quotes. */
export function escapeString(text: string): string {
  if (!ESCAPED.test(text)) return text;
  let escaped = "";
  for (const character of text) {
    const code = character.charCodeAt(0);
    if (character === '"' || character === "\\") escaped += `\\${character}`;
    else if (character === "\n") escaped += "\\n";
    else if (character === "\t") escaped += "\\t";
    else if (character === "\r") escaped += "\\r";
    else if (code < 32 || code === 127) escaped += `\\x${code.toString(16).padStart(2, "0")}`;
    else escaped += character;
  }
  return escaped;
}
