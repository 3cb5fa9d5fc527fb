import { hostTensor, stridesOf } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { optional, runtime, tensor } from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import { staticShape, tensorType } from "../types.ts";
import type { Dimension, TensorType } from "../types.ts";
import { agree, commonDataType, formatShape, sameOrUnknown } from "./dimensions.ts";
import { stridedCopy, stridedWrite } from "./strided.ts";

/** One axis of a slice: `count` elements from `start`, `step` apart. */
export interface AxisSlice {
  readonly start: number;
  readonly step: number;
  readonly count: number;
  readonly squeezed: boolean;
}

/** NumPy's rules for one axis of a known size: negative bounds count from the end, then bounds are clamped. */
export function sliceAxis(
  size: number,
  step: number,
  begin: number | undefined,
  end: number | undefined,
): { readonly start: number; readonly count: number } {
  const low = step > 0 ? 0 : -1;
  const high = step > 0 ? size : size - 1;
  const bound = (value: number): number =>
    Math.min(Math.max(value < 0 ? value + size : value, low), high);
  const start = begin === undefined ? (step > 0 ? 0 : size - 1) : bound(begin);
  const stop = end === undefined ? (step > 0 ? size : -1) : bound(end);
  return { start, count: Math.max(0, Math.ceil((stop - start) / step)) };
}

function checkLength(call: OpCall, name: string, rank: number): void {
  if (!call.has(name)) return;
  const [length = 1] = call.shape(name);
  if (!agree(length, rank)) throw call.fail(`${name} must hold ${rank} values, one for each axis`);
}

function sliceSettings(call: OpCall) {
  const rank = call.shape("x").length;
  for (const name of ["begin", "end", "stride", "begin_mask", "end_mask", "squeeze_mask"]) {
    checkLength(call, name, rank);
  }
  const steps = call.has("stride") ? call.ints("stride") : undefined;
  if (steps?.includes(0) === true) throw call.fail("stride must not be 0");
  const squeezeMask = call.bools("squeeze_mask");
  return {
    step: (axis: number): number => steps?.[axis] ?? 1,
    begin: call.isKnown("begin") ? call.ints("begin") : undefined,
    end: call.isKnown("end") ? call.ints("end") : undefined,
    beginMask: call.bools("begin_mask"),
    endMask: call.bools("end_mask"),
    squeezed: (axis: number): boolean => squeezeMask[axis] === true,
  };
}

/** The slices of all axes, for tensors of known shape and known bounds. */
export function slicesOf(call: OpCall, shape: readonly number[]): readonly AxisSlice[] {
  const { step, begin, end, beginMask, endMask, squeezed } = sliceSettings(call);
  return shape.map((size, axis) => {
    const from = beginMask[axis] === true ? undefined : begin?.[axis];
    if (squeezed(axis)) {
      const index = from ?? 0;
      const start = index < 0 ? index + size : index;
      if (start < 0 || start >= size) {
        throw call.fail(`index ${index} is outside axis ${axis} of ${size}`);
      }
      return { start, step: 1, count: 1, squeezed: true };
    }
    const to = endMask[axis] === true ? undefined : end?.[axis];
    return { ...sliceAxis(size, step(axis), from, to), step: step(axis), squeezed: false };
  });
}

function sliceType(call: OpCall): TensorType {
  const shape = call.shape("x");
  const { step, begin, end, beginMask, endMask, squeezed } = sliceSettings(call);
  const result: Dimension[] = [];
  shape.forEach((size, axis) => {
    if (squeezed(axis)) return;
    const fromStart = beginMask[axis] === true;
    const toEnd = endMask[axis] === true;
    if (fromStart && toEnd && size === "?") {
      result.push(Math.abs(step(axis)) === 1 ? size : "?");
    } else if (
      size === "?" ||
      (!fromStart && begin === undefined) ||
      (!toEnd && end === undefined)
    ) {
      result.push(
        openSize(step(axis), fromStart ? 0 : begin?.[axis], toEnd ? undefined : end?.[axis]),
      );
    } else {
      const from = fromStart ? undefined : begin?.[axis];
      const to = toEnd ? undefined : end?.[axis];
      result.push(sliceAxis(size, step(axis), from, to).count);
    }
  });
  return tensorType(call.dataType("x"), result);
}

/** The size of a slice of an axis of unknown size where the bounds alone decide it (coremltools' rule). */
function openSize(step: number, begin: number | undefined, end: number | undefined): Dimension {
  if (begin === undefined || end === undefined) return "?";
  const count = Math.ceil((end - begin) / step);
  if (begin >= 0 && end >= 0 && step > 0 && count <= 1) return Math.max(0, count);
  if (begin < 0 && end < 0 && step < 0 && count <= 1) return Math.max(0, count);
  return "?";
}

function sizedType(call: OpCall): TensorType {
  const shape = call.shape("x");
  checkLength(call, "begin", shape.length);
  checkLength(call, "size", shape.length);
  if (!call.isKnown("size")) {
    return tensorType(
      call.dataType("x"),
      shape.map((): Dimension => "?"),
    );
  }
  const begin = call.isKnown("begin") ? call.ints("begin") : undefined;
  const sizes = call.ints("size").map((wanted, axis): Dimension => {
    const available = shape[axis] ?? 1;
    const from = begin?.[axis];
    const start = from !== undefined && from < 0 && available !== "?" ? from + available : from;
    if (wanted === -1) {
      return start === undefined || start < 0 || available === "?" ? "?" : available - start;
    }
    if (wanted < -1) throw call.fail(`size ${wanted} at axis ${axis} is negative`);
    if (available !== "?" && (start ?? 0) + wanted > available) {
      throw call.fail(`${wanted} elements from ${start ?? 0} exceed axis ${axis} of ${available}`);
    }
    return wanted;
  });
  return tensorType(call.dataType("x"), sizes);
}

function checkUpdate(call: OpCall, given: readonly Dimension[]): void {
  commonDataType(call, "x", "update");
  const { shape } = sliceType(call);
  if (!sameOrUnknown(given, shape)) {
    throw call.fail(`update has shape ${formatShape(given)}, the slice has ${formatShape(shape)}`);
  }
}

const SLICE_SETTINGS = {
  begin: runtime("ints"),
  end: runtime("ints"),
  stride: optional("ints"),
  begin_mask: optional("bools"),
  end_mask: optional("bools"),
  squeeze_mask: optional("bools"),
} as const;

export function offsetOf(slices: readonly AxisSlice[], strides: readonly number[]): number {
  return slices.reduce((offset, { start }, axis) => offset + start * (strides[axis] ?? 0), 0);
}

export const SLICING = {
  slice_by_index: defineOp({
    kind: "movement",
    numbersOf: "x",
    parameters: { x: tensor(), ...SLICE_SETTINGS },
    infer: (call) => [sliceType(call)],
    evaluate: (call) => {
      const x = call.tensor("x");
      const slices = slicesOf(call, x.shape);
      const strides = stridesOf(x.shape);
      const numbers = stridedCopy(
        x.data,
        slices.map(({ count }) => count),
        slices.map(({ step }, axis) => step * (strides[axis] ?? 0)),
        offsetOf(slices, strides),
      );
      const shape = slices.filter(({ squeezed }) => !squeezed).map(({ count }) => count);
      return [hostTensor(x.dataType, shape, numbers)];
    },
  }),

  slice_by_size: defineOp({
    kind: "movement",
    numbersOf: "x",
    parameters: { x: tensor(), begin: runtime("ints"), size: runtime("ints") },
    infer: (call) => [sizedType(call)],
    evaluate: (call) => {
      const x = call.tensor("x");
      const shape = staticShape(sizedType(call));
      const strides = stridesOf(x.shape);
      let offset = 0;
      call.ints("begin").forEach((begin, axis) => {
        const size = x.shape[axis] ?? 1;
        const start = begin < 0 ? begin + size : begin;
        if (start < 0 || start + (shape[axis] ?? 0) > size) {
          throw call.fail(`${shape[axis]} elements from ${begin} exceed axis ${axis} of ${size}`);
        }
        offset += start * (strides[axis] ?? 0);
      });
      return [hostTensor(x.dataType, shape, stridedCopy(x.data, shape, strides, offset))];
    },
  }),

  slice_update: defineOp({
    kind: "movement",
    numbersOf: "operands",
    parameters: { x: tensor(), update: tensor(), ...SLICE_SETTINGS },
    infer: (call) => {
      checkUpdate(call, call.shape("update"));
      return [call.tensorType("x")];
    },
    evaluate: (call) => {
      const x = call.tensor("x");
      const update = call.tensor("update");
      const slices = slicesOf(call, x.shape);
      checkUpdate(call, update.shape);
      const strides = stridesOf(x.shape);
      const numbers = x.data.slice();
      stridedWrite(
        numbers,
        update.data,
        slices.map(({ count }) => count),
        slices.map(({ step }, axis) => step * (strides[axis] ?? 0)),
        offsetOf(slices, strides),
      );
      return [hostTensor(x.dataType, x.shape, numbers)];
    },
  }),
} as const;
