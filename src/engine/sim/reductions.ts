import type { HostTensor } from "../../mil/host-tensor.ts";
import type { OpCall } from "../../mil/op-call.ts";
import { elementCount, isFloat } from "../../mil/types.ts";
import type { SimContext, SimKernel } from "./context.ts";
import { HalfTensor } from "./half-tensor.ts";
import { TASK_ELEMENTS } from "./machine.ts";
import type { Machine } from "./machine.ts";
import { transposed } from "./moves.ts";
import type { KernelCall } from "./pool.ts";
import { roundToHalfBy } from "./rounding.ts";
import { tableLog } from "./fitted-tables.ts";
import { gridExp, gridLog } from "./grid-tables.ts";
import type { KernelName } from "./task.ts";

/** Flags of reduce.wasm's sums. */
const SQUARES = 1;
const MEAN = 2;
const EXACT = 4;
/** Flags of all of them: ties go away from zero, and exponentials come from a table of results. */
const AWAY = 8;
const RESULTS = 16;
/** Columns of a block of `columnSums`, and its scratch. */
const COLUMN_BLOCK = 32;
const COLUMN_SCRATCH_BYTES = 32 * 4 * COLUMN_BLOCK;

/**
 * One kernel over [0, count) in tasks with scratch memory of their own, whose address stands before a task's begin
 * and end.
 */
function splitWithScratch(
  { arena, pool }: Machine,
  kernel: KernelName,
  numbers: readonly number[],
  count: number,
  { elementsEach, scratchBytes }: { readonly elementsEach: number; readonly scratchBytes: number },
): void {
  const least = Math.max(1, Math.ceil(TASK_ELEMENTS / Math.max(1, elementsEach)));
  const size = Math.max(least, Math.ceil(count / pool.parts));
  const scratch = arena.allocate(scratchBytes * Math.ceil(count / size));
  const calls: KernelCall[] = [];
  for (let begin = 0; begin < count; begin += size) {
    const own = scratch + calls.length * scratchBytes;
    calls.push({ kernel, numbers: [...numbers, own, begin, Math.min(count, begin + size)] });
  }
  pool.run(calls);
  arena.release(scratch);
}

/** A tensor seen as [outer, count, inner], where the reduced axes are the middle one. */
interface Reduction {
  readonly x: HalfTensor;
  readonly outer: number;
  readonly count: number;
  readonly inner: number;
  readonly shape: readonly number[];
  /** Ends the use of `x`, which may be a transposed copy. */
  readonly done: () => void;
}

/** `isRows`: the reduced axes become the last ones. */
function reductionOf(call: OpCall, machine: Machine, isRows: boolean): Reduction | undefined {
  const x = call.tensor("x");
  if (!isFloat(x.dataType)) return undefined;
  const axes = call.axes("axes", x.shape.length).toSorted((a, b) => a - b);
  const keep = call.bool("keep_dims");
  const shape = x.shape.flatMap((extent, axis) =>
    axes.includes(axis) ? (keep ? [1] : []) : [extent],
  );
  const count = elementCount(axes.map((axis) => x.shape[axis] ?? 1));
  if (count === 0 || elementCount(shape) === 0) return undefined;
  const [first = x.shape.length] = axes;
  const last = axes.at(-1) ?? first - 1;
  const inner = elementCount(x.shape.slice(last + 1));
  const isBlock = last - first + 1 === axes.length;
  if (isBlock && (inner === 1 || !isRows)) {
    const outer = elementCount(x.shape.slice(0, first));
    return { x: machine.place(x), outer, count, inner, shape, done: () => undefined };
  }
  const kept = x.shape.map((_, axis) => axis).filter((axis) => !axes.includes(axis));
  const rows = transposed(x, [...kept, ...axes], machine);
  const outer = elementCount(shape);
  return { x: rows, outer, count, inner: 1, shape, done: () => rows.release() };
}

/** A sum: narrow, or in the approximate mode wide. */
function summing(flags: number): SimKernel {
  return (call, context) => {
    const { machine, numerics, arithmetic } = context;
    const reduction = reductionOf(call, machine, false);
    if (reduction === undefined) return undefined;
    const { x, outer, count, inner, shape, done } = reduction;
    const result = HalfTensor.allocate(machine.arena, x.dataType, shape);
    const isTree = numerics === "exact" && arithmetic["reduce.sum"] === "tree";
    const kind = flags | awayFlag(context) | (isTree ? 0 : EXACT);
    if (inner === 1) {
      splitWithScratch(machine, "rowSums", [x.address, result.address, count, kind], outer, {
        elementsEach: count,
        scratchBytes: 4 * count,
      });
    } else {
      const numbers = [x.address, result.address, count, inner, kind];
      const blocks = outer * Math.ceil(inner / COLUMN_BLOCK);
      splitWithScratch(machine, "columnSums", numbers, blocks, {
        elementsEach: count * COLUMN_BLOCK,
        scratchBytes: COLUMN_SCRATCH_BYTES,
      });
    }
    done();
    return [result];
  };
}

/** The largest or the smallest number. */
function extreme(isLargest: boolean): SimKernel {
  return (call, { machine }) => {
    const reduction = reductionOf(call, machine, true);
    if (reduction === undefined) return undefined;
    const { x, outer, count, shape, done } = reduction;
    const result = HalfTensor.allocate(machine.arena, x.dataType, shape);
    const numbers = [x.address, result.address, count, Number(isLargest)];
    machine.pool.split("extremes", numbers, outer, Math.ceil(TASK_ELEMENTS / count));
    done();
    return [result];
  };
}

function awayFlag({ arithmetic }: SimContext): number {
  return arithmetic["elementwise.rounding"] === "half-away" ? AWAY : 0;
}

/** The address and flags of the exponential: a table of results, knots, or 0 for a smooth one. */
function exponentialOf(context: SimContext): readonly [address: number, flags: number] {
  const { numerics, machine, arithmetic } = context;
  const flags = awayFlag(context);
  const variant = numerics === "exact" ? arithmetic["table.exp"] : "exact";
  if (variant === "exact") return [0, flags];
  if (variant === "fitted") return [machine.knots, flags];
  const results = machine.table("grid exp ", gridExp, arithmetic["elementwise.rounding"]);
  return [results, flags | RESULTS];
}

/** Maximum taken away, exponentials by table, summed wide, divided; quotients in fp32, then fp16. */
const softmax: SimKernel = (call, context) => {
  const { machine } = context;
  const x = call.tensor("x");
  if (!isFloat(x.dataType)) return undefined;
  const axis = call.axis("axis", x.shape.length);
  const axes = x.shape.map((_, index) => index);
  const order = [...axes.filter((other) => other !== axis), axis];
  const rows = transposed(x, order, machine);
  const size = x.shape[axis] ?? 1;
  if (rows.count === 0) return undefined;
  const result = HalfTensor.allocate(machine.arena, x.dataType, rows.shape);
  const numbers = [rows.address, result.address, size, ...exponentialOf(context)];
  splitWithScratch(machine, "softmax", numbers, rows.count / size, {
    elementsEach: size,
    scratchBytes: 8 * size,
  });
  rows.release();
  if (axis === x.shape.length - 1) return [result];
  const back = axes.map((index) => order.indexOf(index));
  const turned = transposed(result, back, machine);
  result.release();
  return [turned];
};

const logSumExp: SimKernel = (call, context) => {
  const { machine, numerics, arithmetic } = context;
  const { arena } = machine;
  const reduction = reductionOf(call, machine, true);
  if (reduction === undefined) return undefined;
  const { x, outer, count, shape, done } = reduction;
  const logarithms = { grid: gridLog, fitted: tableLog, exact: Math.log };
  const log = logarithms[numerics === "exact" ? arithmetic["table.log"] : "exact"];
  const ties = arithmetic["elementwise.rounding"];
  const sums = arena.allocate(16 * outer);
  const numbers = [x.address, sums, count, ...exponentialOf(context)];
  splitWithScratch(machine, "exponentialSums", numbers, outer, {
    elementsEach: count,
    scratchBytes: 8 * count,
  });
  const result = HalfTensor.allocate(arena, x.dataType, shape);
  const pairs = arena.doubles(sums, 2 * outer);
  const logs = result.numbers();
  for (let row = 0; row < outer; row++) {
    const largest = pairs[2 * row] ?? NaN;
    const sum = largest + log(pairs[2 * row + 1] ?? NaN);
    // As the kernels round doubles: ties to even go through fp32.
    logs[row] = roundToHalfBy(ties === "half-away" ? sum : Math.fround(sum), ties);
  }
  arena.release(sums);
  done();
  return [result];
};

const layerNorm: SimKernel = (call, context) => {
  const { machine } = context;
  const x = call.tensor("x");
  if (!isFloat(x.dataType)) return undefined;
  const axes = call.axes("axes", x.shape.length).toSorted((a, b) => a - b);
  const isLast = axes.every((axis, index) => axis === x.shape.length - axes.length + index);
  const size = elementCount(axes.map((axis) => x.shape[axis] ?? 1));
  if (!isLast || size === 0 || elementCount(x.shape) === 0) return undefined;
  const { arena, pool } = machine;
  const source = machine.place(x);
  const gamma = factors(call, "gamma", size, 1, machine);
  const beta = factors(call, "beta", size, 0, machine);
  if (gamma === undefined || beta === undefined) return undefined;
  const epsilon = arena.allocate(8);
  arena.doubles(epsilon, 1)[0] = call.floatOf("epsilon", x.dataType);
  const result = HalfTensor.allocate(arena, x.dataType, x.shape);
  const numbers = [
    ...[source.address, gamma.address, beta.address, result.address, size, epsilon],
    awayFlag(context),
  ];
  pool.split("normalize", numbers, result.count / size, Math.ceil(TASK_ELEMENTS / size));
  arena.release(epsilon);
  return [result];
};

/** A layer norm's gamma or beta, `fallback` where there is none. */
function factors(
  call: OpCall,
  name: string,
  size: number,
  fallback: number,
  machine: Machine,
): HalfTensor | undefined {
  if (call.has(name)) {
    const tensor: HostTensor = call.tensor(name);
    return tensor instanceof HalfTensor ? tensor : undefined;
  }
  const constant = HalfTensor.allocate(machine.arena, "fp16", [size]);
  constant.numbers().fill(fallback);
  return constant;
}

export const reductions: Readonly<Record<string, SimKernel>> = {
  softmax,
  reduce_log_sum_exp: logSumExp,
  layer_norm: layerNorm,
  reduce_max: extreme(true),
  reduce_min: extreme(false),
  reduce_sum: summing(0),
  reduce_mean: summing(MEAN),
  reduce_sum_square: summing(SQUARES),
};
