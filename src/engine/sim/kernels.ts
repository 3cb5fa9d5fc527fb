import { evaluateOperation } from "../../mil/evaluate-operation.ts";
import { hostTensor } from "../../mil/host-tensor.ts";
import type { HostTensor } from "../../mil/host-tensor.ts";
import { OpCall } from "../../mil/op-call.ts";
import type { CallEnvironment } from "../../mil/op-call.ts";
import { opRow } from "../../mil/ops/index.ts";
import { permute } from "../../mil/ops/strided.ts";
import type { Operation } from "../../mil/program.ts";
import { elementCount, isFloat } from "../../mil/types.ts";
import { binaryKernel } from "./binary.ts";
import type { GridProducts } from "./grid-products.ts";
import type { Numerics } from "./numerics.ts";
import { halfFunction } from "./half-functions.ts";
import { narrowSums, wideSums } from "./sums.ts";
import { products } from "./products.ts";
import { roundToHalf, roundToSingle } from "./rounding.ts";
import {
  FUNCTION_TABLES,
  GELU_SHARES,
  GELU_TABLE,
  tableExp,
  tableLog,
  tableRsqrt,
  tabulate,
} from "./tables.ts";

/** Where an op runs: on the engine with its arithmetic, or on the host in fp32. */
export interface SimContext {
  readonly place: "engine" | "host";
  readonly numerics: Numerics;
  readonly products: GridProducts;
  /** Convolutions cut their results off instead of rounding them (H17 and H18). */
  readonly truncateConvolutions: boolean;
  /** Slices with an offset on the last axis turn |v| > 4094 into infinity (H13 and H14). */
  readonly clampSlices: boolean;
}

export type SimKernel = (call: OpCall, context: SimContext) => HostTensor;

/** Ops that only move numbers: what is rounded stays rounded. */
const MOVES: ReadonlySet<string> = new Set([
  "reshape",
  "transpose",
  "expand_dims",
  "squeeze",
  "concat",
  "split",
  "stack",
  "tile",
  "slice_by_index",
  "slice_by_size",
  "select",
  "pad",
  "reverse",
  "reduce_max",
  "reduce_min",
  "relu",
  "abs",
]);

const ROUNDED: ReadonlySet<string> = new Set([
  ...["matmul", "maximum", "minimum"],
  ...["sigmoid", "silu", "tanh", "erf", "exp", "gelu"],
]);

/** One op. Results on the engine are fp16 numbers whatever type the program declares. */
export function simulateOperation(
  operation: Operation,
  environment: CallEnvironment,
  context: SimContext,
): readonly HostTensor[] {
  const row = opRow(operation.type);
  const kernel = Object.hasOwn(KERNELS, operation.type) ? KERNELS[operation.type] : undefined;
  if (row === undefined || kernel === undefined) {
    const results = evaluateOperation(operation, environment, "float64");
    if (!MOVES.has(operation.type)) for (const result of results) round(result, context);
    if (context.clampSlices && operation.type.startsWith("slice_by_"))
      clampSlice(operation, environment, results);
    return results;
  }
  const result = kernel(new OpCall(operation, row, environment), context);
  // Products, the larger of two and functions by table come rounded.
  const isRounded = ROUNDED.has(operation.type) && context.place === "engine";
  if (!isRounded) round(result, context);
  return [result];
}

/** Rounds floats in place. Results of ops are fresh arrays, or those of an operand that is rounded already. */
function round(tensor: HostTensor, { place }: SimContext): void {
  if (!isFloat(tensor.dataType)) return;
  if (place === "engine") roundToHalf(tensor.data);
  else if (tensor.dataType === "fp32") roundToSingle(tensor.data);
  else if (tensor.dataType === "fp16") roundToHalf(tensor.data);
}

const SLICE_LIMIT = 4094;

function clampSlice(
  operation: Operation,
  environment: CallEnvironment,
  results: readonly HostTensor[],
): void {
  const row = opRow(operation.type);
  if (row === undefined) return;
  const call = new OpCall(operation, row, environment);
  if ((call.ints("begin").at(-1) ?? 0) === 0) return;
  for (const { data } of results) {
    for (let i = 0; i < data.length; i++) {
      const value = data[i] ?? 0;
      if (Math.abs(value) > SLICE_LIMIT) data[i] = value < 0 ? -Infinity : Infinity;
    }
  }
}

/** A function of one operand, by table on the engine and exact on the host. */
function unary(table: (x: number) => number, exact: (x: number) => number): SimKernel {
  const tabled = halfFunction(table);
  const rounded = halfFunction(exact);
  return (call, { place, numerics }) => {
    const x = call.tensor("x");
    if (place === "engine") {
      const compute = numerics === "exact" ? tabled : rounded;
      return hostTensor(x.dataType, x.shape, compute(x.data));
    }
    const data = new Float64Array(x.data.length);
    for (let i = 0; i < data.length; i++) data[i] = exact(x.data[i] ?? 0);
    return hostTensor(x.dataType, x.shape, data);
  };
}

/** Each mode by a table of the same spacing; what the engine does with the approximations is assumed. */
const gelu: SimKernel = (call, context) => {
  const mode = call.string("mode");
  const kernel = Object.hasOwn(GELU_KERNELS, mode) ? GELU_KERNELS[mode] : undefined;
  if (kernel === undefined) throw call.fail(`mode "${mode}" is unknown`);
  return kernel(call, context);
};

const GELU_KERNELS: Readonly<Record<string, SimKernel>> = Object.fromEntries(
  Object.entries(GELU_SHARES).map(([mode, share]) => {
    const exact = (x: number): number => x * share(x);
    const { spacing, limit, error } = GELU_TABLE;
    return [mode, unary(tabulate({ exact, factor: share, spacing, limit, error }), exact)];
  }),
);

function tabled(name: keyof typeof FUNCTION_TABLES): SimKernel {
  const entry = FUNCTION_TABLES[name];
  if (entry === undefined) throw new Error(`no table ${name}`);
  return unary(tabulate(entry), entry.exact);
}

const rsqrt: SimKernel = (call, { place, numerics }) => {
  const x = call.tensor("x");
  const epsilon = call.float("epsilon");
  const compute =
    place === "engine" && numerics === "exact"
      ? tableRsqrt
      : (v: number): number => 1 / Math.sqrt(v);
  return hostTensor(
    x.dataType,
    x.shape,
    x.data.map((value) => compute(value + epsilon)),
  );
};

const logarithm: SimKernel = (call, { place, numerics }) => {
  const x = call.tensor("x");
  const epsilon = call.float("epsilon");
  const compute = place === "engine" && numerics === "exact" ? tableLog : Math.log;
  return hostTensor(
    x.dataType,
    x.shape,
    x.data.map((value) => compute(value + epsilon)),
  );
};

/** Maximum taken away, exponentials by table, summed wide, divided. */
const softmax: SimKernel = (call, { place, numerics }) => {
  const x = call.tensor("x");
  const axis = call.axis("axis", x.shape.length);
  const size = x.shape[axis] ?? 1;
  const inner = elementCount(x.shape.slice(axis + 1));
  const outer = elementCount(x.shape.slice(0, axis));
  const exp = place === "engine" && numerics === "exact" ? tableExp : Math.exp;
  const data = new Float64Array(x.data.length);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      const start = o * size * inner + i;
      let largest = -Infinity;
      for (let k = 0; k < size; k++) largest = Math.max(largest, x.data[start + k * inner] ?? 0);
      let sum = 0;
      for (let k = 0; k < size; k++) {
        const difference = (x.data[start + k * inner] ?? 0) - largest;
        const value = difference < -80 ? 0 : exp(difference);
        data[start + k * inner] = value;
        sum += value;
      }
      for (let k = 0; k < size; k++) {
        data[start + k * inner] = (data[start + k * inner] ?? 0) / sum;
      }
    }
  }
  return hostTensor(x.dataType, x.shape, data);
};

/** log of the sum of exponentials over the last axis, which is how heads use it; others take the row's way. */
const logSumExp: SimKernel = (call, { place, numerics }) => {
  const x = call.tensor("x");
  const axes = call.axes("axes", x.shape.length);
  const size = elementCount(axes.map((axis) => x.shape[axis] ?? 1));
  const kept = x.shape.map((_, axis) => axis).filter((axis) => !axes.includes(axis));
  const values = isInOrder([...kept, ...axes]) ? x.data : permute(x, [...kept, ...axes]);
  const isTabled = place === "engine" && numerics === "exact";
  const exp = isTabled ? tableExp : Math.exp;
  const log = isTabled ? tableLog : Math.log;
  const results = new Float64Array(values.length / size);
  for (let run = 0; run < results.length; run++) {
    const start = run * size;
    let largest = -Infinity;
    for (let i = start; i < start + size; i++) largest = Math.max(largest, values[i] ?? 0);
    let sum = 0;
    for (let i = start; i < start + size; i++) sum += exp((values[i] ?? 0) - largest);
    results[run] = largest + log(sum);
  }
  const keep = call.bool("keep_dims");
  const shape = x.shape.flatMap((extent, axis) =>
    axes.includes(axis) ? (keep ? [1] : []) : [extent],
  );
  return hostTensor(x.dataType, shape, results);
};

function isInOrder(axes: readonly number[]): boolean {
  return axes.every((axis, index) => axis === index);
}

/** A reduction that sums: narrow on the engine, wide on the host. */
function summing(
  term: ((x: number) => number) | undefined,
  finish: (sum: number, count: number) => number,
): SimKernel {
  return (call, { place, numerics }) => {
    const x = call.tensor("x");
    const axes = call.axes("axes", x.shape.length);
    const kept = x.shape.map((_, axis) => axis).filter((axis) => !axes.includes(axis));
    const order = [...kept, ...axes];
    const source = isInOrder(order) ? x.data : permute(x, order);
    const values = term === undefined ? source : source.map(term);
    const count = elementCount(axes.map((axis) => x.shape[axis] ?? 1));
    const keep = call.bool("keep_dims");
    const shape = x.shape.flatMap((size, axis) =>
      axes.includes(axis) ? (keep ? [1] : []) : [size],
    );
    const sums =
      place === "engine" && numerics === "exact"
        ? narrowSums(values, count)
        : wideSums(values, count);
    for (let i = 0; i < sums.length; i++) sums[i] = finish(sums[i] ?? 0, count);
    return hostTensor(x.dataType, shape, sums);
  };
}

const KERNELS: Readonly<Record<string, SimKernel>> = {
  ...products,
  add: binaryKernel("add"),
  sub: binaryKernel("sub"),
  mul: binaryKernel("mul"),
  real_div: binaryKernel("real_div"),
  maximum: binaryKernel("maximum"),
  minimum: binaryKernel("minimum"),
  sigmoid: tabled("sigmoid"),
  silu: tabled("silu"),
  tanh: tabled("tanh"),
  erf: tabled("erf"),
  gelu,
  exp: unary(tableExp, Math.exp),
  log: logarithm,
  rsqrt,
  softmax,
  reduce_log_sum_exp: logSumExp,
  reduce_sum: summing(undefined, (sum) => sum),
  reduce_mean: summing(undefined, (sum, count) => sum / count),
  reduce_sum_square: summing(
    (x) => x * x,
    (sum) => sum,
  ),
};
