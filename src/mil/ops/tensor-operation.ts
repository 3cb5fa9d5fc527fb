import { hostTensor, stridesOf } from "../host-tensor.ts";
import type { HostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { defineOp, optional, required, runtime, tensor, tensors } from "../op-row.ts";
import { elementCount, staticShape, tensorType } from "../types.ts";
import type { DataType, Dimension, TensorType } from "../types.ts";
import { broadcastShapes } from "./broadcast.ts";
import { agree, commonDataType, derive, formatShape, known, sum } from "./dimensions.ts";
import { elementsOfX } from "./elementwise-unary.ts";
import { expandTo, spanOf, stridedCopy } from "./strided.ts";
import { openShape, shapeLength } from "./tensor-transformation.ts";

/** Types of a variadic parameter, which must agree in element type and rank. */
function variadicTypes(call: OpCall): readonly TensorType[] {
  const types = call.operands("values").map((operand) => call.tensorTypeOf(operand, "values"));
  const [first] = types;
  if (first === undefined) throw call.fail("values must hold at least one tensor");
  for (const type of types) {
    if (type.dataType !== first.dataType) {
      throw call.fail(
        `values must have one element type, not ${first.dataType} and ${type.dataType}`,
      );
    }
    if (type.shape.length !== first.shape.length) {
      throw call.fail(
        `values must have one rank, not ${first.shape.length} and ${type.shape.length}`,
      );
    }
  }
  return types;
}

const variadicTensors = (call: OpCall): readonly HostTensor[] =>
  call.operands("values").map((operand) => call.tensorOf(operand, "values"));

function concatType(call: OpCall): TensorType {
  const types = variadicTypes(call);
  const [first, ...others] = types;
  const shape = [...(first?.shape ?? [])];
  const dataType = first?.dataType ?? "fp32";
  // Scalars become a vector.
  if (shape.length === 0) return tensorType(dataType, [types.length]);
  const axis = call.axis("axis", shape.length);
  const interleave = call.bool("interleave");
  for (const other of others) {
    other.shape.forEach((size, place) => {
      const wanted = shape[place] ?? 1;
      if (place === axis && !interleave) return;
      if (!agree(size, wanted)) {
        throw call.fail(
          `values have sizes ${wanted} and ${size} at axis ${place}`,
          place === axis ? "With interleave all shapes must be equal." : undefined,
        );
      }
      if (place !== axis) shape[place] = known(wanted, size);
    });
  }
  shape[axis] = sum(types.map((type) => type.shape[axis] ?? 1));
  return tensorType(dataType, shape);
}

function stackType(call: OpCall): TensorType {
  const types = variadicTypes(call);
  const shape = [...(types[0]?.shape ?? [])];
  for (const { shape: other } of types) {
    other.forEach((size, axis) => {
      const wanted = shape[axis] ?? 1;
      if (!agree(size, wanted)) {
        throw call.fail(
          `values must have one shape, not ${formatShape(shape)} and ${formatShape(other)}`,
        );
      }
      shape[axis] = known(wanted, size);
    });
  }
  const axis = call.axis("axis", shape.length + 1);
  return tensorType(types[0]?.dataType ?? "fp32", shape.toSpliced(axis, 0, types.length));
}

/** One of `outer` equal blocks of every part in turn. */
function joinBlocks(type: TensorType, parts: readonly HostTensor[], outer: number): HostTensor {
  const output = hostTensor(type.dataType, staticShape(type));
  let target = 0;
  for (let o = 0; o < outer; o++) {
    for (const { data } of parts) {
      const block = data.length / outer;
      output.data.set(data.subarray(o * block, (o + 1) * block), target);
      target += block;
    }
  }
  return output;
}

function splitTypes(call: OpCall): readonly TensorType[] {
  const shape = call.shape("x");
  const axis = call.axis("axis", shape.length);
  const size = shape[axis] ?? 1;
  return splitSizes(call, size).map((part) =>
    tensorType(call.dataType("x"), shape.with(axis, part)),
  );
}

function splitSizes(call: OpCall, size: Dimension): readonly Dimension[] {
  const count = call.has("num_splits") ? call.int("num_splits") : undefined;
  if (call.has("split_sizes")) {
    const sizes = call.ints("split_sizes");
    const total = sizes.reduce((all, part) => all + part, 0);
    if (size !== "?" && total !== size) {
      throw call.fail(`split_sizes ${formatShape(sizes)} sum to ${total}, the axis has ${size}`);
    }
    if (count !== undefined && count !== sizes.length) {
      throw call.fail(`num_splits is ${count}, split_sizes holds ${sizes.length} sizes`);
    }
    return sizes;
  }
  if (count === undefined) throw call.fail("num_splits or split_sizes must be given");
  if (!Number.isInteger(count) || count < 1 || count > 65536) {
    throw call.fail(`num_splits must be 1 or more, not ${count}`);
  }
  const part = derive([size], (all = 0) => {
    if (all % count !== 0) throw call.fail(`${count} equal parts do not divide an axis of ${all}`);
    return all / count;
  });
  return Array.from({ length: count }, () => part);
}

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

export const PAD_MODES = ["constant", "reflect", "replicate"] as const;

function padMode(call: OpCall): (typeof PAD_MODES)[number] {
  const mode = call.string("mode");
  const found = PAD_MODES.find((name) => name === mode);
  if (found === undefined) throw call.fail(`mode "${mode}" is none of ${PAD_MODES.join(", ")}`);
  return found;
}

/** Elements before and after every axis; `pad` speaks of the last axes. */
function padding(call: OpCall, rank: number): readonly (readonly [number, number])[] {
  const pad = call.ints("pad");
  if (pad.length % 2 !== 0 || pad.length > 2 * rank) {
    throw call.fail(`pad must hold two numbers an axis, for at most ${rank} axes`);
  }
  const skipped = rank - pad.length / 2;
  return Array.from({ length: rank }, (_, axis) => {
    const at = 2 * (axis - skipped);
    return at < 0 ? [0, 0] : [pad[at] ?? 0, pad[at + 1] ?? 0];
  });
}

function padType(call: OpCall): TensorType {
  const shape = call.shape("x");
  const mode = padMode(call);
  if (!call.isKnown("pad")) {
    if (shapeLength(call, "pad") !== 2 * shape.length) {
      throw call.fail(`a pad that is not constant must hold ${2 * shape.length} numbers`);
    }
    return tensorType(
      call.dataType("x"),
      shape.map((): Dimension => "?"),
    );
  }
  return tensorType(
    call.dataType("x"),
    padding(call, shape.length).map(([before, after], axis) => {
      if (before < 0 || after < 0) throw call.fail("pad must not be negative");
      return derive([shape[axis] ?? 1], (size = 0) => {
        const limit = mode === "reflect" ? size - 1 : mode === "replicate" ? size : Infinity;
        if (Math.max(before, after) > limit) {
          throw call.fail(
            `mode ${mode} can add at most ${limit} to axis ${axis} of ${size}, not ${Math.max(before, after)}`,
          );
        }
        return before + size + after;
      });
    }),
  );
}

/** Pads one axis after another. */
function padTensor(
  x: HostTensor,
  pads: readonly (readonly [number, number])[],
  mode: (typeof PAD_MODES)[number],
  constant: number,
): HostTensor {
  let current = x;
  pads.forEach(([before, after], axis) => {
    if (before === 0 && after === 0) return;
    const { outer, size, inner } = spanOf(current.shape, axis);
    const length = before + size + after;
    const output = hostTensor(x.dataType, current.shape.with(axis, length));
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < length; i++) {
        const target = (o * length + i) * inner;
        const source = paddedIndex(i - before, size, mode);
        if (source === undefined) output.data.fill(constant, target, target + inner);
        else {
          const start = (o * size + source) * inner;
          output.data.set(current.data.subarray(start, start + inner), target);
        }
      }
    }
    current = output;
  });
  return current;
}

function paddedIndex(index: number, size: number, mode: (typeof PAD_MODES)[number]) {
  if (index >= 0 && index < size) return index;
  switch (mode) {
    case "constant":
      return undefined;
    case "reflect":
      return index < 0 ? -index : 2 * (size - 1) - index;
    case "replicate":
      return index < 0 ? 0 : size - 1;
  }
}

/** The element type of a typed setting, or the language's default. */
const settingType = (call: OpCall, name: string, fallback: DataType): DataType =>
  call.has(name) ? call.dataType(name) : fallback;

function fillType(call: OpCall): TensorType {
  const dataType = settingType(call, "value", "fp32");
  if (!call.isKnown("shape")) {
    return tensorType(dataType, openShape(call, "shape"));
  }
  const shape = call.ints("shape");
  if (shape.some((size) => size < 0)) throw call.fail(`shape ${formatShape(shape)} is negative`);
  return tensorType(dataType, shape);
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
  concat: defineOp({
    parameters: {
      values: tensors(),
      axis: required("int"),
      interleave: optional("bool", false),
    },
    since: "ios13",
    infer: (call) => [concatType(call)],
    evaluate: (call) => {
      const type = concatType(call);
      const parts = variadicTensors(call);
      const axis = call.axis("axis", type.shape.length);
      // Interleaving takes one row of the axis from each in turn, else all of its rows.
      const blockAxes = call.bool("interleave") ? axis + 1 : axis;
      const [first] = parts;
      return [joinBlocks(type, parts, elementCount(first?.shape.slice(0, blockAxes) ?? []))];
    },
    flops: () => 0,
  }),

  stack: defineOp({
    parameters: { values: tensors(), axis: required("int") },
    since: "ios13",
    infer: (call) => [stackType(call)],
    evaluate: (call) => {
      const type = stackType(call);
      const axis = call.axis("axis", type.shape.length);
      const outer = elementCount(staticShape(type).slice(0, axis));
      return [joinBlocks(type, variadicTensors(call), outer)];
    },
    flops: () => 0,
  }),

  split: defineOp({
    parameters: {
      x: tensor(),
      num_splits: optional("int"),
      split_sizes: optional("ints"),
      axis: required("int"),
    },
    since: "ios13",
    infer: splitTypes,
    evaluate: (call) => {
      const x = call.tensor("x");
      const axis = call.axis("axis", x.shape.length);
      const strides = stridesOf(x.shape);
      let offset = 0;
      return splitTypes(call).map((type) => {
        const shape = staticShape(type);
        const part = stridedCopy(x.data, shape, strides, offset);
        offset += (shape[axis] ?? 0) * (strides[axis] ?? 0);
        return hostTensor(x.dataType, shape, part);
      });
    },
    flops: () => 0,
  }),

  tile: defineOp({
    parameters: { x: tensor(), reps: runtime("ints") },
    since: "ios13",
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
    flops: () => 0,
  }),

  pad: defineOp({
    parameters: {
      x: tensor(),
      pad: runtime("ints"),
      mode: optional("string", "constant"),
      constant_val: optional("float", 0),
    },
    since: "ios13",
    infer: (call) => [padType(call)],
    evaluate: (call) => {
      padType(call);
      const x = call.tensor("x");
      const pads = padding(call, x.shape.length);
      return [padTensor(x, pads, padMode(call), call.float("constant_val"))];
    },
    flops: () => 0,
  }),

  band_part: defineOp({
    parameters: { x: tensor(), lower: optional("int", -1), upper: optional("int", -1) },
    since: "ios13",
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
        hostTensor(
          x.dataType,
          x.shape,
          x.data.map((value, index) => {
            const row = Math.floor(index / columns) % rows;
            const column = index % columns;
            const kept =
              (lower < 0 || row - column <= lower) && (upper < 0 || column - row <= upper);
            return kept ? value : 0;
          }),
        ),
      ];
    },
    flops: () => 0,
  }),

  cumsum: defineOp({
    parameters: {
      x: tensor(),
      axis: optional("int", 0),
      exclusive: optional("bool", false),
      reverse: optional("bool", false),
    },
    since: "ios13",
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
    parameters: { shape: runtime("ints"), value: optional("float", 0) },
    since: "ios13",
    infer: (call) => [fillType(call)],
    evaluate: (call) => {
      const type = fillType(call);
      const output = hostTensor(type.dataType, staticShape(type));
      output.data.fill(call.float("value"));
      return [output];
    },
    flops: () => 0,
  }),

  fill_like: defineOp({
    parameters: { ref_tensor: tensor(), value: optional("float", 0) },
    since: "ios16",
    infer: (call) => [tensorType(settingType(call, "value", "fp32"), call.shape("ref_tensor"))],
    evaluate: (call) => {
      const output = hostTensor(
        settingType(call, "value", "fp32"),
        call.tensor("ref_tensor").shape,
      );
      output.data.fill(call.float("value"));
      return [output];
    },
    flops: () => 0,
  }),

  one_hot: defineOp({
    parameters: {
      indices: tensor("int32"),
      one_hot_vector_size: runtime("int"),
      axis: optional("int", -1),
      on_value: optional("float", 1),
      off_value: optional("float", 0),
    },
    since: "ios13",
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
    flops: () => 0,
  }),

  range_1d: defineOp({
    parameters: { start: runtime("float"), end: runtime("float"), step: runtime("float") },
    since: "ios13",
    infer: (call) => [rangeType(call)],
    evaluate: (call) => {
      const type = rangeType(call);
      const start = call.float("start");
      const step = call.float("step");
      const output = hostTensor(type.dataType, staticShape(type));
      for (let i = 0; i < output.data.length; i++) output.data[i] = start + i * step;
      return [output];
    },
    flops: () => 0,
  }),

  select: defineOp({
    parameters: { cond: tensor("bool"), a: tensor(), b: tensor() },
    since: "ios13",
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
