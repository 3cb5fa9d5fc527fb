import { stridesOf } from "../../mil/host-tensor.ts";
import { convolutionGeometry, convolutionType } from "../../mil/ops/convolution.ts";
import { coordinatesOf } from "../../mil/ops/windows.ts";
import { elementCount, isFloat, staticShape } from "../../mil/types.ts";
import { productRules } from "./arithmetic.ts";
import type { SimContext, SimKernel } from "./context.ts";
import type { MatrixView, Product, ProductSizes } from "./grid-products.ts";
import { HalfTensor } from "./half-tensor.ts";
import { integerOperands, multiplyIntegers } from "./integer-products.ts";
import { hasWinograd, winograd } from "./winograd.ts";
import { windows } from "./windows.ts";

/** The matrix that begins at element `start`. */
function matrix(tensor: HalfTensor, start: number, isTransposed: boolean): MatrixView {
  const columns = tensor.shape.at(-1) ?? 1;
  return {
    address: tensor.address + 4 * start,
    rowStep: isTransposed ? 1 : columns,
    columnStep: isTransposed ? columns : 1,
  };
}

/** Where each of the result's matrices begins in an operand whose batch axes broadcast. */
function batchStarts(shape: readonly number[], batch: readonly number[]): number[] {
  const strides = stridesOf(shape);
  const offset = batch.length - (shape.length - 2);
  return Array.from({ length: elementCount(batch) }, (_, index) => {
    const coordinates = coordinatesOf(index, batch);
    return coordinates.reduce((start, coordinate, axis) => {
      const own = axis - offset;
      const size = own < 0 ? 1 : (shape[own] ?? 1);
      return start + (size === 1 ? 0 : coordinate * (strides[own] ?? 0));
    }, 0);
  });
}

function broadcastBatch(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => {
    const left = a[axis - rank + a.length] ?? 1;
    return left === 1 ? (b[axis - rank + b.length] ?? 1) : left;
  });
}

/** Vectors are rows on the left and columns on the right; products of nothing are left to the evaluation. */
const matmul: SimKernel = (call, { machine, numerics, arithmetic }) => {
  const [left, right] = [call.tensor("x"), call.tensor("y")];
  if (left.shape.includes(0) || right.shape.includes(0)) return undefined;
  if (!isFloat(left.dataType) && !isFloat(right.dataType)) return undefined;
  const x = asMatrix(machine.place(left), [1, left.shape[0] ?? 1]);
  const y = asMatrix(machine.place(right), [right.shape[0] ?? 1, 1]);
  const transposeX = call.bool("transpose_x");
  const transposeY = call.bool("transpose_y");
  const [rows = 1, depth = 1] = transposeX ? x.shape.slice(-2).reverse() : x.shape.slice(-2);
  const columns = y.shape.at(transposeY ? -2 : -1) ?? 1;
  const batch = broadcastBatch(x.shape.slice(0, -2), y.shape.slice(0, -2));
  const shape = [
    ...batch,
    ...(left.shape.length === 1 ? [] : [rows]),
    ...(right.shape.length === 1 ? [] : [columns]),
  ];
  const result = HalfTensor.allocate(machine.arena, x.dataType, shape);
  const rightStarts = batchStarts(y.shape, batch);
  const products = batchStarts(x.shape, batch).map((leftStart, index): Product => ({
    left: matrix(x, leftStart, transposeX),
    right: matrix(y, rightStarts[index] ?? 0, transposeY),
    result: result.address + 4 * index * rows * columns,
  }));
  const rules = productRules(arithmetic, "matmul");
  machine.products.multiply(products, { rows, depth, columns }, rules, numerics);
  return [result];
};

/** A vector as the matrix `shape`. */
function asMatrix(tensor: HalfTensor, shape: readonly number[]): HalfTensor {
  return tensor.shape.length === 1 ? tensor.share(shape) : tensor;
}

/** A bias starts the sum where that is the rule: one product more, of the bias and 1, before all others. */
function startsFromBias({ numerics, arithmetic }: SimContext): boolean {
  return numerics === "exact" && arithmetic.bias === "start-value";
}

const linear: SimKernel = (call, context) => {
  const { machine, numerics, arithmetic } = context;
  const given = call.tensor("x");
  const weights = call.tensor("weight");
  if (given.shape.includes(0) || weights.shape.includes(0)) return undefined;
  const [columns = 1, depth = 1] = weights.shape;
  const rows = elementCount(given.shape) / depth;
  const shape = [...given.shape.slice(0, -1), columns];
  const result = HalfTensor.allocate(machine.arena, given.dataType, shape);
  const bias = call.optionalNumbers("bias");
  const rules = productRules(arithmetic, "matmul");
  const productOf = (x: HalfTensor, weight: HalfTensor, width: number): Product => ({
    left: { address: x.address, rowStep: width, columnStep: 1 },
    right: { address: weight.address, rowStep: 1, columnStep: width },
    result: result.address,
  });
  const integers = integerOperands(given, weights, context);
  if (integers !== undefined) {
    const { x, weight } = integers;
    multiplyIntegers(
      [productOf(x.integers, weight.integers, depth)],
      { rows, depth, columns },
      (_, __, column) => scaleAt(x.scales, 0) * scaleAt(weight.scales, column),
      (_, __, column) => bias?.[column] ?? 0,
      rules,
      machine,
    );
    return [result];
  }
  const x = machine.place(given);
  const weight = machine.place(weights);
  if (bias !== undefined && startsFromBias(context)) {
    const left = withFirst(x, new Float64Array(rows).fill(1), rows, depth, machine);
    const right = withFirst(weight, bias, columns, depth, machine);
    const product = productOf(left, right, depth + 1);
    machine.products.multiply([product], { rows, depth: depth + 1, columns }, rules, numerics);
    left.release();
    right.release();
    return [result];
  }
  const product = productOf(x, weight, depth);
  machine.products.multiply([product], { rows, depth, columns }, rules, numerics);
  if (bias !== undefined) addBias(result, bias, 1, context);
  return [result];
};

/** The scale of an output, or the one of all. */
function scaleAt(scales: Float64Array, output: number): number {
  return scales[scales.length === 1 ? 0 : output] ?? NaN;
}

/** [rows, 1 + depth]: a number before each row. */
function withFirst(
  tensor: HalfTensor,
  first: ArrayLike<number>,
  rows: number,
  depth: number,
  { arena }: SimContext["machine"],
): HalfTensor {
  const wide = HalfTensor.allocate(arena, tensor.dataType, [rows, depth + 1]);
  const from = tensor.numbers();
  const to = wide.numbers();
  for (let row = 0; row < rows; row++) {
    to[row * (depth + 1)] = first[row] ?? 0;
    to.set(from.subarray(row * depth, (row + 1) * depth), row * (depth + 1) + 1);
  }
  return wide;
}

/** A convolution as products [O, C * K] x [C * K, places], one a group and batch. */
const conv: SimKernel = (call, context) => {
  const { machine, numerics, arithmetic } = context;
  const type = convolutionType(call);
  const shape = staticShape(type);
  const [batch = 1, outputs = 1, ...places] = shape;
  const given = call.tensor("x");
  const weights = call.tensor("weight");
  const [, channels = 1, ...inputs] = given.shape;
  const groups = call.int("groups");
  const perGroup = channels / groups;
  const geometry = convolutionGeometry(call);
  const kernelSize = elementCount(geometry.kernel);
  const placeCount = elementCount(places);
  const depth = perGroup * kernelSize;
  const rows = outputs / groups;
  const result = HalfTensor.allocate(machine.arena, type.dataType, shape);
  const bias = call.optionalNumbers("bias");
  const integers = integerOperands(given, weights, context);
  const isStart = bias !== undefined && integers === undefined && startsFromBias(context);
  const rules = productRules(arithmetic, "conv");
  const isWinograd =
    numerics === "exact" && integers === undefined && hasWinograd(geometry, groups, arithmetic);
  if (isWinograd) {
    const start = isStart ? bias : undefined;
    winograd({ x: given, weight: weights, bias: start, geometry, result }, rules, machine);
    if (bias !== undefined && !isStart) addBias(result, bias, placeCount, context);
    return [result];
  }
  const isPointwise =
    kernelSize === 1 &&
    placeCount === elementCount(inputs) &&
    geometry.strides.every((stride) => stride === 1);
  const extra = Number(isStart);
  const x = integers?.x.integers ?? given;
  const weight = integers?.weight.integers ?? machine.place(weights);
  const columns =
    isStart || !isPointwise
      ? windows(x, geometry, { places, inputs, perGroup, kernelSize, extra }, machine)
      : machine.place(x);
  const left = isStart ? withFirst(weight, bias, outputs, depth, machine) : weight;
  const sizes: ProductSizes = { rows, depth: depth + extra, columns: placeCount };
  const products: Product[] = [];
  for (let index = 0; index < batch * groups; index++) {
    const group = index % groups;
    products.push({
      left: {
        address: left.address + 4 * group * rows * sizes.depth,
        rowStep: sizes.depth,
        columnStep: 1,
      },
      right: {
        address: columns.address + 4 * index * sizes.depth * placeCount,
        rowStep: placeCount,
        columnStep: 1,
      },
      result: result.address + 4 * index * rows * placeCount,
    });
  }
  if (integers === undefined) machine.products.multiply(products, sizes, rules, numerics);
  else {
    const outputOf = (index: number, row: number): number => (index % groups) * rows + row;
    multiplyIntegers(
      products,
      sizes,
      (index, row) =>
        scaleAt(integers.x.scales, 0) * scaleAt(integers.weight.scales, outputOf(index, row)),
      (index, row) => bias?.[outputOf(index, row)] ?? 0,
      rules,
      machine,
    );
    return [result];
  }
  if (bias !== undefined && !isStart) addBias(result, bias, placeCount, context);
  return [result];
};

/** Adds bias[c] to every run of `each` numbers of channel c, rounding to fp16. */
function addBias(
  result: HalfTensor,
  bias: Float64Array,
  each: number,
  { machine, arithmetic }: SimContext,
): void {
  const numbers = result.numbers();
  for (let i = 0; i < numbers.length; i++) {
    numbers[i] = (numbers[i] ?? 0) + (bias[Math.floor(i / each) % bias.length] ?? 0);
  }
  machine.round(result.address, result.address, result.count, arithmetic["elementwise.rounding"]);
}

export const products: Readonly<Record<string, SimKernel>> = { matmul, linear, conv };
