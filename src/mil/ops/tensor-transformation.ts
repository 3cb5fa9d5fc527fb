import { hostTensor, stridesOf } from "../host-tensor.ts";
import type { HostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { optional, required, runtime, tensor } from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import { staticShape, tensorType } from "../types.ts";
import type { Dimension, TensorType } from "../types.ts";
import { checkVector, derive, formatShape, product } from "./dimensions.ts";
import { mapTensor } from "./elementwise-unary.ts";
import { permute, stridedCopy } from "./strided.ts";

/** The same numbers under another shape. */
const reshaped = (call: OpCall, type: TensorType): readonly HostTensor[] => [
  hostTensor(type.dataType, staticShape(type), call.tensor("x").data),
];

/** No format has more axes; a longer vector is no shape. */
const LONGEST_SHAPE = 32;

/** An unknown number of unknown sizes cannot be expressed; a shape tensor must have a known length. */
export function shapeLength(call: OpCall, name: string): number {
  const [length, ...rest] = call.shape(name);
  if (typeof length !== "number" || rest.length > 0) {
    throw call.fail(`${name} must be a vector of known length`);
  }
  if (length > LONGEST_SHAPE) throw call.fail(`${name} of ${length} sizes is no shape`);
  return length;
}

/** A shape that is only known when running: its rank is, its sizes are not. */
export function openShape(call: OpCall, name: string): readonly Dimension[] {
  return Array.from({ length: shapeLength(call, name) }, (): Dimension => "?");
}

/** The sizes of a setting `shape`, none of them negative, or of a shape that is only known when running. */
export function shapeSetting(call: OpCall): readonly Dimension[] {
  if (!call.isKnown("shape")) return openShape(call, "shape");
  const shape = call.ints("shape");
  if (shape.some((size) => size < 0)) throw call.fail(`shape ${formatShape(shape)} is negative`);
  return shape;
}

/**
 * 0 copies the size of x at the same place counted from the end, where a longer shape finds 1 in front (ios17); -1 (once)
 * takes what is left.
 */
export function reshapeTarget(call: OpCall, from: readonly Dimension[]): readonly Dimension[] {
  if (!call.isKnown("shape")) {
    return openShape(call, "shape");
  }
  const wanted = call.ints("shape");
  const target = wanted.map((size, axis): Dimension => {
    if (size !== 0) return size;
    // A size of 0 that copies nothing is a tensor without elements.
    if (wanted.length !== from.length && from.includes(0)) return 0;
    if (wanted.length < from.length) {
      throw call.fail(
        `size 0 at axis ${axis} of shape ${formatShape(wanted)} copies x's size, which needs as many axes or more`,
      );
    }
    return from[axis - wanted.length + from.length] ?? 1;
  });
  const open = target.indexOf(-1);
  if (open !== target.lastIndexOf(-1)) {
    throw call.fail(`shape ${formatShape(wanted)} leaves more than one size open`);
  }
  if (target.some((size) => typeof size === "number" && size < -1)) {
    throw call.fail(`shape ${formatShape(wanted)} has a negative size`);
  }
  const count = product(from);
  if (open !== -1) {
    const others = product(target.toSpliced(open, 1));
    target[open] = derive([count, others], (all = 0, rest = 1) => {
      if (rest === 0 || all % rest !== 0) {
        throw call.fail(
          `${all} elements do not divide into shape ${formatShape(wanted)}, whose known sizes hold ${rest}`,
        );
      }
      return all / rest;
    });
  }
  const result = product(target);
  if (count !== "?" && result !== "?" && count !== result) {
    throw call.fail(`x has ${count} elements, shape ${formatShape(wanted)} holds ${result}`);
  }
  return target;
}

function reshapeType(call: OpCall): TensorType {
  return tensorType(call.dataType("x"), reshapeTarget(call, call.shape("x")));
}

function permutation(call: OpCall): readonly number[] {
  const rank = call.shape("x").length;
  const order = call.ints("perm").map((axis) => call.normalizeAxis(axis, rank, "perm"));
  if (order.length !== rank || new Set(order).size !== rank) {
    throw call.fail(`perm ${formatShape(order)} is no order of x's ${rank} axes`);
  }
  return order;
}

function expandedType(call: OpCall): TensorType {
  const shape = call.shape("x");
  const axes = call.ints("axes");
  const rank = shape.length + axes.length;
  const places = new Set(axes.map((axis) => call.normalizeAxis(axis, rank, "axes")));
  if (places.size !== axes.length) throw call.fail("axes names an axis twice");
  const rest = [...shape];
  return tensorType(
    call.dataType("x"),
    Array.from({ length: rank }, (_, axis) => (places.has(axis) ? 1 : (rest.shift() ?? 1))),
  );
}

/** Axes of another size than 1 stay, even where they are named: this is PyTorch's rule, not NumPy's. */
function squeezedType(call: OpCall): TensorType {
  const shape = call.shape("x");
  const axes = new Set(call.axes("axes", shape.length));
  return tensorType(
    call.dataType("x"),
    shape.filter((size, axis) => !(size === 1 && axes.has(axis))),
  );
}

function slidingType(call: OpCall): TensorType {
  const shape = call.shape("x");
  const axis = call.axis("axis", shape.length);
  const size = call.int("size");
  const stride = call.int("stride");
  if (size < 1 || stride < 1) throw call.fail("size and stride must be 1 or more");
  const windows = derive([shape[axis] ?? 1], (length = 0) => {
    if (length < size)
      throw call.fail(`a window of ${size} does not fit into axis ${axis} of ${length}`);
    return Math.floor((length - size) / stride) + 1;
  });
  return tensorType(call.dataType("x"), shape.toSpliced(axis, 1, windows, size));
}

export const TENSOR_TRANSFORMATION = {
  reshape: defineOp({
    kind: "view",
    numbersOf: "x",
    parameters: { x: tensor(), shape: runtime("ints") },
    infer: (call) => [reshapeType(call)],
    evaluate: (call) => reshaped(call, reshapeType(call)),
  }),

  transpose: defineOp({
    kind: "movement",
    numbersOf: "x",
    parameters: { x: tensor(), perm: required("ints") },
    infer: (call) => {
      const shape = call.shape("x");
      const order = permutation(call);
      return [
        tensorType(
          call.dataType("x"),
          order.map((axis) => shape[axis] ?? 1),
        ),
      ];
    },
    evaluate: (call) => {
      const x = call.tensor("x");
      const order = permutation(call);
      return [
        hostTensor(
          x.dataType,
          order.map((axis) => x.shape[axis] ?? 1),
          permute(x, order),
        ),
      ];
    },
  }),

  expand_dims: defineOp({
    kind: "view",
    numbersOf: "x",
    parameters: { x: tensor(), axes: required("ints") },
    infer: (call) => [expandedType(call)],
    evaluate: (call) => reshaped(call, expandedType(call)),
  }),

  squeeze: defineOp({
    kind: "view",
    numbersOf: "x",
    parameters: { x: tensor(), axes: optional("ints") },
    infer: (call) => [squeezedType(call)],
    evaluate: (call) => reshaped(call, squeezedType(call)),
  }),

  reverse: defineOp({
    kind: "movement",
    numbersOf: "x",
    parameters: { x: tensor(), axes: optional("ints") },
    infer: (call) => {
      call.axes("axes", call.shape("x").length);
      return [call.tensorType("x")];
    },
    evaluate: (call) => {
      const x = call.tensor("x");
      const axes = call.axes("axes", x.shape.length);
      const strides = stridesOf(x.shape);
      let offset = 0;
      for (const axis of axes) {
        const stride = strides[axis] ?? 0;
        offset += stride * ((x.shape[axis] ?? 1) - 1);
        strides[axis] = -stride;
      }
      return [hostTensor(x.dataType, x.shape, stridedCopy(x.data, x.shape, strides, offset))];
    },
  }),

  reverse_sequence: defineOp({
    kind: "movement",
    numbersOf: "x",
    parameters: {
      x: tensor(),
      lengths: tensor("int8", "uint8", "int16", "uint16", "int32"),
      seq_axis: optional("int", 0),
      batch_axis: optional("int", 0),
    },
    infer: (call) => {
      const shape = call.shape("x");
      const batchAxis = call.axis("batch_axis", shape.length);
      if (call.axis("seq_axis", shape.length) === batchAxis) {
        throw call.fail("seq_axis and batch_axis must differ");
      }
      checkVector(call, "lengths", shape[batchAxis] ?? 1, "batch");
      return [call.tensorType("x")];
    },
    evaluate: (call) => {
      const x = call.tensor("x");
      const lengths = call.ints("lengths");
      const sequence = call.axis("seq_axis", x.shape.length);
      const batch = call.axis("batch_axis", x.shape.length);
      const strides = stridesOf(x.shape);
      const step = strides[sequence] ?? 1;
      const at = (index: number, axis: number): number =>
        Math.floor(index / (strides[axis] ?? 1)) % (x.shape[axis] ?? 1);
      const size = x.shape[sequence] ?? 1;
      for (const length of lengths) {
        if (length < 0 || length > size) {
          throw call.fail(`length ${length} is outside the sequence of ${size}`);
        }
      }
      return [
        mapTensor(x, (value, index) => {
          const length = lengths[at(index, batch)] ?? 0;
          const place = at(index, sequence);
          return place < length ? (x.data[index + (length - 1 - 2 * place) * step] ?? 0) : value;
        }),
      ];
    },
  }),

  sliding_windows: defineOp({
    kind: "movement",
    numbersOf: "x",
    parameters: {
      x: tensor(),
      axis: required("int"),
      size: required("int"),
      stride: optional("int", 1),
    },
    infer: (call) => [slidingType(call)],
    evaluate: (call) => {
      const x = call.tensor("x");
      const axis = call.axis("axis", x.shape.length);
      const shape = staticShape(slidingType(call));
      const strides = stridesOf(x.shape);
      const step = strides[axis] ?? 1;
      const steps = strides.toSpliced(axis, 1, step * call.int("stride"), step);
      return [hostTensor(x.dataType, shape, stridedCopy(x.data, shape, steps))];
    },
  }),

  flatten2d: defineOp({
    kind: "view",
    numbersOf: "x",
    parameters: { x: tensor(), axis: optional("int", 1) },
    infer: (call) => [flattenedType(call)],
    evaluate: (call) => reshaped(call, flattenedType(call)),
  }),

  shape: defineOp({
    kind: "movement",
    parameters: { x: tensor() },
    infer: (call) => [tensorType("int32", [call.shape("x").length])],
    evaluate: (call) => {
      const { shape } = call.tensor("x");
      return [hostTensor("int32", [shape.length], Float64Array.from(shape))];
    },
  }),
} as const;

function flattenedType(call: OpCall): TensorType {
  const shape = call.shape("x");
  const axis = call.int("axis");
  // The axis may also be the rank: all sizes then stand before it.
  const place = axis === shape.length ? axis : call.normalizeAxis(axis, shape.length);
  return tensorType(call.dataType("x"), [
    product(shape.slice(0, place)),
    product(shape.slice(place)),
  ]);
}
