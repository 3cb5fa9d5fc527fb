import { familyIndex } from "../../chip/chip.ts";
import type { Chip, Family } from "../../chip/chip.ts";
import { narrowSum } from "../../engine/sim/arithmetic.ts";
import { roundToFloat16 } from "../../util/float16.ts";
import { constant, padded, program } from "./number-case.ts";
import type { NumberCase } from "./number-case.ts";

const GEMM =
  "ANEForge matrix-product errors of M1 Max, M4 Max, M6; the grid is our reading of them";
const CLIFFS = "ANEForge numeric cliffs, M1 to M6";
const GRID = "the grid of products, from which loss scale and operand scaling follow";

export const upTo = (chip: Chip, family: Family): boolean =>
  familyIndex(chip.family) <= familyIndex(family);
export const from = (chip: Chip, family: Family): boolean =>
  familyIndex(chip.family) >= familyIndex(family);

const DEPTH = 32;

/** [1, 32] x [32, 32]: element 0 of the result is the sum of these products. */
function matmulOf(
  products: readonly (readonly [number, number])[],
): Pick<NumberCase, "build" | "inputs"> {
  const weights = new Float64Array(DEPTH * DEPTH);
  products.forEach(([, right], row) => (weights[row * DEPTH] = right));
  return {
    build: () =>
      program(
        [
          [1, DEPTH],
          [DEPTH, DEPTH],
        ],
        (f, x, y) =>
          f.op("matmul", { x: given(x), y: given(y), transpose_x: false, transpose_y: false }),
      ),
    inputs: [
      padded(
        DEPTH,
        products.map(([left]) => left),
      ),
      weights,
    ],
  };
}

/** The same sum as a 1x1 convolution with constant weights over 32 channels and 32 places. */
function convolutionOf(
  products: readonly (readonly [number, number])[],
): Pick<NumberCase, "build" | "inputs"> {
  const x = new Float64Array(DEPTH * DEPTH);
  products.forEach(([left], channel) => (x[channel * DEPTH] = left));
  const weights = new Float64Array(DEPTH * DEPTH);
  products.forEach(([, right], channel) => (weights[channel] = right));
  return {
    build: () =>
      program([[1, DEPTH, 1, DEPTH]], (f, input) =>
        f.op("conv", {
          x: given(input),
          weight: constant(f, [DEPTH, DEPTH, 1, 1], weights),
          strides: [1, 1],
          pad_type: "valid",
          pad: [0, 0, 0, 0],
          dilations: [1, 1],
          groups: 1,
        }),
      ),
    inputs: [x],
  };
}

export function given<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("a probe's program lacks an input");
  return value;
}

const STEP = 2 ** -16;
const times = (count: number, product: readonly [number, number]) =>
  Array.from({ length: count }, () => product);
/** a x b = factor * 2^-16, both operands fp16. */
const small = (factor: number): readonly [number, number] => [factor * 2 ** -8, 2 ** -8];

/** [1, 4096]: 2048, 1, -2048, 1 over and over. Exactly 2048; in fp16 each 1 beside 2048 is lost. */
const NARROW = Array.from({ length: 4096 }, (_, index) => [2048, 1, -2048, 1][index % 4] ?? 0);
const EXACT_SUM = 2048;
const ONE_BY_ONE = 1;

export const ARITHMETIC_CASES: readonly NumberCase[] = [
  {
    id: "grid.vanish",
    group: "arithmetic",
    title: "A product of 1.375 * 2^-16 vanishes in a matmul",
    source: GEMM,
    ...matmulOf([small(1.375)]),
    right: [1.375 * STEP],
    documented: () => [0],
    relies: GRID,
  },
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
    id: "grid.ties",
    group: "arithmetic",
    title: "Products halfway between two steps of the grid go to the even one",
    source: GEMM,
    ...matmulOf([small(2.5), small(3.5)]),
    right: [6 * STEP],
    documented: () => ({
      oneOf: {
        "ties to even": [6 * STEP],
        "ties away from zero": [7 * STEP],
        "cut off": [5 * STEP],
      },
    }),
    relies: GRID,
  },
  {
    id: "grid.one-is-dropped",
    group: "arithmetic",
    title: "32 products of one step each, 1.25 * 2^-16, sum to 0",
    source: GEMM,
    ...matmulOf(times(32, small(1.25))),
    right: [40 * STEP],
    documented: () => [0],
    relies: GRID,
  },
  {
    id: "grid.negative",
    group: "arithmetic",
    title: "Negative products vanish likewise",
    source: GEMM,
    ...matmulOf(times(32, [-1.25 * 2 ** -8, 2 ** -8])),
    right: [-40 * STEP],
    documented: () => [0],
    relies: GRID,
  },
  {
    id: "grid.convolution",
    group: "arithmetic",
    title: "Convolutions have the same grid: 32 products of 1.25 * 2^-16 sum to 0",
    source: `${GEMM}; convolution errors of M1 Max fit it`,
    ...convolutionOf(times(32, small(1.25))),
    right: [40 * STEP],
    documented: () => [0],
    relies: GRID,
  },
  {
    id: "ceiling.below",
    group: "arithmetic",
    title: "A product sum of 32752 is finite",
    source: `${CLIFFS}: infinite from 32758.8`,
    ...matmulOf(times(32, [1023.5, 1])),
    right: [32752],
    documented: () => [32752],
    relies: "the ceiling of products",
  },
  {
    id: "ceiling.above",
    group: "arithmetic",
    title: "A product sum of 32768 is infinite",
    source: `${CLIFFS}: infinite from 32758.8`,
    ...matmulOf(times(32, [1024, 1])),
    right: [32768],
    documented: () => [Infinity],
    relies: "the ceiling of products",
  },
  {
    id: "ceiling.final-sum",
    group: "arithmetic",
    title: "A sum that passes the ceiling on its way and comes back is finite",
    source: "inferred: nobody tried it",
    ...matmulOf([...times(16, [4096, 1]), ...times(16, [-3584, 1])]),
    right: [8192],
    documented: () => [8192],
    relies: "the simulator's rule that the final sum decides",
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
    id: "sum.narrow",
    group: "arithmetic",
    rule: "reduce-narrow",
    title: "reduce_sum adds in fp16: of 1 beside 2048 nothing is left",
    source: `${CLIFFS}; the tree of pairs is inferred`,
    build: () =>
      program([[1, 4096]], (f, x) =>
        f.op("reduce_sum", { x: given(x), axes: [1], keep_dims: true }),
      ),
    inputs: [NARROW],
    right: [EXACT_SUM],
    documented: () => ({
      oneOf: { "a tree of pairs": [narrowSum(NARROW, roundToFloat16)], "one by one": [ONE_BY_ONE] },
    }),
    relies: "the warning about reduce ops, and the simulator's tree",
  },
  {
    id: "convolution.rounding",
    group: "arithmetic",
    title: "Convolutions round to nearest up to H16 and cut off from H17 on",
    source: "ANEForge convolution errors of M1 Max, M5 and M6, our reading",
    ...convolutionOf([
      [1, 1],
      [0.75 * 2 ** -10, 1],
    ]),
    right: [1 + 2 ** -10],
    documented: (chip) => [from(chip, "H17") ? 1 : 1 + 2 ** -10],
    relies: "the simulator's rounding of convolutions",
  },
  {
    id: "matmul.rounding",
    group: "arithmetic",
    title: "Matrix products round to nearest",
    source: GEMM,
    ...matmulOf([
      [1, 1],
      [0.75 * 2 ** -10, 1],
    ]),
    right: [1 + 2 ** -10],
    documented: () => [1 + 2 ** -10],
    relies: "the simulator's rounding of products",
  },
  {
    id: "add.rounding",
    group: "arithmetic",
    title: "Additions round to nearest, ties to even",
    source: "published errors of add fit it",
    build: () =>
      program(
        [
          [1, 32],
          [1, 32],
        ],
        (f, x, y) => f.op("add", { x: given(x), y: given(y) }),
      ),
    inputs: [padded(32, [2048, 2050, 1, -2048]), padded(32, [1, 1, 0.75 * 2 ** -10, -1])],
    right: [2048, 2052, 1 + 2 ** -10, -2048],
    documented: () => [2048, 2052, 1 + 2 ** -10, -2048],
    relies: "the simulator's elementwise arithmetic",
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
