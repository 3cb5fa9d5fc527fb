import { hostTensor, stridesOf } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { optional, runtime, tensor } from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import { elementCount, staticShape, tensorType } from "../types.ts";
import type { DataType, Dimension, TensorType } from "../types.ts";
import { broadcastShapes } from "./broadcast.ts";
import { commonDataType, derive } from "./dimensions.ts";
import { elementsOfX, mapTensor } from "./elementwise-unary.ts";
import { expandTo, spanOf, stridedCopy } from "./strided.ts";
import { shapeSetting } from "./tensor-transformation.ts";

function tileType(call: OpCall): TensorType {
  const shape = call.shape("x");
  if (!call.isKnown("reps")) {
    return tensorType(
      call.dataType("x"),
      shape.map((): Dimension => "?"),
    );
  }
  const reps = call.ints("reps");
  if (reps.length !== shape.length) {
    throw call.fail(`reps must hold ${shape.length} numbers, one for each axis`);
  }
  return tensorType(
    call.dataType("x"),
    shape.map((size, axis) => {
      const count = reps[axis] ?? 1;
      if (count < 1) throw call.fail(`reps must be 1 or more, not ${count} at axis ${axis}`);
      return count === 1 ? size : derive([size], (all = 0) => all * count);
    }),
  );
}

/** The element type of a typed setting, or the language's default. */
const settingType = (call: OpCall, name: string, fallback: DataType): DataType =>
  call.has(name) ? call.dataType(name) : fallback;

function fillType(call: OpCall): TensorType {
  const dataType = settingType(call, "value", "fp32");
  return tensorType(dataType, shapeSetting(call));
}

function oneHotType(call: OpCall): TensorType {
  const indices = call.shape("indices");
  const dataType = settingType(call, "on_value", settingType(call, "off_value", "int32"));
  if (call.has("on_value") && call.has("off_value")) commonDataType(call, "on_value", "off_value");
  const axis = call.axis("axis", indices.length + 1);
  const size = call.isKnown("one_hot_vector_size") ? call.int("one_hot_vector_size") : "?";
  if (size !== "?" && size < 0) throw call.fail("one_hot_vector_size must not be negative");
  return tensorType(dataType, indices.toSpliced(axis, 0, size));
}

function rangeType(call: OpCall): TensorType {
  const dataType = commonDataType(call, "start", "end", "step");
  const parts = ["start", "end", "step"] as const;
  if (!parts.every((name) => call.isKnown(name))) return tensorType(dataType, ["?"]);
  const [start, end, step] = parts.map((name) => call.float(name));
  if (step === 0) throw call.fail("step must not be 0");
  const count = Math.max(0, Math.ceil(((end ?? 0) - (start ?? 0)) / (step ?? 1)));
  if (!Number.isSafeInteger(count)) throw call.fail(`a range of ${count} elements is not finite`);
  return tensorType(dataType, [count]);
}

function selectType(call: OpCall): TensorType {
  const dataType = commonDataType(call, "a", "b");
  const branches = broadcastShapes(call, call.shape("a"), call.shape("b"));
  return tensorType(dataType, broadcastShapes(call, call.shape("cond"), branches));
}

const outputElements = (type: (call: OpCall) => TensorType) => (call: OpCall) =>
  elementCount(staticShape(type(call)));

export const TENSOR_OPERATION = {
  tile: defineOp({
    kind: "movement",
    numbersOf: "x",
    parameters: { x: tensor(), reps: runtime("ints") },
    infer: (call) => [tileType(call)],
    evaluate: (call) => {
      const x = call.tensor("x");
      const shape = staticShape(tileType(call));
      // Every axis becomes two: the repetition, which does not move, and the elements.
      const split = x.shape.flatMap((size, axis) => [
        size === 0 ? 0 : (shape[axis] ?? 0) / size,
        size,
      ]);
      const steps = stridesOf(x.shape).flatMap((stride) => [0, stride]);
      return [hostTensor(x.dataType, shape, stridedCopy(x.data, split, steps))];
    },
  }),

  band_part: defineOp({
    kind: "movement",
    numbersOf: "operands",
    parameters: { x: tensor(), lower: optional("int", -1), upper: optional("int", -1) },
    infer: (call) => {
      if (call.shape("x").length < 2) throw call.fail("x must have rank 2 or more");
      return [call.tensorType("x")];
    },
    evaluate: (call) => {
      const x = call.tensor("x");
      const lower = call.int("lower");
      const upper = call.int("upper");
      const [rows = 1, columns = 1] = x.shape.slice(-2);
      return [
        mapTensor(x, (value, index) => {
          const row = Math.floor(index / columns) % rows;
          const column = index % columns;
          const kept = (lower < 0 || row - column <= lower) && (upper < 0 || column - row <= upper);
          return kept ? value : 0;
        }),
      ];
    },
  }),

  cumsum: defineOp({
    kind: "costly",
    parameters: {
      x: tensor(),
      axis: optional("int", 0),
      exclusive: optional("bool", false),
      reverse: optional("bool", false),
    },
    infer: (call) => {
      call.axis("axis", call.shape("x").length);
      return [call.tensorType("x")];
    },
    evaluate: (call) => {
      const x = call.tensor("x");
      const { outer, size, inner } = spanOf(x.shape, call.axis("axis", x.shape.length));
      const exclusive = call.bool("exclusive");
      const reverse = call.bool("reverse");
      const output = hostTensor(x.dataType, x.shape);
      for (let o = 0; o < outer; o++) {
        for (let i = 0; i < inner; i++) {
          let total = 0;
          for (let step = 0; step < size; step++) {
            const at = (o * size + (reverse ? size - 1 - step : step)) * inner + i;
            const value = x.data[at] ?? 0;
            output.data[at] = exclusive ? total : total + value;
            total += value;
          }
        }
      }
      return [output];
    },
    flops: elementsOfX,
  }),

  fill: defineOp({
    kind: "movement",
    parameters: { shape: runtime("ints"), value: optional("float", 0) },
    infer: (call) => [fillType(call)],
    evaluate: (call) => {
      const type = fillType(call);
      const output = hostTensor(type.dataType, staticShape(type));
      output.data.fill(call.float("value"));
      return [output];
    },
  }),

  fill_like: defineOp({
    kind: "movement",
    parameters: { ref_tensor: tensor(), value: optional("float", 0) },
    infer: (call) => [tensorType(settingType(call, "value", "fp32"), call.shape("ref_tensor"))],
    evaluate: (call) => {
      const output = hostTensor(
        settingType(call, "value", "fp32"),
        call.tensor("ref_tensor").shape,
      );
      output.data.fill(call.float("value"));
      return [output];
    },
  }),

  one_hot: defineOp({
    kind: "movement",
    parameters: {
      indices: tensor("int32"),
      one_hot_vector_size: runtime("int"),
      axis: optional("int", -1),
      on_value: optional("float", 1),
      off_value: optional("float", 0),
    },
    infer: (call) => [oneHotType(call)],
    // A row whose index is outside holds off_value only; the sources do not say, ONNX and TensorFlow do so.
    evaluate: (call) => {
      const indices = call.tensor("indices");
      const type = oneHotType(call);
      const output = hostTensor(type.dataType, staticShape(type));
      output.data.fill(call.float("off_value"));
      const on = call.float("on_value");
      const { size, inner } = spanOf(output.shape, call.axis("axis", output.shape.length));
      indices.data.forEach((index, at) => {
        if (index < 0 || index >= size) return;
        output.data[(Math.floor(at / inner) * size + index) * inner + (at % inner)] = on;
      });
      return [output];
    },
  }),

  range_1d: defineOp({
    kind: "movement",
    parameters: { start: runtime("float"), end: runtime("float"), step: runtime("float") },
    infer: (call) => [rangeType(call)],
    evaluate: (call) => {
      const type = rangeType(call);
      const start = call.float("start");
      const step = call.float("step");
      const output = hostTensor(type.dataType, staticShape(type));
      for (let i = 0; i < output.data.length; i++) output.data[i] = start + i * step;
      return [output];
    },
  }),

  select: defineOp({
    kind: "elementwise",
    broadcasts: true,
    numbersOf: "operands",
    parameters: { cond: tensor("bool"), a: tensor(), b: tensor() },
    infer: (call) => [selectType(call)],
    evaluate: (call) => {
      const type = selectType(call);
      const shape = staticShape(type);
      const condition = expandTo(call.tensor("cond"), shape);
      const a = expandTo(call.tensor("a"), shape);
      const b = expandTo(call.tensor("b"), shape);
      const output = hostTensor(type.dataType, shape);
      for (let i = 0; i < output.data.length; i++) {
        output.data[i] = (condition[i] === 0 ? b[i] : a[i]) ?? 0;
      }
      return [output];
    },
    flops: outputElements(selectType),
  }),
} as const;
