import { hostTensor, stridesOf } from "../host-tensor.ts";
import type { HostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { optional, required, tensor, tensors } from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import { elementCount, staticShape, tensorType } from "../types.ts";
import type { Dimension, TensorType } from "../types.ts";
import { agree, derive, formatShape, known, sum } from "./dimensions.ts";
import { stridedCopy } from "./strided.ts";

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

export const JOINING = {
  concat: defineOp({
    kind: "movement",
    numbersOf: "operands",
    parameters: {
      values: tensors(),
      axis: required("int"),
      interleave: optional("bool", false),
    },
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
  }),

  stack: defineOp({
    kind: "movement",
    numbersOf: "operands",
    parameters: { values: tensors(), axis: required("int") },
    infer: (call) => [stackType(call)],
    evaluate: (call) => {
      const type = stackType(call);
      const axis = call.axis("axis", type.shape.length);
      const outer = elementCount(staticShape(type).slice(0, axis));
      return [joinBlocks(type, variadicTensors(call), outer)];
    },
  }),

  split: defineOp({
    kind: "movement",
    numbersOf: "x",
    parameters: {
      x: tensor(),
      num_splits: optional("int"),
      split_sizes: optional("ints"),
      axis: required("int"),
    },
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
  }),
} as const;
