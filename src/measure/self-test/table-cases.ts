import type { RuleName } from "../../chip/arithmetic/rules.ts";
import {
  erf,
  FUNCTION_TABLES,
  gridErf,
  gridExp,
  gridGelu,
  gridInverse,
  gridLog,
  gridRsqrt,
  gridSigmoid,
  gridSilu,
  gridTanh,
  sigmoid,
  tableExp,
  tableLog,
  tableRsqrt,
  tabulate,
} from "../../engine/sim/probe.ts";
import type { OpName } from "../../mil/ops/index.ts";
import { float16Value, roundToFloat16 } from "../../util/float16.ts";
import { padded, program } from "./number-case.ts";
import type { NumberCase } from "./number-case.ts";
import { away, settling } from "./settling-case.ts";

/** A function at some numbers, by each of its tables. */
function tableCase(
  id: string,
  op: OpName,
  rule: RuleName,
  numbers: readonly number[],
  functions: Readonly<Record<"grid" | "fitted" | "exact", (x: number) => number>>,
  settings: Readonly<Record<string, number>> = {},
): NumberCase {
  const inputs = numbers.map(roundToFloat16);
  const of = (compute: (x: number) => number): readonly (readonly number[])[] => [
    inputs.map((x) => away(compute(x))),
    inputs.map((x) => roundToFloat16(compute(x))),
  ];
  return settling(
    id,
    `${op} comes from the table that was read for M6, or another`,
    rule,
    {
      build: () => program([[1, 32]], (f, x) => f.op(op, { x, ...settings })),
      inputs: [padded(32, inputs, 1)],
    },
    inputs.map((x) => roundToFloat16(functions.exact(x))),
    { grid: of(functions.grid), fitted: of(functions.fitted), exact: of(functions.exact) },
    `the simulator's ${op}`,
  );
}

const fitted = (name: string): ((x: number) => number) => {
  const table = FUNCTION_TABLES[name];
  if (table === undefined) throw new Error(`no table ${name}`);
  return tabulate(table);
};
const gauss = (x: number): number => 0.5 * x * (1 + erf(x / Math.SQRT2));

export const TABLE_CASES: readonly NumberCase[] = [
  tableCase("table.sigmoid", "sigmoid", "table.sigmoid", [0.25, -9, 1.25], {
    grid: gridSigmoid,
    fitted: fitted("sigmoid"),
    exact: sigmoid,
  }),
  tableCase("table.exp", "exp", "table.exp", [9.96875, -3.3], {
    grid: gridExp,
    fitted: tableExp,
    exact: Math.exp,
  }),
  tableCase(
    "table.log",
    "log",
    "table.log",
    [float16Value(0x1436), 3],
    { grid: gridLog, fitted: tableLog, exact: Math.log },
    { epsilon: 0 },
  ),
  tableCase(
    "table.root",
    "rsqrt",
    "table.root",
    [0.0332, 3],
    { grid: gridRsqrt, fitted: tableRsqrt, exact: (x) => 1 / Math.sqrt(x) },
    { epsilon: 0 },
  ),
  tableCase(
    "table.inverse",
    "inverse",
    "table.inverse",
    [0.0159, 3],
    { grid: gridInverse, fitted: (x) => 1 / x, exact: (x) => 1 / x },
    { epsilon: 0 },
  ),
  tableCase("table.erf", "erf", "table.erf", [0.6572265625, 0.2], {
    grid: gridErf,
    fitted: fitted("erf"),
    exact: erf,
  }),
  tableCase("table.tanh", "tanh", "table.tanh", [0.56396484375, 0.2], {
    grid: gridTanh,
    fitted: fitted("tanh"),
    exact: Math.tanh,
  }),
  {
    ...tableCase(
      "table.gelu",
      "gelu",
      "table.gelu",
      [0.25],
      {
        grid: gridGelu,
        fitted: fitted("gelu"),
        exact: gauss,
      },
      {},
    ),
    driver: "e5rt",
  },
  tableCase("table.silu", "silu", "table.silu", [0.5], {
    grid: gridSilu,
    fitted: fitted("silu"),
    exact: (x) => x * sigmoid(x),
  }),
];
