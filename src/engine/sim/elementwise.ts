import { hostTensor } from "../../mil/host-tensor.ts";
import type { HostTensor } from "../../mil/host-tensor.ts";
import type { OpCall } from "../../mil/op-call.ts";
import { expandTo } from "../../mil/ops/strided.ts";
import { elementCount, isFloat } from "../../mil/types.ts";
import { roundToFloat16 } from "../../util/float16.ts";
import type { SimKernel } from "./context.ts";
import { HalfTensor } from "./half-tensor.ts";
import { TASK_ELEMENTS } from "./machine.ts";
import type { Machine } from "./machine.ts";
import type { Numerics } from "./numerics.ts";
import {
  FUNCTION_TABLES,
  GELU_SHARES,
  GELU_TABLE,
  tableExp,
  tableLog,
  tableRsqrt,
  tabulate,
} from "./tables.ts";

/** Codes of elementwise.wasm's `binary`. */
const BINARY = ["add", "sub", "mul", "real_div", "maximum", "minimum"] as const;

/** How an operand is read: element i of the result reads `floor(i / each) % count`. */
interface Period {
  readonly each: number;
  readonly count: number;
}

function binary(code: number): SimKernel {
  return (call, { machine }) => {
    const x = call.tensor("x");
    const y = call.tensor("y");
    if (!isFloat(x.dataType) || !holdsHalves(x) || !holdsHalves(y)) return undefined;
    const shape = broadcast(x.shape, y.shape);
    const total = elementCount(shape);
    const [left, leftPeriod] = operand(machine, x, shape);
    const [right, rightPeriod] = operand(machine, y, shape);
    const result = HalfTensor.allocate(machine.arena, x.dataType, shape);
    const run = commonDivisor(runOf(leftPeriod), runOf(rightPeriod));
    const { pool } = machine;
    const numbers = [
      ...[code, left.address, leftPeriod.each, leftPeriod.count],
      ...[right.address, rightPeriod.each, rightPeriod.count, result.address, run],
    ];
    pool.split("binary", numbers, total, TASK_ELEMENTS);
    return [result];
  };
}

/** Scalars stand in programs with more digits than fp16 has; those take the op's evaluation in doubles. */
export function holdsHalves(tensor: HostTensor): boolean {
  if (tensor instanceof HalfTensor || tensor.data.length !== 1) return true;
  const [value = 0] = tensor.data;
  return Object.is(roundToFloat16(value), value);
}

function operand(
  machine: Machine,
  tensor: HostTensor,
  shape: readonly number[],
): readonly [HalfTensor, Period] {
  const period = periodOf(tensor, shape);
  if (period !== undefined) return [machine.place(tensor), period];
  const whole = hostTensor(tensor.dataType, shape, expandTo(tensor, shape));
  return [machine.place(whole), { each: 1, count: whole.data.length }];
}

function broadcast(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => {
    const left = a[axis - rank + a.length] ?? 1;
    const right = b[axis - rank + b.length] ?? 1;
    return left === 1 ? right : left;
  });
}

/** Nothing where the operand's sizes of 1 stand between larger ones. */
function periodOf(source: HostTensor, shape: readonly number[]): Period | undefined {
  const padded = [
    ...Array.from({ length: shape.length - source.shape.length }, () => 1),
    ...source.shape,
  ];
  let end = shape.length;
  while (end > 0 && padded[end - 1] === 1) end--;
  let begin = 0;
  while (begin < end && padded[begin] === 1) begin++;
  for (let axis = begin; axis < end; axis++) {
    if (padded[axis] !== shape[axis]) return undefined;
  }
  return { each: elementCount(shape.slice(end)), count: elementCount(source.shape) };
}

/** From a multiple of this on, so many elements read the operand in order, or one element of it. */
function runOf({ each, count }: Period): number {
  return each === 1 ? count : each;
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b);
}

/** A function of one number, on the engine by table and in the approximate mode exact. */
interface UnaryFunction {
  readonly table: (x: number) => number;
  readonly exact: (x: number) => number;
}

/** The function a call means, and what besides the op's name tells it from others. */
type UnaryRule = (call: OpCall) => readonly [UnaryFunction, string];

function unary(name: string, rule: UnaryRule): SimKernel {
  return (call, { machine, numerics }) => {
    const x = call.tensor("x");
    if (!isFloat(x.dataType)) return undefined;
    const [compute, settings] = rule(call);
    return [lookup(x, `${name} ${settings}`, compute, numerics, machine)];
  };
}

function lookup(
  x: HostTensor,
  key: string,
  { table, exact }: UnaryFunction,
  numerics: Numerics,
  machine: Machine,
): HalfTensor {
  const results = machine.table(`${numerics} ${key}`, numerics === "exact" ? table : exact);
  const source = machine.place(x);
  const result = HalfTensor.allocate(machine.arena, x.dataType, x.shape);
  const numbers = [results, source.address, result.address];
  machine.pool.split("lookup", numbers, result.count, TASK_ELEMENTS);
  return result;
}

function tabled(name: string): UnaryRule {
  const entry = FUNCTION_TABLES[name];
  if (entry === undefined) throw new Error(`no table ${name}`);
  const compute = { table: tabulate(entry), exact: entry.exact };
  return () => [compute, ""];
}

/** Each mode by a table of the same spacing; what the engine does with the approximations is assumed. */
const GELUS: ReadonlyMap<string, UnaryFunction> = new Map(
  Object.entries(GELU_SHARES).map(([mode, share]) => {
    const exact = (x: number): number => x * share(x);
    const { spacing, limit, error } = GELU_TABLE;
    return [mode, { exact, table: tabulate({ exact, factor: share, spacing, limit, error }) }];
  }),
);

const gelu: UnaryRule = (call) => {
  const mode = call.string("mode");
  const compute = GELUS.get(mode);
  if (compute === undefined) throw call.fail(`mode "${mode}" is unknown`);
  return [compute, mode];
};

/** A function of x + epsilon. */
function shifted({ table, exact }: UnaryFunction): UnaryRule {
  return (call) => {
    const epsilon = call.float("epsilon");
    return [
      { table: (x) => table(x + epsilon), exact: (x) => exact(x + epsilon) },
      String(epsilon),
    ];
  };
}

/** A function that the engine computes exactly. */
function exactly(compute: (x: number) => number): UnaryRule {
  return () => [{ table: compute, exact: compute }, ""];
}

const UNARY: Readonly<Record<string, UnaryRule>> = {
  abs: exactly(Math.abs),
  relu: exactly((x) => Math.max(x, 0)),
  sigmoid: tabled("sigmoid"),
  silu: tabled("silu"),
  tanh: tabled("tanh"),
  erf: tabled("erf"),
  gelu,
  exp: () => [{ table: tableExp, exact: Math.exp }, ""],
  log: shifted({ table: tableLog, exact: Math.log }),
  rsqrt: shifted({ table: tableRsqrt, exact: (x) => 1 / Math.sqrt(x) }),
};

export const elementwise: Readonly<Record<string, SimKernel>> = {
  ...Object.fromEntries(BINARY.map((name, code) => [name, binary(code)])),
  ...Object.fromEntries(Object.entries(UNARY).map(([name, rule]) => [name, unary(name, rule)])),
};
