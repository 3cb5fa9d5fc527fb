import { hostTensor, stridesOf } from "../../mil/host-tensor.ts";
import type { HostTensor } from "../../mil/host-tensor.ts";
import type { OpCall } from "../../mil/op-call.ts";
import { offsetOf, slicesOf } from "../../mil/ops/slicing.ts";
import { permute } from "../../mil/ops/strided.ts";
import { elementCount } from "../../mil/types.ts";
import type { SimKernel } from "./context.ts";
import { HalfTensor } from "./half-tensor.ts";
import { TASK_ELEMENTS } from "./machine.ts";
import type { Machine } from "./machine.ts";
import type { KernelCall } from "./pool.ts";

/** Sizes and strides that move.wasm takes. */
const RANK = 4;

/** One axis of a copy: its size and what a step on it is in source and target, in numbers. */
interface Axis {
  readonly size: number;
  readonly from: number;
  readonly to: number;
}

/** Axes of 1 left out, axes that follow each other on both sides joined. */
function joinedAxes(axes: readonly Axis[]): readonly Axis[] {
  const joined: Axis[] = [];
  for (const axis of axes) {
    if (axis.size === 1) continue;
    const before = joined.at(-1);
    const follows =
      before !== undefined &&
      before.from === axis.from * axis.size &&
      before.to === axis.to * axis.size;
    if (follows) joined[joined.length - 1] = { ...axis, size: before.size * axis.size };
    else joined.push(axis);
  }
  return joined;
}

/** Axes beyond those a task takes are gone through here, up to this many steps. */
const MAXIMUM_STEPS = 1024;

/** Tasks that copy between two addresses; nothing where the axes are too many. */
function copyCalls(
  from: number,
  to: number,
  axes: readonly Axis[],
): readonly KernelCall[] | undefined {
  const joined = joinedAxes(axes);
  if (axes.some(({ size }) => size === 0)) return [];
  if (joined.length > RANK) return stepCalls(from, to, joined);
  const padding = Array.from({ length: RANK - joined.length }, () => ({ size: 1, from: 0, to: 0 }));
  const all = [...padding, ...joined];
  // The first axis with something to divide is shared out.
  const split = Math.min(padding.length, RANK - 2);
  const { size = 1, from: fromStep = 0, to: toStep = 0 } = all[split] ?? {};
  const each = all.slice(split + 1).reduce((count, axis) => count * axis.size, 1);
  const part = Math.max(1, Math.ceil(TASK_ELEMENTS / each));
  const calls: KernelCall[] = [];
  for (let start = 0; start < size; start += part) {
    const sizes = all.map((axis, index) =>
      index === split ? Math.min(part, size - start) : axis.size,
    );
    calls.push({
      kernel: "move",
      numbers: [
        from + 4 * start * fromStep,
        to + 4 * start * toStep,
        ...sizes,
        ...all.map((axis) => axis.from),
        ...all.map((axis) => axis.to),
      ],
    });
  }
  return calls;
}

/** The tasks of each step on the first axis. */
function stepCalls(
  from: number,
  to: number,
  [first, ...rest]: readonly Axis[],
): readonly KernelCall[] | undefined {
  if (first === undefined) return [];
  const calls: KernelCall[] = [];
  for (let i = 0; i < first.size; i++) {
    const step = copyCalls(from + 4 * i * first.from, to + 4 * i * first.to, rest);
    if (step === undefined || calls.length + step.length > MAXIMUM_STEPS) return undefined;
    calls.push(...step);
  }
  return calls;
}

/** A dense tensor of `shape` read from `offset` on with `strides`, in numbers. */
function gathered(
  x: HalfTensor,
  shape: readonly number[],
  strides: readonly number[],
  offset: number,
  machine: Machine,
): HalfTensor | undefined {
  const dense = stridesOf(shape);
  const axes = shape.map((size, axis) => ({
    size,
    from: strides[axis] ?? 0,
    to: dense[axis] ?? 0,
  }));
  const result = HalfTensor.allocate(machine.arena, x.dataType, shape);
  const calls = copyCalls(x.address + 4 * offset, result.address, axes);
  if (calls === undefined) {
    result.release();
    return undefined;
  }
  machine.pool.run(calls);
  return result;
}

/** The tensor with its axes in the order `permutation`. */
export function transposed(
  tensor: HostTensor,
  permutation: readonly number[],
  machine: Machine,
): HalfTensor {
  const x = machine.place(tensor);
  const shape = permutation.map((axis) => x.shape[axis] ?? 1);
  if (permutation.every((axis, index) => axis === index)) return x.share();
  const strides = stridesOf(x.shape);
  const steps = permutation.map((axis) => strides[axis] ?? 0);
  return (
    gathered(x, shape, steps, 0, machine) ??
    machine.place(hostTensor(x.dataType, shape, permute(x, permutation)))
  );
}

/** A float tensor that stands in the arena; others are moved by the op's evaluation. */
function held(call: OpCall, name: string): HalfTensor | undefined {
  const tensor = call.tensor(name);
  return tensor instanceof HalfTensor ? tensor : undefined;
}

const transpose: SimKernel = (call, { machine }) => {
  const x = held(call, "x");
  if (x === undefined) return undefined;
  const permutation = call.ints("perm").map((axis) => call.normalizeAxis(axis, x.shape.length));
  return [transposed(x, permutation, machine)];
};

const sliceByIndex: SimKernel = (call, { machine, clampSlices }) => {
  const x = held(call, "x");
  if (x === undefined || clampSlices) return undefined;
  const slices = slicesOf(call, x.shape);
  const strides = stridesOf(x.shape);
  if (slices.some(({ step }) => step < 0)) return undefined;
  const result = gathered(
    x,
    slices.map(({ count }) => count),
    slices.map(({ step }, axis) => step * (strides[axis] ?? 0)),
    offsetOf(slices, strides),
    machine,
  );
  const shape = slices.filter(({ squeezed }) => !squeezed).map(({ count }) => count);
  return result === undefined ? undefined : [reshaped(result, shape)];
};

/** The tensor in another shape, in place of the one given. */
function reshaped(tensor: HalfTensor, shape: readonly number[]): HalfTensor {
  if (shape.length === tensor.shape.length) return tensor;
  const other = tensor.share(shape);
  tensor.release();
  return other;
}

const split: SimKernel = (call, { machine }) => {
  const x = held(call, "x");
  if (x === undefined) return undefined;
  const axis = call.axis("axis", x.shape.length);
  const size = x.shape[axis] ?? 0;
  const count = call.has("num_splits") ? call.int("num_splits") : 0;
  const sizes = call.has("split_sizes")
    ? call.ints("split_sizes")
    : Array.from({ length: count }, () => size / count);
  const strides = stridesOf(x.shape);
  const parts: HalfTensor[] = [];
  let start = 0;
  for (const extent of sizes) {
    const shape = x.shape.with(axis, extent);
    const part = gathered(x, shape, strides, start * (strides[axis] ?? 0), machine);
    if (part === undefined) return undefined;
    parts.push(part);
    start += extent;
  }
  return parts;
};

const concat: SimKernel = (call, { machine }) => {
  const values = call.operands("values").map((value) => call.tensorOf(value));
  const parts = values.filter((value): value is HalfTensor => value instanceof HalfTensor);
  const [first] = parts;
  if (first === undefined || parts.length < values.length || call.bool("interleave"))
    return undefined;
  const axis = call.axis("axis", first.shape.length);
  const size = parts.reduce((sum, { shape }) => sum + (shape[axis] ?? 0), 0);
  const shape = first.shape.with(axis, size);
  const inner = elementCount(shape.slice(axis + 1));
  const outer = elementCount(shape.slice(0, axis));
  const result = HalfTensor.allocate(machine.arena, first.dataType, shape);
  const calls: KernelCall[] = [];
  let start = 0;
  for (const part of parts) {
    const run = (part.shape[axis] ?? 0) * inner;
    const axes = [
      { size: outer, from: run, to: size * inner },
      { size: run, from: 1, to: 1 },
    ];
    calls.push(...(copyCalls(part.address, result.address + 4 * start, axes) ?? []));
    start += run;
  }
  machine.pool.run(calls);
  return [result];
};

export const moves: Readonly<Record<string, SimKernel>> = {
  transpose,
  split,
  concat,
  slice_by_index: sliceByIndex,
};
