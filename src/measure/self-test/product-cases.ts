import {
  binaryProgram,
  convolutionOf,
  fourConvolved,
  fourSums,
  matmulOf,
  specialConvolution,
  wideConvolution,
} from "./arithmetic-programs.ts";
import { padded, program } from "./number-case.ts";
import type { NumberCase } from "./number-case.ts";
import { GRID, settling, small, STEP, sums, times } from "./settling-case.ts";

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
      build: () => binaryProgram("add", [1, 32]),
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
      build: () => program([[1, 32]], (f, x) => f.op("add", { x, y: 1 })),
      inputs: [padded(32, [NaN])],
    },
    [NaN],
    { infinity: [[Infinity]], ieee: [[NaN]] },
    "that a lost number shows as an overflow",
  ),
];

/** Products and their sums: which are dropped, where a sum overflows, how results are rounded. */
export const PRODUCT_CASES: readonly NumberCase[] = [
  ...DROP_CASES,
  ...RANGE_CASES,
  ...ROUNDING_CASES,
];
