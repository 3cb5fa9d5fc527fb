import { hostTensor, stridesOf } from "../../mil/host-tensor.ts";
import type { HostTensor } from "../../mil/host-tensor.ts";
import type { OpCall } from "../../mil/op-call.ts";
import { convolutionGeometry, convolutionType } from "../../mil/ops/convolution.ts";
import { coordinatesOf, forEachWindowElement } from "../../mil/ops/windows.ts";
import { elementCount, staticShape } from "../../mil/types.ts";
import type { OutputRounding } from "./arithmetic.ts";
import type { MatrixView, ProductSizes } from "./grid-products.ts";
import type { SimContext, SimKernel } from "./kernels.ts";

/** One matrix product in the arithmetic of its place. */
function multiply(
  context: SimContext,
  left: MatrixView,
  right: MatrixView,
  sizes: ProductSizes,
  result: Float64Array,
  start: number,
  rounding: OutputRounding = "nearest",
): void {
  if (context.place === "engine") {
    context.products.multiply(left, right, sizes, result, start, rounding, context.numerics);
  } else {
    multiplyOnHost(left, right, sizes, result, start);
  }
}

/** In double precision, row by row over the right operand's rows. */
function multiplyOnHost(
  left: MatrixView,
  right: MatrixView,
  { rows, depth, columns }: ProductSizes,
  result: Float64Array,
  start: number,
): void {
  for (let i = 0; i < rows; i++) {
    const into = start + i * columns;
    for (let k = 0; k < depth; k++) {
      const a = left.data[left.start + i * left.rowStep + k * left.columnStep] ?? 0;
      if (a === 0) continue;
      let from = right.start + k * right.rowStep;
      for (let j = 0; j < columns; j++, from += right.columnStep) {
        result[into + j] = (result[into + j] ?? 0) + a * (right.data[from] ?? 0);
      }
    }
  }
}

function matrix(tensor: HostTensor, start: number, isTransposed: boolean): MatrixView {
  const columns = tensor.shape.at(-1) ?? 1;
  return {
    data: tensor.data,
    start,
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

const matmul: SimKernel = (call, context) => {
  const x = call.tensor("x");
  const y = call.tensor("y");
  const transposeX = call.bool("transpose_x");
  const transposeY = call.bool("transpose_y");
  const [rows = 1, depth = 1] = transposeX ? x.shape.slice(-2).reverse() : x.shape.slice(-2);
  const columns = y.shape.at(transposeY ? -2 : -1) ?? 1;
  const batch = broadcastBatch(x.shape.slice(0, -2), y.shape.slice(0, -2));
  const result = hostTensor(x.dataType, [...batch, rows, columns]);
  const leftStarts = batchStarts(x.shape, batch);
  const rightStarts = batchStarts(y.shape, batch);
  for (const [index, leftStart] of leftStarts.entries()) {
    const left = matrix(x, leftStart, transposeX);
    const right = matrix(y, rightStarts[index] ?? 0, transposeY);
    const sizes = { rows, depth, columns };
    multiply(context, left, right, sizes, result.data, index * rows * columns);
  }
  return result;
};

function broadcastBatch(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => {
    const left = a[axis - rank + a.length] ?? 1;
    return left === 1 ? (b[axis - rank + b.length] ?? 1) : left;
  });
}

const linear: SimKernel = (call, context) => {
  const x = call.tensor("x");
  const weight = call.tensor("weight");
  const [columns = 1, depth = 1] = weight.shape;
  const rows = x.data.length / depth;
  const result = hostTensor(x.dataType, [...x.shape.slice(0, -1), columns]);
  const left: MatrixView = { data: x.data, start: 0, rowStep: depth, columnStep: 1 };
  multiply(context, left, matrix(weight, 0, true), { rows, depth, columns }, result.data, 0);
  if (call.has("bias")) addBias(result.data, call.tensor("bias").data, 1);
  return result;
};

/** Windows laid out as columns, then one product a group and batch: [O, C * K] x [C * K, places]. */
const conv: SimKernel = (call, context) => {
  const type = convolutionType(call);
  const shape = staticShape(type);
  const [batch = 1, outputs = 1, ...places] = shape;
  const x = call.tensor("x");
  const weight = call.tensor("weight");
  const [, channels = 1, ...inputs] = x.shape;
  const groups = call.int("groups");
  const perGroup = channels / groups;
  const geometry = convolutionGeometry(call);
  const kernelSize = elementCount(geometry.kernel);
  const inputSize = elementCount(inputs);
  const placeCount = elementCount(places);
  const depth = perGroup * kernelSize;
  const result = hostTensor(type.dataType, shape);
  const rounding = context.truncateConvolutions ? "truncate" : "nearest";
  const isPointwise =
    kernelSize === 1 &&
    placeCount === inputSize &&
    geometry.strides.every((stride) => stride === 1);
  const columns = isPointwise ? undefined : new Float64Array(depth * placeCount);
  for (let n = 0; n < batch; n++) {
    for (let group = 0; group < groups; group++) {
      const channelStart = (n * channels + group * perGroup) * inputSize;
      if (columns !== undefined) {
        columns.fill(0);
        for (let place = 0; place < placeCount; place++) {
          forEachWindowElement(geometry, inputs, coordinatesOf(place, places), (k, input) => {
            for (let c = 0; c < perGroup; c++) {
              columns[(c * kernelSize + k) * placeCount + place] =
                x.data[channelStart + c * inputSize + input] ?? 0;
            }
          });
        }
      }
      const rows = outputs / groups;
      multiply(
        context,
        { data: weight.data, start: group * rows * depth, rowStep: depth, columnStep: 1 },
        {
          data: columns ?? x.data,
          start: columns === undefined ? channelStart : 0,
          rowStep: placeCount,
          columnStep: 1,
        },
        { rows, depth, columns: placeCount },
        result.data,
        (n * outputs + group * rows) * placeCount,
        rounding,
      );
    }
  }
  if (call.has("bias")) addBias(result.data, call.tensor("bias").data, placeCount);
  return result;
};

/** Adds bias[c] to every run of `each` numbers of channel c. */
function addBias(data: Float64Array, bias: Float64Array, each: number): void {
  for (let i = 0; i < data.length; i++) {
    data[i] = (data[i] ?? 0) + (bias[Math.floor(i / each) % bias.length] ?? 0);
  }
}

export const products: Readonly<Record<string, (call: OpCall, context: SimContext) => HostTensor>> =
  {
    matmul,
    linear,
    conv,
  };
