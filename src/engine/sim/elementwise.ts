import { jointShape } from "../../mil/ops/broadcast.ts";
import { hostTensor } from "../../mil/host-tensor.ts";
import type { HostTensor } from "../../mil/host-tensor.ts";
import type { OpCall } from "../../mil/op-call.ts";
import { expandTo } from "../../mil/ops/strided.ts";
import { elementCount, isFloat } from "../../mil/types.ts";
import { roundToFloat16 } from "../../util/float16.ts";
import type { RuleName } from "../../chip/arithmetic/rules.ts";
import type { SimContext, SimKernel } from "./context.ts";
import { HalfTensor } from "./half-tensor.ts";
import { TASK_ELEMENTS } from "./machine.ts";
import type { Machine } from "./machine.ts";
import {
  FUNCTION_TABLES,
  GELU_SHARES,
  GELU_TABLE,
  tableExp,
  tableLog,
  tableRsqrt,
  tabulate,
} from "./fitted-tables.ts";
import {
  gridErf,
  gridExp,
  gridGelu,
  gridInverse,
  gridLog,
  gridRsqrt,
  gridSigmoid,
  gridSilu,
  gridSqrt,
  gridTanh,
} from "./grid-tables.ts";
import { roundToHalfBy } from "./rounding.ts";

/** Codes of elementwise.wasm's `binary`. */
const BINARY = ["add", "sub", "mul", "real_div", "maximum", "minimum"] as const;

/** How an operand is read: element i of the result reads `floor(i / each) % count`. */
interface Period {
  readonly each: number;
  readonly count: number;
}

/** Added to a code: ties go away from zero, and NaN counts as infinity. */
const AWAY = 8;
const SPECIAL = 16;

function binary(code: number): SimKernel {
  return (call, { machine, arithmetic }) => {
    const x = call.tensor("x");
    const y = call.tensor("y");
    if (!isFloat(x.dataType) || !holdsHalves(x) || !holdsHalves(y)) return undefined;
    const shape = jointShape(x.shape, y.shape);
    const total = elementCount(shape);
    const [left, leftPeriod] = operand(machine, x, shape);
    const [right, rightPeriod] = operand(machine, y, shape);
    const result = HalfTensor.allocate(machine.arena, x.dataType, shape);
    const run = commonDivisor(runOf(leftPeriod), runOf(rightPeriod));
    const { pool } = machine;
    const rules =
      (arithmetic["elementwise.rounding"] === "half-away" ? AWAY : 0) |
      (arithmetic["elementwise.special"] === "infinity" ? SPECIAL : 0);
    const numbers = [
      ...[code | rules, left.address, leftPeriod.each, leftPeriod.count],
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

/** A function of one number: by the table that was read, by a fitted one, or exact; the approximate mode is exact. */
interface UnaryFunction {
  readonly grid: (x: number) => number;
  /** Nothing where the op's evaluation stands for it. */
  readonly fitted: ((x: number) => number) | undefined;
  readonly exact: (x: number) => number;
}

/** The function a call means, and what besides the op's name tells it from others. */
type UnaryRule = (call: OpCall) => readonly [UnaryFunction, string];

type TableRule = Extract<RuleName, `table.${string}`>;

function unary(name: string, rule: UnaryRule, table: TableRule | undefined): SimKernel {
  return (call, context) => {
    const x = call.tensor("x");
    if (!isFloat(x.dataType)) return undefined;
    const [functions, settings] = rule(call);
    const variant = table === undefined ? "exact" : context.arithmetic[table];
    const kind = context.numerics === "exact" ? variant : "exact";
    const compute = functions[kind];
    return compute && [lookup(x, `${kind} ${name} ${settings}`, compute, context)];
  };
}

function lookup(
  x: HostTensor,
  key: string,
  compute: (x: number) => number,
  { machine, arithmetic }: SimContext,
): HalfTensor {
  const results = machine.table(key, compute, arithmetic["elementwise.rounding"]);
  const source = machine.place(x);
  const result = HalfTensor.allocate(machine.arena, x.dataType, x.shape);
  const numbers = [results, source.address, result.address];
  machine.pool.split("lookup", numbers, result.count, TASK_ELEMENTS);
  return result;
}

function tabled(name: string, grid: (x: number) => number): UnaryRule {
  const entry = FUNCTION_TABLES[name];
  if (entry === undefined) throw new Error(`no table ${name}`);
  const functions = { grid, fitted: tabulate(entry), exact: entry.exact };
  return () => [functions, ""];
}

/** Each mode by a fitted table of the same spacing; what the engine does with the approximations was assumed. */
const GELUS: ReadonlyMap<string, UnaryFunction> = new Map(
  Object.entries(GELU_SHARES).map(([mode, share]) => {
    const exact = (x: number): number => x * share(x);
    const { spacing, limit, error } = GELU_TABLE;
    const fitted = tabulate({ exact, factor: share, spacing, limit, error });
    // The third mode is another function, whose table nobody read.
    const grid = mode === "SIGMOID_APPROXIMATION" ? fitted : gridGelu;
    return [mode, { grid, fitted, exact }];
  }),
);

const gelu: UnaryRule = (call) => {
  const mode = call.string("mode");
  const compute = GELUS.get(mode);
  if (compute === undefined) throw call.fail(`mode "${mode}" is unknown`);
  return [compute, mode];
};

/** A function of x + epsilon; the engine's table is asked for the sum as an fp16 number. */
function shifted({ grid, fitted, exact }: UnaryFunction): UnaryRule {
  return (call) => {
    const epsilon = call.float("epsilon");
    return [
      {
        grid: (x) => grid(roundToHalfBy(x + epsilon, "half-away")),
        fitted: fitted && ((x) => fitted(x + epsilon)),
        exact: (x) => exact(x + epsilon),
      },
      String(epsilon),
    ];
  };
}

/** A function that the engine computes exactly. */
function exactly(exact: (x: number) => number): UnaryRule {
  return () => [{ grid: exact, fitted: exact, exact }, ""];
}

const UNARY: Readonly<Record<string, readonly [UnaryRule, TableRule?]>> = {
  abs: [exactly(Math.abs)],
  relu: [exactly((x) => Math.max(x, 0))],
  sigmoid: [tabled("sigmoid", gridSigmoid), "table.sigmoid"],
  silu: [tabled("silu", gridSilu), "table.silu"],
  tanh: [tabled("tanh", gridTanh), "table.tanh"],
  erf: [tabled("erf", gridErf), "table.erf"],
  gelu: [gelu, "table.gelu"],
  exp: [() => [{ grid: gridExp, fitted: tableExp, exact: Math.exp }, ""], "table.exp"],
  log: [shifted({ grid: gridLog, fitted: tableLog, exact: Math.log }), "table.log"],
  sqrt: [() => [{ grid: gridSqrt, fitted: undefined, exact: Math.sqrt }, ""], "table.root"],
  rsqrt: [
    shifted({ grid: gridRsqrt, fitted: tableRsqrt, exact: (x) => 1 / Math.sqrt(x) }),
    "table.root",
  ],
  inverse: [
    shifted({ grid: gridInverse, fitted: undefined, exact: (x) => 1 / x }),
    "table.inverse",
  ],
};

export const elementwise: Readonly<Record<string, SimKernel>> = {
  ...Object.fromEntries(BINARY.map((name, code) => [name, binary(code)])),
  ...Object.fromEntries(
    Object.entries(UNARY).map(([name, [rule, table]]) => [name, unary(name, rule, table)]),
  ),
};
