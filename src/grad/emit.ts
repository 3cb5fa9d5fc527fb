import type { FunctionBuilder } from "../mil/builder.ts";
import { scalarLiteral, tensorLiteral } from "../mil/literal.ts";
import { literalOf } from "../mil/program.ts";
import type { Operand, Value } from "../mil/program.ts";
import { elementCount, formatType, sameShape, staticShape } from "../mil/types.ts";
import type { DataType } from "../mil/types.ts";
import { GradError } from "./errors.ts";

// Short forms for what derivative rules write all the time. Plain numbers take the other operand's element type.
type Term = Operand | number;

export const add = (e: FunctionBuilder, x: Term, y: Term): Value => e.op("add", { x, y });
export const sub = (e: FunctionBuilder, x: Term, y: Term): Value => e.op("sub", { x, y });
export const mul = (e: FunctionBuilder, x: Term, y: Term): Value => e.op("mul", { x, y });
export const div = (e: FunctionBuilder, x: Term, y: Term): Value => e.op("real_div", { x, y });
export const negate = (e: FunctionBuilder, x: Operand): Value => mul(e, x, -1);
export const square = (e: FunctionBuilder, x: Operand): Value => e.op("square", { x });

/** `chosen` where the condition holds, `otherwise` elsewhere; one of them is a tensor. */
export function where(e: FunctionBuilder, cond: Operand, chosen: Term, otherwise: Term): Value {
  const dataType = dataTypeOf(typeof chosen === "number" ? otherwise : chosen);
  const operand = (term: Term): Operand =>
    typeof term === "number" ? scalarLiteral(dataType, term) : term;
  return e.op("select", { cond, a: operand(chosen), b: operand(otherwise) });
}

/** Where numbers lie between two bounds, neither of them included. */
export function between(e: FunctionBuilder, x: Operand, low: number, high: number): Value {
  return e.op("logical_and", {
    x: e.op("greater", { x, y: low }),
    y: e.op("less", { x, y: high }),
  });
}

function dataTypeOf(term: Term): DataType {
  return typeof term === "number" || term.type.kind !== "tensor" ? "fp32" : term.type.dataType;
}

/** Sizes of an operand. Throws `GradError` where one is not known: derivatives need them all. */
export function shapeOf(operand: Operand): readonly number[] {
  if (operand.type.kind !== "tensor" || operand.type.shape.includes("?")) {
    const name = operand.kind === "value" ? `"${operand.name}"` : "a literal";
    throw new GradError(
      "grad.shape",
      `derivatives need tensors of known sizes; ${name} is ${formatType(operand.type)}`,
      { remedy: "Give every dimension a size before differentiating." },
    );
  }
  return staticShape(operand.type);
}

export function tensorDataType(operand: Operand): DataType {
  if (operand.type.kind === "tensor") return operand.type.dataType;
  throw new GradError("grad.type", `a tensor is needed, not ${formatType(operand.type)}`);
}

export function reshapeTo(e: FunctionBuilder, x: Value, shape: readonly number[]): Value {
  return sameShape(shapeOf(x), shape) ? x : e.op("reshape", { x, shape });
}

/** Sums a gradient down to the shape an operand had before it was broadcast. */
export function reduceToShape(e: FunctionBuilder, x: Value, shape: readonly number[]): Value {
  const from = shapeOf(x);
  if (sameShape(from, shape)) return x;
  const leading = from.length - shape.length;
  const stretched: number[] = [];
  from.forEach((size, axis) => {
    const target = shape[axis - leading];
    if (target === undefined || (target === 1 && size !== 1)) stretched.push(axis);
    else if (target !== size) {
      throw new GradError(
        "grad.rule",
        `a gradient of shape [${from.join(", ")}] does not sum down to [${shape.join(", ")}]`,
      );
    }
  });
  if (leading < 0) {
    throw new GradError(
      "grad.rule",
      `a gradient of shape [${from.join(", ")}] has fewer axes than [${shape.join(", ")}]`,
    );
  }
  if (stretched.length === 0) return reshapeTo(e, x, shape);
  const onlyLeading = stretched.length === leading && stretched.every((axis) => axis < leading);
  const sum = e.op("reduce_sum", { x, axes: stretched, keep_dims: !onlyLeading });
  return reshapeTo(e, sum, shape);
}

/** Settings that run along some axes, in the shape that broadcasts over a tensor of `shape`. */
export function alongAxes(
  e: FunctionBuilder,
  numbers: Operand,
  shape: readonly number[],
  axes: readonly number[],
): Value {
  const spread = shape.map((size, axis) => (axes.includes(axis) ? size : 1));
  return reshapeTo(e, asValue(e, numbers), spread);
}

/** The sum over all axes but those of `axes`. */
export function sumOverOthers(e: FunctionBuilder, x: Value, axes: readonly number[]): Value {
  const others = shapeOf(x)
    .map((_, axis) => axis)
    .filter((axis) => !axes.includes(axis));
  return others.length === 0 ? x : e.op("reduce_sum", { x, axes: others, keep_dims: false });
}

/** Repeats a tensor along axes of size 1 (and new leading ones) until it has the shape. */
export function broadcastTo(e: FunctionBuilder, x: Value, shape: readonly number[]): Value {
  const from = shapeOf(x);
  const aligned = [...shape.slice(0, shape.length - from.length).map(() => 1), ...from];
  const reps = shape.map((size, axis) => (aligned[axis] === size ? 1 : size));
  const source = reshapeTo(e, x, aligned);
  return reps.every((count) => count === 1) ? source : e.op("tile", { x: source, reps });
}

/** A tensor of one number. */
export function filled(
  e: FunctionBuilder,
  dataType: DataType,
  shape: readonly number[],
  value: number,
): Value {
  if (shape.length === 0) return e.constant(scalarLiteral(dataType, value));
  return e.op("fill", { shape, value: scalarLiteral(dataType, value) });
}

export function zerosLike(e: FunctionBuilder, operand: Operand): Value {
  return filled(e, tensorDataType(operand), shapeOf(operand), 0);
}

/** The operand as a value, through a named constant where it is a literal. */
export function asValue(e: FunctionBuilder, operand: Operand): Value {
  return operand.kind === "value" ? operand : e.constant(operand);
}

/** The elements `[begin, begin + size)` of one axis. */
export function sliceAxis(
  e: FunctionBuilder,
  x: Operand,
  axis: number,
  begin: number,
  size: number,
  stride = 1,
): Value {
  const shape = shapeOf(x);
  return e.op("slice_by_index", {
    x,
    begin: shape.map((_, other) => (other === axis ? begin : 0)),
    end: shape.map((length, other) => (other === axis ? begin + (size - 1) * stride + 1 : length)),
    ...(stride !== 1 && { stride: shape.map((_, other) => (other === axis ? stride : 1)) }),
  });
}

/** Zeros before and after a tensor, `[before, after]` for every axis. */
export function padWithZeros(
  e: FunctionBuilder,
  x: Value,
  margins: readonly (readonly [before: number, after: number])[],
): Value {
  if (margins.every(([before, after]) => before === 0 && after === 0)) return x;
  // The op pads the last axes it is told of: leading axes without margins need not be named.
  const first = margins.findIndex(([before, after]) => before !== 0 || after !== 0);
  return e.op("pad", {
    x,
    pad: margins.slice(first).flat(),
    mode: "constant",
    constant_val: scalarLiteral(tensorDataType(x), 0),
  });
}

export function transposeTo(e: FunctionBuilder, x: Operand, perm: readonly number[]): Value {
  return perm.every((axis, index) => axis === index)
    ? asValue(e, x)
    : e.op("transpose", { x, perm });
}

export function int32s(values: readonly number[], shape: readonly number[]): Operand {
  return tensorLiteral("int32", shape, values);
}

/** The number behind an operand when it is a constant that holds the same one everywhere. */
export function uniformNumber(operand: Operand): number | undefined {
  const literal = literalOf(operand);
  if (literal?.data.kind !== "numbers" || literal.data.numbers.length > 1 << 16) return undefined;
  const [first] = literal.data.numbers;
  if (first === undefined) return undefined;
  for (const number of literal.data.numbers) if (number !== first) return undefined;
  return Number(first);
}

/** Number of elements of some axes. */
export function countOver(shape: readonly number[], axes: readonly number[]): number {
  return elementCount(axes.map((axis) => shape[axis] ?? 1));
}
