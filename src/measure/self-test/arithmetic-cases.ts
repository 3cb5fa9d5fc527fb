import { narrowSum } from "../../engine/sim/probe.ts";
import { roundToFloat16 } from "../../util/float16.ts";
import { binaryProgram, integerProduct, matmulOf, matmulProgram } from "./arithmetic-programs.ts";
import { padded, program } from "./number-case.ts";
import type { NumberCase } from "./number-case.ts";
import { PRODUCT_CASES } from "./product-cases.ts";
import { away, GRID, settling, small, STEP, times } from "./settling-case.ts";
import { TABLE_CASES } from "./table-cases.ts";

const STUDY = "Apple Neural Engine study of M6 with M4 controls (751K)";
const GEMM = `${STUDY}; replay of ANEForge's matrix-product seeds`;
const CLIFFS = "ANEForge numeric cliffs, M1 to M6";

/** [1, 4096]: 2048, 1, -2048, 1 over and over. Exactly 2048; in fp16 each 1 beside 2048 is lost. */
const NARROW = Array.from({ length: 4096 }, (_, index) => [2048, 1, -2048, 1][index % 4] ?? 0);
const EXACT_SUM = 2048;

const TREE = "the warning about reduce ops, and the simulator's tree";

const SUM_CASES: readonly NumberCase[] = [
  {
    ...settling(
      "sum.narrow",
      "reduce_sum adds in fp16, or wide and rounds once",
      "reduce.sum",
      {
        build: () =>
          program([[1, 4096]], (f, x) => f.op("reduce_sum", { x, axes: [1], keep_dims: true })),
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
        program([[1, 8]], (f, x) => f.op("reduce_sum", { x, axes: [1], keep_dims: true })),
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
          const narrow = f.op("quantize", { input: x, scale: 1, output_dtype: "int8" });
          return f.op("dequantize", { input: narrow, scale: 1 });
        }),
      inputs: [padded(32, [0.5, 1.5, 2.5, -0.5])],
    },
    [0, 2, 2, 0],
    { "half-away": [[1, 2, 3, -1]], "half-even": [[0, 2, 2, 0]] },
    "int8 activations in the simulator",
  ),
];

export const ARITHMETIC_CASES: readonly NumberCase[] = [
  ...PRODUCT_CASES,
  ...SUM_CASES,
  ...TABLE_CASES,
  {
    id: "grid.survive",
    title: "A product of 1.625 * 2^-16 becomes 2 * 2^-16 in a matmul",
    source: GEMM,
    ...matmulOf([small(1.625)]),
    right: [1.625 * STEP],
    documented: () => [2 * STEP],
    relies: GRID,
  },
  {
    id: "ceiling.below",
    title: "A product sum of 32752 is finite",
    source: CLIFFS,
    ...matmulOf(times(32, [1023.5, 1])),
    right: [32752],
    documented: () => [32752],
    relies: "the ceiling of products",
  },
  {
    id: "ceiling.above",
    title: "A product sum of 32768 is infinite",
    source: CLIFFS,
    ...matmulOf(times(32, [1024, 1])),
    right: [32768],
    documented: () => [Infinity],
    relies: "the ceiling of products",
  },
  {
    id: "sum.wide",
    title: "A matmul with ones sums 4096 numbers exactly, 1 beside 2048 included",
    source: `${CLIFFS}: 16384 ones are exact`,
    build: () => matmulProgram(1, 4096, 32),
    inputs: [NARROW, padded(4096 * 32, [], 1)],
    right: [EXACT_SUM],
    documented: () => [EXACT_SUM],
    relies: "writing long sums as products with ones",
  },
  {
    id: "sum.ones",
    title: "A matmul of 16384 ones with ones gives 16384",
    source: CLIFFS,
    build: () => matmulProgram(1, 16384, 32),
    inputs: [padded(16384, [], 1), padded(16384 * 32, [], 1)],
    right: [16384],
    documented: () => [16384],
    relies: "writing long sums as products with ones",
  },
  {
    id: "subnormal",
    title: "Numbers below 2^-14 are kept, not flushed to zero",
    source: "ANEForge matrix-product errors: variants that flush do not fit",
    build: () => program([[1, 32]], (f, x) => f.op("mul", { x, y: 0.5 })),
    inputs: [padded(32, [2 ** -16, 2 ** -20, -(2 ** -23)])],
    right: [2 ** -17, 2 ** -21, -(2 ** -24)],
    documented: () => [2 ** -17, 2 ** -21, -(2 ** -24)],
    relies: "the simulator's small numbers",
  },
  {
    id: "nan.difference",
    title: "Infinity minus infinity is not NaN",
    source: "ANEForge: NaN is not propagated",
    level: "thorough",
    build: () => binaryProgram("sub", [1, 32]),
    inputs: [padded(32, [Infinity, -Infinity]), padded(32, [Infinity, -Infinity])],
    right: [NaN, NaN],
    documented: () => "wrong",
    relies: "that a gradient's overflow must be seen as infinity, not NaN",
  },
  {
    id: "nan.log",
    title: "log of infinity is 0",
    source: "ANEForge: NaN is not propagated",
    level: "thorough",
    build: () => program([[1, 32]], (f, x) => f.op("log", { x, epsilon: 2 ** -24 })),
    inputs: [padded(32, [Infinity], 1)],
    right: [Infinity],
    documented: () => [0],
    relies: "that overflow may hide in a logarithm",
  },
  {
    id: "overflow.mul",
    title: "An elementwise product beyond 65504 is infinite",
    source: "ANEForge: may come back as -52416",
    build: () => binaryProgram("mul", [1, 32]),
    inputs: [padded(32, [300, -300, 60000]), padded(32, [300, 300, 2])],
    right: [Infinity, -Infinity, Infinity],
    documented: () => [Infinity, -Infinity, Infinity],
    relies: "that the dynamic loss scale sees an overflow",
  },
];
