import { hostTensor } from "../host-tensor.ts";
import type { HostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { optional, tensor } from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import { elementCount, staticShape, tensorType } from "../types.ts";
import type { Dimension, TensorType } from "../types.ts";
import { agree, commonDataType, formatShape, sameOrUnknown } from "./dimensions.ts";
import { spanOf } from "./strided.ts";

const INDICES = tensor("int32", "int8", "uint8", "int16", "uint16");

export const SCATTER_MODES = ["update", "add", "sub", "mul", "div", "max", "min"] as const;
export type ScatterMode = (typeof SCATTER_MODES)[number];

const COMBINE: Record<ScatterMode, (old: number, update: number) => number> = {
  update: (_, update) => update,
  add: (old, update) => old + update,
  sub: (old, update) => old - update,
  mul: (old, update) => old * update,
  div: (old, update) => old / update,
  max: Math.max,
  min: Math.min,
};

const combineOf = (call: OpCall): ((old: number, update: number) => number) =>
  COMBINE[call.choice("mode", SCATTER_MODES)];

/**
 * An index counted from the front. Negative ones count from the end. What an index outside does is left open
 * by the language (with `validate_indices` it is an error, without it the result is undefined); here it is
 * always an error, so that a program that relies on it is noticed.
 */
function place(call: OpCall, index: number, size: number): number {
  const position = index < 0 ? index + size : index;
  if (position < 0 || position >= size) {
    throw call.fail(`index ${index} is outside the ${size} elements of the axis`);
  }
  return position;
}

/** batch_dims counted from the front, at most `limit`. Throws where the leading sizes differ. */
function batchDimensions(call: OpCall, limit: number): number {
  const rank = call.shape("indices").length;
  const given = call.int("batch_dims");
  const count = given < 0 ? given + rank : given;
  if (count < 0 || count > limit || count > rank) {
    throw call.fail(`batch_dims ${given} is outside 0 to ${Math.min(limit, rank)}`);
  }
  const x = call.shape("x");
  const indices = call.shape("indices");
  if (!sameOrUnknown(x.slice(0, count), indices.slice(0, count))) {
    throw call.fail(`the first ${count} sizes of x and indices must be equal`);
  }
  return count;
}

function gatherType(call: OpCall): TensorType {
  const x = call.shape("x");
  const indices = call.shape("indices");
  const axis = call.axis("axis", x.length);
  const batch = batchDimensions(call, axis);
  return tensorType(call.dataType("x"), [
    ...x.slice(0, axis),
    ...indices.slice(batch),
    ...x.slice(axis + 1),
  ]);
}

function alongType(call: OpCall, data: string): number {
  const shape = call.shape(data);
  const indices = call.shape("indices");
  const axis = call.axis("axis", shape.length);
  if (shape.length !== indices.length) {
    throw call.fail(`${data} has rank ${shape.length} and indices rank ${indices.length}`);
  }
  shape.forEach((size, other) => {
    const wanted = indices[other] ?? 1;
    if (other !== axis && !agree(size, wanted)) {
      throw call.fail(`${data} and indices have sizes ${size} and ${wanted} at axis ${other}`);
    }
  });
  return axis;
}

/** Length of the index tuples in the last axis of `indices`. */
function tupleLength(call: OpCall, data: string, batch: number): number {
  const length = call.shape("indices").at(-1);
  const rank = call.shape(data).length - batch;
  if (typeof length !== "number" || length > rank) {
    throw call.fail(
      `the last size of indices is the length of an index and must be at most ${rank}, not ${length}`,
    );
  }
  return length;
}

function gatherNdType(call: OpCall): TensorType {
  const indices = call.shape("indices");
  const batch = batchDimensions(call, Math.min(indices.length - 1, call.shape("x").length));
  const length = tupleLength(call, "x", batch);
  return tensorType(call.dataType("x"), [
    ...indices.slice(0, -1),
    ...call.shape("x").slice(batch + length),
  ]);
}

function checkUpdates(call: OpCall, wanted: readonly Dimension[]): void {
  commonDataType(call, "data", "updates");
  combineOf(call);
  if (!sameOrUnknown(call.shape("updates"), wanted)) {
    throw call.fail(
      `updates has shape ${formatShape(call.shape("updates"))}, these indices need ${formatShape(wanted)}`,
    );
  }
}

/** Flat start of the slice an index tuple names. */
function tuplePosition(
  call: OpCall,
  indices: Float64Array,
  start: number,
  sizes: readonly number[],
): number {
  let position = 0;
  sizes.forEach((size, axis) => {
    position = position * size + place(call, indices[start + axis] ?? 0, size);
  });
  return position;
}

const copyOf = (data: HostTensor): HostTensor =>
  hostTensor(data.dataType, data.shape, data.data.slice());

const updateCount = (call: OpCall): number => elementCount(call.staticShape("updates"));

const SCATTER_PARAMETERS = {
  data: tensor(),
  indices: INDICES,
  updates: tensor(),
  mode: optional("string", "add"),
  validate_indices: optional("bool", false),
} as const;

export const GATHER_SCATTER = {
  gather: defineOp({
    kind: "movement",
    numbersOf: "x",
    parameters: {
      x: tensor(),
      indices: INDICES,
      axis: optional("int", 0),
      batch_dims: optional("int", 0),
      validate_indices: optional("bool", false),
    },
    infer: (call) => [gatherType(call)],
    evaluate: (call) => {
      const x = call.tensor("x");
      const indices = call.tensor("indices");
      const axis = call.axis("axis", x.shape.length);
      const batch = batchDimensions(call, axis);
      const { size, inner } = spanOf(x.shape, axis);
      const batches = elementCount(x.shape.slice(0, batch));
      const outer = elementCount(x.shape.slice(batch, axis));
      const picks = elementCount(indices.shape.slice(batch));
      const output = hostTensor(x.dataType, staticShape(gatherType(call)));
      let target = 0;
      for (let b = 0; b < batches; b++) {
        for (let o = 0; o < outer; o++) {
          for (let i = 0; i < picks; i++) {
            const index = place(call, indices.data[b * picks + i] ?? 0, size);
            const start = ((b * outer + o) * size + index) * inner;
            output.data.set(x.data.subarray(start, start + inner), target);
            target += inner;
          }
        }
      }
      return [output];
    },
  }),

  gather_along_axis: defineOp({
    kind: "movement",
    numbersOf: "x",
    parameters: {
      x: tensor(),
      indices: INDICES,
      axis: optional("int", 0),
      validate_indices: optional("bool", false),
    },
    infer: (call) => {
      alongType(call, "x");
      return [tensorType(call.dataType("x"), call.shape("indices"))];
    },
    evaluate: (call) => {
      const x = call.tensor("x");
      const indices = call.tensor("indices");
      const axis = alongType(call, "x");
      const { size, inner } = spanOf(x.shape, axis);
      const picks = indices.shape[axis] ?? 1;
      const output = hostTensor(x.dataType, indices.shape);
      for (let i = 0; i < output.data.length; i++) {
        const outer = Math.floor(i / (picks * inner));
        const index = place(call, indices.data[i] ?? 0, size);
        output.data[i] = x.data[(outer * size + index) * inner + (i % inner)] ?? 0;
      }
      return [output];
    },
  }),

  gather_nd: defineOp({
    kind: "movement",
    numbersOf: "x",
    parameters: {
      x: tensor(),
      indices: INDICES,
      batch_dims: optional("int", 0),
      validate_indices: optional("bool", false),
    },
    infer: (call) => [gatherNdType(call)],
    evaluate: (call) => {
      const x = call.tensor("x");
      const indices = call.tensor("indices");
      const batch = batchDimensions(call, Math.min(indices.shape.length - 1, x.shape.length));
      const length = tupleLength(call, "x", batch);
      const sizes = x.shape.slice(batch, batch + length);
      const inner = elementCount(x.shape.slice(batch + length));
      const tuplesPerBatch = elementCount(indices.shape.slice(batch, -1));
      const output = hostTensor(x.dataType, staticShape(gatherNdType(call)));
      for (let tuple = 0; tuple * inner < output.data.length; tuple++) {
        const b = Math.floor(tuple / tuplesPerBatch);
        const position = tuplePosition(call, indices.data, tuple * length, sizes);
        const start = (b * elementCount(sizes) + position) * inner;
        output.data.set(x.data.subarray(start, start + inner), tuple * inner);
      }
      return [output];
    },
  }),

  scatter: defineOp({
    kind: "costly",
    addsTo: "data",
    parameters: { ...SCATTER_PARAMETERS, axis: optional("int", 0) },
    infer: (call) => {
      const shape = call.shape("data");
      const axis = call.axis("axis", shape.length);
      checkUpdates(call, [
        ...shape.slice(0, axis),
        ...call.shape("indices"),
        ...shape.slice(axis + 1),
      ]);
      return [call.tensorType("data")];
    },
    evaluate: (call) => {
      const output = copyOf(call.tensor("data"));
      const indices = call.tensor("indices").data;
      const updates = call.tensor("updates").data;
      const combine = combineOf(call);
      const { outer, size, inner } = spanOf(output.shape, call.axis("axis", output.shape.length));
      let source = 0;
      for (let o = 0; o < outer; o++) {
        for (const index of indices) {
          const start = (o * size + place(call, index, size)) * inner;
          for (let i = start; i < start + inner; i++) {
            output.data[i] = combine(output.data[i] ?? 0, updates[source++] ?? 0);
          }
        }
      }
      return [output];
    },
    flops: updateCount,
  }),

  scatter_along_axis: defineOp({
    kind: "costly",
    addsTo: "data",
    parameters: { ...SCATTER_PARAMETERS, axis: optional("int", 0) },
    infer: (call) => {
      alongType(call, "data");
      checkUpdates(call, call.shape("indices"));
      return [call.tensorType("data")];
    },
    evaluate: (call) => {
      const output = copyOf(call.tensor("data"));
      const indices = call.tensor("indices");
      const updates = call.tensor("updates").data;
      const combine = combineOf(call);
      const axis = alongType(call, "data");
      const { size, inner } = spanOf(output.shape, axis);
      const picks = indices.shape[axis] ?? 1;
      for (let i = 0; i < updates.length; i++) {
        const outer = Math.floor(i / (picks * inner));
        const index = place(call, indices.data[i] ?? 0, size);
        const target = (outer * size + index) * inner + (i % inner);
        output.data[target] = combine(output.data[target] ?? 0, updates[i] ?? 0);
      }
      return [output];
    },
    flops: updateCount,
  }),

  scatter_nd: defineOp({
    kind: "costly",
    addsTo: "data",
    parameters: SCATTER_PARAMETERS,
    infer: (call) => {
      const length = tupleLength(call, "data", 0);
      const indices = call.shape("indices");
      checkUpdates(call, [...indices.slice(0, -1), ...call.shape("data").slice(length)]);
      return [call.tensorType("data")];
    },
    evaluate: (call) => {
      const output = copyOf(call.tensor("data"));
      const indices = call.tensor("indices");
      const updates = call.tensor("updates").data;
      const combine = combineOf(call);
      const length = tupleLength(call, "data", 0);
      const sizes = output.shape.slice(0, length);
      const inner = elementCount(output.shape.slice(length));
      const tuples = elementCount(indices.shape.slice(0, -1));
      for (let tuple = 0; tuple < tuples; tuple++) {
        const start = tuplePosition(call, indices.data, tuple * length, sizes) * inner;
        for (let i = 0; i < inner; i++) {
          const update = updates[tuple * inner + i] ?? 0;
          output.data[start + i] = combine(output.data[start + i] ?? 0, update);
        }
      }
      return [output];
    },
    flops: updateCount,
  }),
} as const;
