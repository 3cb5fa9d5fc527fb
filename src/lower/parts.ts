import type { OpCall } from "../mil/op-call.ts";
import { plainOperation } from "../mil/program.ts";
import type { Operand, Operation, Value } from "../mil/program.ts";
import { numericLiteral } from "../mil/literal.ts";
import { elementCount, sameShape, staticShape, tensorType } from "../mil/types.ts";
import { evenSizes } from "./lowered-value.ts";
import type { Lowered, Parts } from "./lowered-value.ts";
import type { Lowering, NotLowered } from "./lowering.ts";

/** Ops over an axis that is longer than the chip allows, kept in parts. */

/** A constant in parts of given sizes along an axis counted from the end; nothing where it is no such constant. */
function splitConstant(
  lowering: Lowering,
  lowered: Lowered,
  axis: number,
  sizes: readonly number[],
): Parts | undefined {
  const literal = lowered.kind === "plain" ? lowered.value.constant : undefined;
  if (literal?.type.kind !== "tensor" || literal.data.kind !== "numbers") return undefined;
  const { dataType } = literal.type;
  const shape = staticShape(literal.type);
  const at = shape.length + axis;
  if (!sameShape(shape, lowered.shape) || shape[at] !== sizes.reduce((sum, n) => sum + n, 0))
    return undefined;
  const { numbers } = literal.data;
  const blocks = elementCount(shape.slice(0, at));
  const run = elementCount(shape.slice(at + 1));
  const length = shape[at];
  let start = 0;
  const values = sizes.map((size) => {
    const part = new Float32Array(blocks * size * run);
    for (let block = 0; block < blocks; block++) {
      const from = (block * length + start) * run;
      for (let i = 0; i < size * run; i++) part[block * size * run + i] = Number(numbers[from + i]);
    }
    start += size;
    const type = tensorType(dataType, shape.with(at, size));
    return lowering.builder.constant(numericLiteral(type, part), "part");
  });
  return { kind: "parts", values, axis, sizes, shape };
}

/** A constant with an axis that the chip does not take comes in parts, anything else as it is. */
function inParts(lowering: Lowering, lowered: Lowered): Lowered {
  if (lowered.kind !== "plain" || lowered.value.constant === undefined) return lowered;
  const { shape } = lowered;
  // The first two axes of rank 4 have a limit of their own.
  const at = shape.findIndex(
    (size, axis) => size > lowering.chipLimit && !(shape.length === 4 && axis <= 1),
  );
  if (at === -1) return lowered;
  const sizes = evenSizes(shape[at] ?? 1, lowering.axisLimit);
  return splitConstant(lowering, lowered, at - shape.length, sizes) ?? lowered;
}

/** Both operands of an elementwise op, constants in the parts that the other one has. */
export function matchedParts(
  lowering: Lowering,
  x: Lowered,
  y: Lowered,
): readonly [Lowered, Lowered] {
  const left = x.kind === "parts" || y.kind === "parts" ? x : inParts(lowering, x);
  const right = left.kind === "parts" || y.kind === "parts" ? y : inParts(lowering, y);
  const like = (side: Lowered, other: Lowered): Lowered =>
    other.kind === "parts" && side.kind === "plain" && (side.shape.at(other.axis) ?? 1) > 1
      ? (splitConstant(lowering, side, other.axis, other.sizes) ?? side)
      : side;
  return [like(left, right), like(right, left)];
}

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
        throw lowering.refuse(`${type} of an axis of ${side.shape.at(side.axis)} in other parts`);
      return part;
    }
    const along = side.shape.at(split.axis) ?? 1;
    if (side.shape.length >= -split.axis && along !== 1 && side.kind !== "uniform")
      throw lowering.refuse(
        `${type} of an axis of ${along} that is in parts with one that is whole; split it in the program`,
      );
    return lowering.broadcastable(side);
  };
  const values = split.values.map((_, index) => {
    const operands = { x: operandOf(x, index), y: operandOf(y, index) };
    const [value] = lowering.builder.append(plainOperation(type, operands, []));
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

/** A reduction of parts: of each by itself, joined where the axis in parts is one of the reduced. */
export function reduceParts(
  lowering: Lowering,
  x: Parts,
  call: OpCall,
  operation: Operation,
  join: "add" | "maximum" | "minimum",
): Lowered {
  const rank = x.shape.length;
  const axes = call.has("axes") ? call.axes("axes", rank) : x.shape.map((_, axis) => axis);
  const keepDims = call.bool("keep_dims");
  const at = rank + x.axis;
  const shape = declaredShape(operation);
  const values = x.values.map((part) => {
    lowering.set(part, lowering.plain(part));
    const inputs = new Map(operation.inputs).set("x", part);
    const [value] = lowering.copy({ ...operation, inputs });
    if (value === undefined) throw lowering.refuse(`${operation.type} has no result`);
    return value;
  });
  if (axes.includes(at)) {
    const [first, ...rest] = values;
    if (first === undefined) throw lowering.refuse("an axis without parts");
    const joined = rest.reduce((so, y) => lowering.builder.op(join, { x: so, y }), first);
    return lowering.plain(joined, shape);
  }
  const gone = keepDims ? 0 : axes.filter((axis) => axis > at).length;
  return { ...x, values, axis: x.axis + gone, shape };
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

interface ProductSettings {
  readonly transposeX: boolean;
  readonly transposeY: boolean;
}

export function matrixProduct(
  lowering: Lowering,
  call: OpCall,
  operation: Operation,
): Lowered | undefined {
  const settings = {
    transposeX: call.bool("transpose_x"),
    transposeY: call.bool("transpose_y"),
  };
  const x = lowering.lookup(call, "x");
  const y = lowering.lookup(call, "y");
  const shape = declaredShape(operation);
  if (x.shape.length > 1 && y.shape.length > 1) return productOf(lowering, x, y, settings, shape);
  return vectorProduct(lowering, x, y, settings, shape);
}

/** A vector is one row on the left and one column on the right: the engine multiplies matrices. */
function vectorProduct(
  lowering: Lowering,
  x: Lowered,
  y: Lowered,
  settings: ProductSettings,
  shape: readonly number[],
): Lowered {
  const matrix = (side: Lowered, sizes: readonly number[]): Lowered =>
    side.shape.length > 1
      ? side
      : lowering.plain(lowering.reshape(lowering.whole(side), sizes), sizes);
  const left = matrix(x, [1, x.shape[0] ?? 1]);
  const right = matrix(y, [y.shape[0] ?? 1, 1]);
  const rows = left.shape.at(settings.transposeX ? -1 : -2) ?? 1;
  const columns = right.shape.at(settings.transposeY ? -2 : -1) ?? 1;
  const batch = shape.slice(
    0,
    shape.length - (x.shape.length > 1 ? 1 : 0) - (y.shape.length > 1 ? 1 : 0),
  );
  const product = productOf(lowering, left, right, settings, [...batch, rows, columns]);
  return lowering.plain(lowering.reshape(lowering.whole(product), shape), shape);
}

/** Rows of a `linear` whose weight has more of them than the chip takes, as a product and a sum. */
export function linearInParts(
  lowering: Lowering,
  call: OpCall,
  operation: Operation,
): Lowered | undefined {
  const x = lowering.lookup(call, "x");
  const weight = lowering.lookup(call, "weight");
  if (x.kind !== "parts" && inParts(lowering, weight).kind !== "parts") return undefined;
  const shape = declaredShape(operation);
  const settings = { transposeX: false, transposeY: true };
  const product = productOf(lowering, x, weight, settings, shape);
  if (!call.has("bias")) return product;
  const [left, bias] = matchedParts(lowering, product, lowering.lookup(call, "bias"));
  if (left.kind === "parts") return elementwiseParts(lowering, "add", left, bias, shape);
  const sum = lowering.builder.op("add", { x: lowering.whole(left), y: lowering.whole(bias) });
  return lowering.plain(sum, shape);
}

function productOf(
  lowering: Lowering,
  givenX: Lowered,
  givenY: Lowered,
  { transposeX, transposeY }: ProductSettings,
  shape: readonly number[],
): Lowered {
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
  let x = inParts(lowering, givenX);
  let y = inParts(lowering, givenY);
  if (x.kind === "parts" && x.axis === innerOfX)
    y = splitConstant(lowering, givenY, innerOfY, x.sizes) ?? y;
  if (y.kind === "parts" && y.axis === innerOfY)
    x = splitConstant(lowering, givenX, innerOfX, y.sizes) ?? x;
  if (x.kind !== "parts" && y.kind !== "parts") {
    return lowering.plain(multiply(lowering.whole(x), lowering.whole(y)), shape);
  }
  if (x.kind === "parts" && y.kind === "parts") {
    if (x.axis !== innerOfX || y.axis !== innerOfY || x.sizes.join() !== y.sizes.join())
      throw lowering.refuse("matmul of two long axes, or of one in other parts");
    const products = x.values.map((part, index) => multiply(part, y.values[index] ?? part));
    return lowering.plain(sumOfParts(lowering, products), shape);
  }
  const wholeInner = (size: number | undefined): NotLowered =>
    lowering.refuse(
      `matmul contracts an axis of ${size} of which one side is whole; the chip takes ${lowering.chipLimit}: split it in the program and add the products`,
    );
  if (y.kind === "parts") {
    if (y.axis === innerOfY) throw wholeInner(y.shape.at(innerOfY));
    const left = lowering.whole(x);
    const values = y.values.map((part) => multiply(left, part));
    return { kind: "parts", values, axis: -1, sizes: y.sizes, shape };
  }
  if (x.kind !== "parts" || x.axis === innerOfX) throw wholeInner(x.shape.at(innerOfX));
  const right = lowering.whole(y);
  const values = x.values.map((part) => multiply(part, right));
  return { kind: "parts", values, axis: -2, sizes: x.sizes, shape };
}
