import { familyIndex } from "../../chip/chip.ts";
import type { Chip, Family } from "../../chip/chip.ts";
import { ARITHMETIC_RULES } from "../../chip/arithmetic/rules.ts";
import type { Rule, RuleName } from "../../chip/arithmetic/rules.ts";
import { narrowSum } from "../../engine/sim/arithmetic.ts";
import {
  erf,
  FUNCTION_TABLES,
  sigmoid,
  tabulate,
  tableExp,
  tableLog,
  tableRsqrt,
} from "../../engine/sim/fitted-tables.ts";
import {
  gridErf,
  gridExp,
  gridGelu,
  gridInverse,
  gridLog,
  gridRsqrt,
  gridSigmoid,
  gridSilu,
  gridTanh,
} from "../../engine/sim/grid-tables.ts";
import { roundToHalfBy } from "../../engine/sim/rounding.ts";
import type { OpName } from "../../mil/ops/index.ts";
import { float16Value, roundToFloat16 } from "../../util/float16.ts";
import {
  convolutionOf,
  fourConvolved,
  fourSums,
  given,
  integerProduct,
  matmulOf,
  specialConvolution,
  wideConvolution,
} from "./arithmetic-programs.ts";
import { padded, program } from "./number-case.ts";
import type { NumberCase, Outcomes } from "./number-case.ts";

const away = (value: number): number => roundToHalfBy(value, "half-away");

const STUDY = "Apple Neural Engine study of M6 with M4 controls (751K)";
const GEMM = `${STUDY}; replay of ANEForge's matrix-product seeds`;
const CLIFFS = "ANEForge numeric cliffs, M1 to M6";
const GRID = "the grid of products, from which loss scale and operand scaling follow";

export const upTo = (chip: Chip, family: Family): boolean =>
  familyIndex(chip.family) <= familyIndex(family);
export const from = (chip: Chip, family: Family): boolean =>
  familyIndex(chip.family) >= familyIndex(family);

const STEP = 2 ** -16;
const times = (count: number, product: readonly [number, number]) =>
  Array.from({ length: count }, () => product);
/** a x b = factor * 2^-16, both operands fp16. */
const small = (factor: number): readonly [number, number] => [factor * 2 ** -8, 2 ** -8];

/** [1, 4096]: 2048, 1, -2048, 1 over and over. Exactly 2048; in fp16 each 1 beside 2048 is lost. */
const NARROW = Array.from({ length: 4096 }, (_, index) => [2048, 1, -2048, 1][index % 4] ?? 0);
const EXACT_SUM = 2048;

const sums = (...numbers: readonly number[]) => numbers.map((number) => [number, 1] as const);

/** A case of one number that tells variants of a rule apart. */
function settling(
  id: string,
  title: string,
  rule: RuleName,
  program: Pick<NumberCase, "build" | "inputs">,
  right: readonly number[],
  outcomes: Outcomes,
  relies: string,
): NumberCase {
  return {
    ...{ id, group: "arithmetic", title, source: sourceOf(rule), ...program },
    ...{ right, settles: { rule, outcomes }, relies },
  };
}

/** Who is said to have seen the variant that is taken. */
function sourceOf(name: RuleName): string {
  const rule: Rule = ARITHMETIC_RULES[name];
  const best = typeof rule.best === "string" ? rule.best : rule.best.H18;
  return rule.variants[best]?.evidence[0]?.source ?? "";
}

const DROP_CASES: readonly NumberCase[] = [
  settling(
    "grid.unit",
    "A product of 2^-16 is one step of the grid, or vanishes",
    "product.drop",
    matmulOf([small(1)]),
    [STEP],
    { exponents: [[STEP]], "two-units": [[0]] },
    GRID,
  ),
  settling(
    "grid.vanish",
    "A product of 1.375 * 2^-16 becomes one step, or vanishes",
    "product.drop",
    matmulOf([small(1.375)]),
    [1.375 * STEP],
    { exponents: [[STEP]], "two-units": [[0]] },
    GRID,
  ),
  settling(
    "grid.exponents",
    "A product of 1.877 steps whose operands' exponents sum to -17 vanishes, or becomes two steps",
    "product.drop",
    matmulOf([[1.9375 * 2 ** -8, 1.9375 * 2 ** -9]]),
    [1.9375 * 1.9375 * 2 ** -17],
    { exponents: [[0]], "two-units": [[2 * STEP]] },
    GRID,
  ),
  settling(
    "grid.half",
    "Half a step is one step as 2^-17 * 1 and nothing as 2^-8 * 2^-9",
    "product.drop",
    matmulOf([
      [2 ** -17, 1],
      [2 ** -8, 2 ** -9],
    ]),
    [STEP],
    { exponents: [[STEP], [0]], "two-units": [[0]] },
    GRID,
  ),
  settling(
    "grid.one-is-dropped",
    "32 products of one step each, 1.25 * 2^-16, sum to 32 steps, or to 0",
    "product.drop",
    matmulOf(times(32, small(1.25))),
    [40 * STEP],
    { exponents: [[32 * STEP]], "two-units": [[0]] },
    GRID,
  ),
  settling(
    "grid.negative",
    "So do negative products",
    "product.drop",
    matmulOf(times(32, [-1.25 * 2 ** -8, 2 ** -8])),
    [-40 * STEP],
    { exponents: [[-32 * STEP]], "two-units": [[0]] },
    GRID,
  ),
  settling(
    "grid.convolution",
    "So do those of convolutions",
    "product.drop",
    convolutionOf(times(32, small(1.25))),
    [40 * STEP],
    { exponents: [[32 * STEP]], "two-units": [[0]] },
    GRID,
  ),
  settling(
    "grid.ties",
    "Products halfway between two steps of the grid go away from zero, or to the even one",
    "product.rounding",
    matmulOf([small(2.5), small(3.5)]),
    [6 * STEP],
    { "half-away": [[7 * STEP]], "half-even": [[6 * STEP]] },
    GRID,
  ),
];

const CEILING = "the ceiling of products, and the room that operand scaling leaves";

const RANGE_CASES: readonly NumberCase[] = [
  settling(
    "ceiling.edge",
    "A product sum of 32760 comes out as 32768, or is infinite",
    "sum.range",
    matmulOf(sums(16384, 16376)),
    [32768],
    {
      "channel-order": [[32768]],
      "any-order": [[32768]],
      "final-sum": [[32768]],
      "final-sum-32758": [[Infinity]],
    },
    CEILING,
  ),
  settling(
    "ceiling.final-sum",
    "A sum that passes 32768 on its way and comes back is infinite, or finite",
    "sum.range",
    matmulOf([...times(16, [4096, 1]), ...times(16, [-3584, 1])]),
    [8192],
    {
      "channel-order": [[Infinity]],
      "any-order": [[Infinity]],
      "final-sum": [[8192]],
      "final-sum-32758": [[8192]],
    },
    CEILING,
  ),
  settling(
    "ceiling.order",
    "16384 - 1 + 16384 stays below 32768 in the order of channels",
    "sum.range",
    matmulOf(sums(16384, -1, 16384)),
    [32768],
    {
      "channel-order": [[32768]],
      "any-order": [[Infinity]],
      "final-sum": [[32768]],
      "final-sum-32758": [[Infinity]],
    },
    CEILING,
  ),
  settling(
    "ceiling.alternating",
    "16384 and -16384 in turn never pass 32768 in the order of channels",
    "sum.range",
    matmulOf(sums(16384, -16384, 16384, -16384, 1)),
    [1],
    {
      "channel-order": [[1]],
      "any-order": [[Infinity]],
      "final-sum": [[1]],
      "final-sum-32758": [[1]],
    },
    CEILING,
  ),
];

const TIES = [2050, 4100, 1 + 2 ** -10, -2050];
const EVEN = [2048, 4096, 1, -2048];
const TIED = [sums(2048, 1), sums(4096, 2), sums(1, 2 ** -11), sums(-2048, -1)];

const ROUNDING = "the simulator's rounding of products";

const ROUNDING_CASES: readonly NumberCase[] = [
  settling(
    "matmul.ties",
    "Sums of matmul halfway between two fp16 numbers go away from zero, or to the even one",
    "output.rounding",
    fourSums(TIED),
    EVEN,
    { "half-away": [TIES], "half-even": [EVEN], "convolutions-cut": [EVEN] },
    ROUNDING,
  ),
  settling(
    "convolution.ties",
    "Sums of convolutions likewise",
    "output.rounding",
    fourConvolved(TIED),
    EVEN,
    { "half-away": [TIES], "half-even": [EVEN], "convolutions-cut": [EVEN] },
    ROUNDING,
  ),
  settling(
    "convolution.rounding",
    "Sums of convolutions round to nearest, or are cut off",
    "output.rounding",
    convolutionOf([
      [1, 1],
      [0.75 * 2 ** -10, 1],
    ]),
    [1 + 2 ** -10],
    { "half-away": [[1 + 2 ** -10]], "half-even": [[1 + 2 ** -10]], "convolutions-cut": [[1]] },
    ROUNDING,
  ),
  settling(
    "bias.start",
    "A bias starts the sum, 2049 - 1 = 2048, or is added to its result",
    "bias",
    convolutionOf(sums(2048, 1), -1),
    [2048],
    { "start-value": [[2048]], "added-after": [[2050], [2047], [2049]] },
    "the simulator's bias",
  ),
  settling(
    "special.convolution",
    "Infinity and NaN as inputs of a convolution are 65536 and 98304, or infinite and lost",
    "product.special",
    specialConvolution(),
    [Infinity, NaN],
    {
      numbers: [[4096, 6144]],
      ieee: [
        [Infinity, 0],
        [Infinity, NaN],
      ],
    },
    "that an overflow in front of a product may become an ordinary number",
  ),
  settling(
    "convolution.winograd",
    "3x3 convolutions of H17 and H18 are computed by F(2,3) along the width, or directly",
    "convolution.wide",
    wideConvolution(),
    [2 ** -11],
    { winograd: [[3 * 2 ** -12]], direct: [[2 ** -11]] },
    "the simulator's 3x3 convolutions and their rate",
  ),
  settling(
    "add.rounding",
    "Additions go away from zero, or to the even number",
    "elementwise.rounding",
    {
      build: () =>
        program(
          [
            [1, 32],
            [1, 32],
          ],
          (f, x, y) => f.op("add", { x: given(x), y: given(y) }),
        ),
      inputs: [padded(32, [2048, 2050, 1, -2048]), padded(32, [1, 1, 0.75 * 2 ** -10, -1])],
    },
    [2048, 2052, 1 + 2 ** -10, -2048],
    {
      "half-away": [[2050, 2052, 1 + 2 ** -10, -2050]],
      "half-even": [[2048, 2052, 1 + 2 ** -10, -2048]],
    },
    "the simulator's elementwise arithmetic",
  ),
  settling(
    "nan.sum",
    "NaN + 1 is infinite, or NaN",
    "elementwise.special",
    {
      build: () => program([[1, 32]], (f, x) => f.op("add", { x: given(x), y: 1 })),
      inputs: [padded(32, [NaN])],
    },
    [NaN],
    { infinity: [[Infinity]], ieee: [[NaN]] },
    "that a lost number shows as an overflow",
  ),
];

const TREE = "the warning about reduce ops, and the simulator's tree";

const SUM_CASES: readonly NumberCase[] = [
  {
    ...settling(
      "sum.narrow",
      "reduce_sum adds in fp16, or wide and rounds once",
      "reduce.sum",
      {
        build: () =>
          program([[1, 4096]], (f, x) =>
            f.op("reduce_sum", { x: given(x), axes: [1], keep_dims: true }),
          ),
        inputs: [NARROW],
      },
      [EXACT_SUM],
      {
        tree: [[narrowSum(NARROW, away)], [narrowSum(NARROW, roundToFloat16)]],
        wide: [[EXACT_SUM]],
      },
      TREE,
    ),
    rule: "reduce-narrow",
  },
  settling(
    "sum.eight",
    "257 and seven 256 give 2050, as published",
    "reduce.sum",
    {
      build: () =>
        program([[1, 8]], (f, x) =>
          f.op("reduce_sum", { x: given(x), axes: [1], keep_dims: true }),
        ),
      inputs: [[257, 256, 256, 256, 256, 256, 256, 256]],
    },
    [2048],
    { tree: [[2050], [2048]], wide: [[2050], [2048]] },
    TREE,
  ),
  settling(
    "int8.sum",
    "Products of int8 numbers are summed as integers, beyond 32768, or as fp16 numbers",
    "int8.sum",
    integerProduct(),
    [64512],
    { integer: [[64512]], dequantized: [[Infinity]] },
    "W8A8 products in the simulator",
  ),
  settling(
    "quantize.ties",
    "quantize rounds ties away from zero, or to the even number",
    "quantize.rounding",
    {
      build: () =>
        program([[1, 32]], (f, x) => {
          const narrow = f.op("quantize", { input: given(x), scale: 1, output_dtype: "int8" });
          return f.op("dequantize", { input: narrow, scale: 1 });
        }),
      inputs: [padded(32, [0.5, 1.5, 2.5, -0.5])],
    },
    [0, 2, 2, 0],
    { "half-away": [[1, 2, 3, -1]], "half-even": [[0, 2, 2, 0]] },
    "int8 activations in the simulator",
  ),
];

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
      build: () => program([[1, 32]], (f, x) => f.op(op, { x: given(x), ...settings })),
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

const TABLE_CASES: readonly NumberCase[] = [
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

export const ARITHMETIC_CASES: readonly NumberCase[] = [
  ...DROP_CASES,
  ...RANGE_CASES,
  ...ROUNDING_CASES,
  ...SUM_CASES,
  ...TABLE_CASES,
  {
    id: "grid.survive",
    group: "arithmetic",
    title: "A product of 1.625 * 2^-16 becomes 2 * 2^-16 in a matmul",
    source: GEMM,
    ...matmulOf([small(1.625)]),
    right: [1.625 * STEP],
    documented: () => [2 * STEP],
    relies: GRID,
  },
  {
    id: "ceiling.below",
    group: "arithmetic",
    title: "A product sum of 32752 is finite",
    source: CLIFFS,
    ...matmulOf(times(32, [1023.5, 1])),
    right: [32752],
    documented: () => [32752],
    relies: "the ceiling of products",
  },
  {
    id: "ceiling.above",
    group: "arithmetic",
    title: "A product sum of 32768 is infinite",
    source: CLIFFS,
    ...matmulOf(times(32, [1024, 1])),
    right: [32768],
    documented: () => [Infinity],
    relies: "the ceiling of products",
  },
  {
    id: "sum.wide",
    group: "arithmetic",
    title: "A matmul with ones sums 4096 numbers exactly, 1 beside 2048 included",
    source: `${CLIFFS}: 16384 ones are exact`,
    build: () =>
      program(
        [
          [1, 4096],
          [4096, 32],
        ],
        (f, x, y) =>
          f.op("matmul", { x: given(x), y: given(y), transpose_x: false, transpose_y: false }),
      ),
    inputs: [NARROW, padded(4096 * 32, [], 1)],
    right: [EXACT_SUM],
    documented: () => [EXACT_SUM],
    relies: "writing long sums as products with ones",
  },
  {
    id: "sum.ones",
    group: "arithmetic",
    title: "A matmul of 16384 ones with ones gives 16384",
    source: CLIFFS,
    build: () =>
      program(
        [
          [1, 16384],
          [16384, 32],
        ],
        (f, x, y) =>
          f.op("matmul", { x: given(x), y: given(y), transpose_x: false, transpose_y: false }),
      ),
    inputs: [padded(16384, [], 1), padded(16384 * 32, [], 1)],
    right: [16384],
    documented: () => [16384],
    relies: "writing long sums as products with ones",
  },
  {
    id: "subnormal",
    group: "arithmetic",
    title: "Numbers below 2^-14 are kept, not flushed to zero",
    source: "ANEForge matrix-product errors: variants that flush do not fit",
    build: () => program([[1, 32]], (f, x) => f.op("mul", { x: given(x), y: 0.5 })),
    inputs: [padded(32, [2 ** -16, 2 ** -20, -(2 ** -23)])],
    right: [2 ** -17, 2 ** -21, -(2 ** -24)],
    documented: () => [2 ** -17, 2 ** -21, -(2 ** -24)],
    relies: "the simulator's small numbers",
  },
  {
    id: "nan.difference",
    group: "arithmetic",
    title: "Infinity minus infinity is not NaN",
    source: "ANEForge: NaN is not propagated",
    level: "thorough",
    build: () =>
      program(
        [
          [1, 32],
          [1, 32],
        ],
        (f, x, y) => f.op("sub", { x: given(x), y: given(y) }),
      ),
    inputs: [padded(32, [Infinity, -Infinity]), padded(32, [Infinity, -Infinity])],
    right: [NaN, NaN],
    documented: () => "wrong",
    relies: "that a gradient's overflow must be seen as infinity, not NaN",
  },
  {
    id: "nan.log",
    group: "arithmetic",
    title: "log of infinity is 0",
    source: "ANEForge: NaN is not propagated",
    level: "thorough",
    build: () => program([[1, 32]], (f, x) => f.op("log", { x: given(x), epsilon: 2 ** -24 })),
    inputs: [padded(32, [Infinity], 1)],
    right: [Infinity],
    documented: () => [0],
    relies: "that overflow may hide in a logarithm",
  },
  {
    id: "overflow.mul",
    group: "arithmetic",
    title: "An elementwise product beyond 65504 is infinite",
    source: "ANEForge: may come back as -52416",
    build: () =>
      program(
        [
          [1, 32],
          [1, 32],
        ],
        (f, x, y) => f.op("mul", { x: given(x), y: given(y) }),
      ),
    inputs: [padded(32, [300, -300, 60000]), padded(32, [300, 300, 2])],
    right: [Infinity, -Infinity, Infinity],
    documented: () => [Infinity, -Infinity, Infinity],
    relies: "that the dynamic loss scale sees an overflow",
  },
];
