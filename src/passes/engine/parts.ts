import type { OpCall } from "../../mil/op-call.ts";
import type { Operand, Operation, Value } from "../../mil/program.ts";
import type { Lowered, Parts } from "./lowered-value.ts";
import type { Lowering } from "./lowering.ts";

/** Ops over an axis that is longer than the chip allows, kept in parts. */

export function elementwiseParts(
  lowering: Lowering,
  type: string,
  x: Lowered,
  y: Lowered,
  shape: readonly number[],
): Lowered {
  const split = x.kind === "parts" ? x : y;
  if (split.kind !== "parts") throw lowering.refuse("no operand is in parts");
  const operandOf = (side: Lowered, index: number): Operand => {
    if (side.kind === "parts") {
      const part = side.values[index];
      if (
        part === undefined ||
        side.axis !== split.axis ||
        side.values.length !== split.values.length
      )
        throw lowering.refuse(`${type} of parts that do not match`);
      return part;
    }
    const along = side.shape.at(split.axis) ?? 1;
    if (side.shape.length >= -split.axis && along !== 1 && side.kind !== "uniform")
      throw lowering.refuse(`${type} of an axis in parts with a whole one`);
    return lowering.broadcastable(side);
  };
  const values = split.values.map((_, index) => {
    const [value] = lowering.builder.append({
      type,
      inputs: new Map([
        ["x", operandOf(x, index)],
        ["y", operandOf(y, index)],
      ]),
      blocks: [],
      attributes: new Map(),
    });
    if (value === undefined) throw lowering.refuse(`${type} has no result`);
    return value;
  });
  return { kind: "parts", values, axis: split.axis, sizes: split.sizes, shape };
}

export function sumOfParts(lowering: Lowering, values: readonly Value[]): Value {
  const [first, ...rest] = values;
  if (first === undefined) throw lowering.refuse("a sum of nothing");
  return rest.reduce((sum, value) => lowering.builder.op("add", { x: sum, y: value }), first);
}

function declaredShape(operation: Operation): readonly number[] {
  const type = operation.outputs[0]?.type;
  return type?.kind === "tensor" ? type.shape.map(Number) : [];
}

/** The largest number along the axis in parts, then exponentials and their sum scaled by 1/`SUM_SCALE`. */
interface Exponentials {
  readonly largest: Value;
  readonly parts: readonly Value[];
  readonly scaledSum: Value;
}

/** Sums of up to 16 parts of 32000 ones stay below the ceiling when each is divided by this. */
const SUM_SCALE = 64;

function exponentialsOf(lowering: Lowering, x: Parts): Exponentials {
  const { builder } = lowering;
  const last = x.shape.length - 1;
  const maxima = x.values.map((part) =>
    builder.op("reduce_max", { x: part, axes: [last], keep_dims: true }),
  );
  const [first, ...rest] = maxima;
  if (first === undefined) throw lowering.refuse("an axis without parts");
  const largest = rest.reduce((so, value) => builder.op("maximum", { x: so, y: value }), first);
  const parts = x.values.map((part) =>
    builder.op("exp", { x: builder.op("sub", { x: part, y: largest }) }),
  );
  // Products with ones are summed wide, reduce_sum is not.
  const sums = parts.map((part, index) =>
    builder.op("mul", {
      x: builder.op("matmul", { x: part, y: lowering.full([x.sizes[index] ?? 1, 1], 1) }),
      y: 1 / SUM_SCALE,
    }),
  );
  return { largest, parts, scaledSum: sumOfParts(lowering, sums) };
}

export function logSumExpOfParts(
  lowering: Lowering,
  call: OpCall,
  operation: Operation,
): Lowered | undefined {
  const x = lowering.lookup(call, "x");
  if (x.kind !== "parts") return undefined;
  if (x.axis !== -1) throw lowering.refuse("reduce_log_sum_exp over another axis than the last");
  const { builder } = lowering;
  const { largest, scaledSum } = exponentialsOf(lowering, x);
  const log = builder.op("log", { x: scaledSum, epsilon: 0 });
  const shifted = builder.op("add", { x: log, y: largest });
  const value = builder.op("add", { x: shifted, y: Math.log(SUM_SCALE) });
  const shape = declaredShape(operation);
  return lowering.plain(lowering.reshape(value, shape), shape);
}

export function softmaxOfParts(lowering: Lowering, call: OpCall): Lowered | undefined {
  const x = lowering.lookup(call, "x");
  if (x.kind !== "parts") return undefined;
  if (x.axis !== -1 || call.axis("axis", x.shape.length) !== x.shape.length - 1)
    throw lowering.refuse("softmax over another axis than the last");
  const { builder } = lowering;
  const { parts, scaledSum } = exponentialsOf(lowering, x);
  // e / (s * scale) = e * (1 / s) * (1 / scale); 1 / s first, it is at most `SUM_SCALE`.
  const factor = builder.op("real_div", {
    x: lowering.full([1, 1], 1 / SUM_SCALE),
    y: scaledSum,
  });
  const values = parts.map((part) => builder.op("mul", { x: part, y: factor }));
  return { ...x, values };
}

export function matrixProduct(
  lowering: Lowering,
  call: OpCall,
  operation: Operation,
): Lowered | undefined {
  const x = lowering.lookup(call, "x");
  const y = lowering.lookup(call, "y");
  const transposeX = call.bool("transpose_x");
  const transposeY = call.bool("transpose_y");
  const innerOfX = transposeX ? -2 : -1;
  const innerOfY = transposeY ? -1 : -2;
  const multiply = (left: Value, right: Value): Value => {
    // Only products of two runtime operands want a padded inner axis.
    const isRuntime = left.constant === undefined && right.constant === undefined;
    return lowering.builder.op("matmul", {
      x: isRuntime ? lowering.padded(left, innerOfX) : left,
      y: isRuntime ? lowering.padded(right, innerOfY) : right,
      transpose_x: transposeX,
      transpose_y: transposeY,
    });
  };
  const shape = declaredShape(operation);
  if (x.kind !== "parts" && y.kind !== "parts") {
    return lowering.plain(multiply(lowering.whole(x), lowering.whole(y)), shape);
  }
  if (x.kind === "parts" && y.kind === "parts") {
    if (x.axis !== innerOfX || y.axis !== innerOfY || x.values.length !== y.values.length)
      throw lowering.refuse("matmul of parts along different axes");
    const products = x.values.map((part, index) => multiply(part, y.values[index] ?? part));
    return lowering.plain(sumOfParts(lowering, products), shape);
  }
  if (y.kind === "parts") {
    if (y.axis === innerOfY) throw lowering.refuse("matmul contracts parts with a whole axis");
    const left = lowering.whole(x);
    const values = y.values.map((part) => multiply(left, part));
    return { kind: "parts", values, axis: -1, sizes: y.sizes, shape };
  }
  if (x.kind !== "parts" || x.axis === innerOfX)
    throw lowering.refuse("matmul contracts parts with a whole axis");
  const right = lowering.whole(y);
  const values = x.values.map((part) => multiply(part, right));
  return { kind: "parts", values, axis: -2, sizes: x.sizes, shape };
}
