import { hostTensor, stridesOf } from "../../mil/host-tensor.ts";
import type { HostTensor } from "../../mil/host-tensor.ts";
import { convolutionGeometry, convolutionType } from "../../mil/ops/convolution.ts";
import { coordinatesOf, forEachWindowElement } from "../../mil/ops/windows.ts";
import { elementCount, staticShape } from "../../mil/types.ts";
import type { SimContext, SimKernel } from "./context.ts";
import type { MatrixView, Product } from "./grid-products.ts";
import { HalfTensor } from "./half-tensor.ts";

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

const matmul: SimKernel = (call, { machine, numerics }) => {
  const x = machine.place(call.tensor("x"));
  const y = machine.place(call.tensor("y"));
  const transposeX = call.bool("transpose_x");
  const transposeY = call.bool("transpose_y");
  const [rows = 1, depth = 1] = transposeX ? x.shape.slice(-2).reverse() : x.shape.slice(-2);
  const columns = y.shape.at(transposeY ? -2 : -1) ?? 1;
  const batch = broadcastBatch(x.shape.slice(0, -2), y.shape.slice(0, -2));
  const result = HalfTensor.allocate(machine.arena, x.dataType, [...batch, rows, columns]);
  const rightStarts = batchStarts(y.shape, batch);
  const products = batchStarts(x.shape, batch).map((leftStart, index): Product => ({
    left: matrix(x, leftStart, transposeX),
    right: matrix(y, rightStarts[index] ?? 0, transposeY),
    result: result.address + 4 * index * rows * columns,
  }));
  machine.products.multiply(products, { rows, depth, columns }, "nearest", numerics);
  return [result];
};

const linear: SimKernel = (call, context) => {
  const { machine, numerics } = context;
  const x = machine.place(call.tensor("x"));
  const weight = machine.place(call.tensor("weight"));
  const [columns = 1, depth = 1] = weight.shape;
  const rows = x.count / depth;
  const shape = [...x.shape.slice(0, -1), columns];
  const result = HalfTensor.allocate(machine.arena, x.dataType, shape);
  const left: MatrixView = { address: x.address, rowStep: depth, columnStep: 1 };
  const product = { left, right: matrix(weight, 0, true), result: result.address };
  machine.products.multiply([product], { rows, depth, columns }, "nearest", numerics);
  if (call.has("bias")) addBias(result, call.tensor("bias").data, 1, context);
  return [result];
};

/** Windows laid out as columns, then one product a group and batch: [O, C * K] x [C * K, places]. */
const conv: SimKernel = (call, context) => {
  const { machine, numerics } = context;
  const type = convolutionType(call);
  const shape = staticShape(type);
  const [batch = 1, outputs = 1, ...places] = shape;
  const x = call.tensor("x");
  const weight = machine.place(call.tensor("weight"));
  const [, channels = 1, ...inputs] = x.shape;
  const groups = call.int("groups");
  const perGroup = channels / groups;
  const geometry = convolutionGeometry(call);
  const kernelSize = elementCount(geometry.kernel);
  const placeCount = elementCount(places);
  const depth = perGroup * kernelSize;
  const result = HalfTensor.allocate(machine.arena, type.dataType, shape);
  const isPointwise =
    kernelSize === 1 &&
    placeCount === elementCount(inputs) &&
    geometry.strides.every((stride) => stride === 1);
  const columns = machine.place(
    isPointwise ? x : windows(x, geometry, { places, inputs, perGroup, kernelSize }),
  );
  const rows = outputs / groups;
  const products: Product[] = [];
  for (let index = 0; index < batch * groups; index++) {
    const group = index % groups;
    products.push({
      left: {
        address: weight.address + 4 * group * rows * depth,
        rowStep: depth,
        columnStep: 1,
      },
      right: {
        address: columns.address + 4 * index * depth * placeCount,
        rowStep: placeCount,
        columnStep: 1,
      },
      result: result.address + 4 * index * rows * placeCount,
    });
  }
  const rounding = context.truncateConvolutions ? "truncate" : "nearest";
  machine.products.multiply(products, { rows, depth, columns: placeCount }, rounding, numerics);
  if (call.has("bias")) addBias(result, call.tensor("bias").data, placeCount, context);
  return [result];
};

/** [N * groups, C / groups * K, places]: what each window of each group covers. */
function windows(
  x: HostTensor,
  geometry: ReturnType<typeof convolutionGeometry>,
  {
    places,
    inputs,
    perGroup,
    kernelSize,
  }: {
    readonly places: readonly number[];
    readonly inputs: readonly number[];
    readonly perGroup: number;
    readonly kernelSize: number;
  },
): HostTensor {
  const { data } = x;
  const placeCount = elementCount(places);
  const inputSize = elementCount(inputs);
  const parts = data.length / (perGroup * inputSize);
  const columns = hostTensor(x.dataType, [parts, perGroup * kernelSize, placeCount]);
  for (let place = 0; place < placeCount; place++) {
    forEachWindowElement(geometry, inputs, coordinatesOf(place, places), (k, input) => {
      for (let channel = 0; channel < parts * perGroup; channel++) {
        columns.data[(channel * kernelSize + k) * placeCount + place] =
          data[channel * inputSize + input] ?? 0;
      }
    });
  }
  return columns;
}

/** Adds bias[c] to every run of `each` numbers of channel c, rounding to fp16. */
function addBias(
  result: HalfTensor,
  bias: Float64Array,
  each: number,
  { machine }: SimContext,
): void {
  const numbers = result.numbers();
  for (let i = 0; i < numbers.length; i++) {
    numbers[i] = (numbers[i] ?? 0) + (bias[Math.floor(i / each) % bias.length] ?? 0);
  }
  machine.round(result.address, result.address, result.count);
}

export const products: Readonly<Record<string, SimKernel>> = { matmul, linear, conv };
