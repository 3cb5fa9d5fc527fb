import type { Family } from "../chip.ts";

/**
 * How well a variant is supported: seen on the chip, worked out from published numbers that it reproduces to their
 * last digits, fits what is published without being the only one, nobody tried, or contradicted by a measurement.
 */
export type Confidence = "measured" | "replayed" | "inferred" | "assumed" | "refuted";

/** Who says so, and about which chips. */
export interface Evidence {
  readonly chips: string;
  readonly confidence: Confidence;
  readonly source: string;
}

export interface Variant {
  readonly says: string;
  readonly evidence: readonly Evidence[];
}

/** One thing about the engine's arithmetic on which a result depends, and what it may be. */
export interface Rule {
  readonly title: string;
  readonly variants: Readonly<Record<string, Variant>>;
  /** The probes of `anecdote doctor` that tell the variants apart. */
  readonly probes: readonly string[];
  /** The best-supported variant, where families differ by family. */
  readonly best: string | Readonly<Record<Family, string>>;
  /** What stood here until August 2026. */
  readonly august: string | Readonly<Record<Family, string>>;
}

const STUDY = "Apple Neural Engine study of M6 with M4 controls (751K), macOS 27.0.1";
const REPLAY =
  "replay of ANEForge's matrix-product seeds: the published errors at N = 512 to 4096, to 14 digits";
const AUGUST = "our reading of ANEForge's errors of August 2026";
const CLIFFS = "ANEForge numeric cliffs";
const TABLE = `${STUDY}, knots from compiled programs, errors measured`;
const FIVE = "M1 Max, M2 Max, M4 Max, M5, M6";

const same = (variant: string): Readonly<Record<Family, string>> => ({
  H13: variant,
  H14: variant,
  H15: variant,
  H16: variant,
  H17: variant,
  H18: variant,
});
const fromH17 = (older: string, newer: string): Readonly<Record<Family, string>> => ({
  ...same(older),
  H17: newer,
  H18: newer,
});

const FITTED = "straight lines whose spacing fits the relative error of ANEForge's sweep";

/** A function from a table of straight lines: the published grid, or what stood for it before. */
function tableRule<const Probe extends string>(
  name: string,
  grid: string,
  probes: readonly Probe[],
  fitted = FITTED,
) {
  return {
    title: `${name} by table`,
    variants: {
      grid: {
        says: grid,
        evidence: [
          { chips: "M6", confidence: "measured", source: TABLE },
          { chips: "M1 to M5", confidence: "assumed", source: "nobody published another table" },
        ],
      },
      fitted: {
        says: fitted,
        evidence: [
          { chips: "M5", confidence: "inferred", source: `${AUGUST}; only the size is published` },
        ],
      },
      exact: {
        says: "as good as fp16 allows",
        evidence: [
          {
            chips: "M4",
            confidence: "assumed",
            source:
              "maderix, part 4: sigmoid off by 2.4e-4 on M4, which contradicts the study of M6; other functions untried",
          },
        ],
      },
    },
    probes,
    best: "grid",
    august: "fitted",
  } as const satisfies Rule;
}

/** Rules by the name that settings, reports and probes use. */
export const ARITHMETIC_RULES = {
  "product.drop": {
    title: "which small products of matmul and conv vanish",
    variants: {
      exponents: {
        says: "those whose operands' exponents (subnormals and 0 count as -14) sum to -17 or less, whatever their size",
        evidence: [
          { chips: "M6", confidence: "measured", source: `${STUDY}: 21 weights x 10 products` },
          { chips: FIVE, confidence: "replayed", source: REPLAY },
          { chips: "M3 family", confidence: "assumed", source: "no data for H15" },
        ],
      },
      "two-units": {
        says: "those that round to less than two units of 2^-16",
        evidence: [{ chips: FIVE, confidence: "refuted", source: `${AUGUST}; ${REPLAY}` }],
      },
    },
    probes: ["grid.unit", "grid.exponents", "grid.vanish", "grid.one-is-dropped"],
    best: "exponents",
    august: "two-units",
  },
  "product.rounding": {
    title: "how a product is rounded to the grid of 2^-16",
    variants: {
      "half-away": {
        says: "to the nearest unit, halves away from zero",
        evidence: [
          { chips: "M6", confidence: "measured", source: STUDY },
          { chips: FIVE, confidence: "replayed", source: REPLAY },
        ],
      },
      "half-even": {
        says: "to the nearest unit, halves to the even one",
        evidence: [{ chips: FIVE, confidence: "refuted", source: `${AUGUST}; ${REPLAY}` }],
      },
    },
    probes: ["grid.ties"],
    best: "half-away",
    august: "half-even",
  },
  "sum.range": {
    title: "when a sum of products becomes infinite",
    variants: {
      "channel-order": {
        says: "when the sum so far, in the order of channels, reaches 32768 in magnitude; it stays so",
        evidence: [
          {
            chips: "M4, M6",
            confidence: "inferred",
            source: `${STUDY}: four sums that pass 32768 and come back are infinite; they fit this order`,
          },
        ],
      },
      "any-order": {
        says: "when the sum of its positive or of its negative products reaches 32768: as if positives met first",
        evidence: [
          { chips: "M4, M6", confidence: "inferred", source: `${STUDY}: the same four sums` },
        ],
      },
      "final-sum": {
        says: "when the final sum reaches 32768",
        evidence: [{ chips: "M4, M6", confidence: "refuted", source: `${STUDY}: the four sums` }],
      },
      "final-sum-32758": {
        says: "when the final sum is beyond 32758.8",
        evidence: [
          {
            chips: "M4, M6",
            confidence: "refuted",
            source: `${AUGUST}; 32758.8 is the step of ${CLIFFS}' bisection below 32760, which rounds up to 32768`,
          },
        ],
      },
    },
    probes: ["ceiling.final-sum", "ceiling.order", "ceiling.alternating", "ceiling.edge"],
    best: "channel-order",
    august: "final-sum-32758",
  },
  "output.rounding": {
    title: "how a sum of products becomes fp16",
    variants: {
      "half-away": {
        says: "to the nearest, halves away from zero; -0 becomes +0",
        evidence: [
          { chips: "M6", confidence: "measured", source: STUDY },
          { chips: FIVE, confidence: "replayed", source: REPLAY },
          { chips: "M5 Pro", confidence: "replayed", source: "one dot product of cadamcat's" },
        ],
      },
      "half-even": {
        says: "to the nearest, halves to the even one",
        evidence: [{ chips: FIVE, confidence: "refuted", source: `${AUGUST}; ${REPLAY}` }],
      },
      "convolutions-cut": {
        says: "to the nearest, halves to the even one; convolutions are cut off",
        evidence: [
          {
            chips: "M6",
            confidence: "refuted",
            source: `${AUGUST}; 2048 + 1 by a 1x1 conv is 2050`,
          },
        ],
      },
    },
    probes: ["matmul.ties", "convolution.ties", "convolution.rounding"],
    best: "half-away",
    august: fromH17("half-even", "convolutions-cut"),
  },
  bias: {
    title: "where a bias is added",
    variants: {
      "start-value": {
        says: "the sum starts from it, rounded to 2^-16 half away from zero, and it counts for the range",
        evidence: [
          { chips: "M6", confidence: "measured", source: `${STUDY}, table 8-3` },
          { chips: "M1 to M5", confidence: "assumed", source: "nobody tried it" },
        ],
      },
      "added-after": {
        says: "to the fp16 result, in fp16",
        evidence: [{ chips: "M6", confidence: "refuted", source: `${AUGUST}; ${STUDY}` }],
      },
    },
    probes: ["bias.start"],
    best: "start-value",
    august: "added-after",
  },
  "product.special": {
    title: "infinities and NaN as operands of products",
    variants: {
      numbers: {
        says: "ordinary numbers of exponent 16: infinity is 65536, NaN 98304",
        evidence: [
          { chips: "M6", confidence: "measured", source: STUDY },
          { chips: "M1 to M5", confidence: "assumed", source: "nobody tried it" },
        ],
      },
      ieee: {
        says: "infinity makes the sum infinite, NaN counts as 0",
        evidence: [{ chips: "M6", confidence: "refuted", source: `${AUGUST}; ${STUDY}` }],
      },
    },
    probes: ["special.convolution"],
    best: "numbers",
    august: "ieee",
  },
  "convolution.wide": {
    title: "convolutions with a kernel three wide (3x3, 1x3), stride and dilation 1, one group",
    variants: {
      winograd: {
        says: "F(2,3) along the width: weights and inputs of four points rounded to fp16 half away, exact sums between",
        evidence: [
          {
            chips: "M5, M6",
            confidence: "replayed",
            source: "ANEForge's 3x3 seeds at 64 and 128 channels, to 10 digits",
          },
          {
            chips: "M6",
            confidence: "measured",
            source: `${STUDY}: 1.3 to 1.5 times the direct rate, but not for 256 channels of 8x16`,
          },
        ],
      },
      direct: {
        says: "every product of the window",
        evidence: [
          {
            chips: "M1 Max, M2 Max, M4 Max",
            confidence: "replayed",
            source: "ANEForge's 3x3 seeds at 64 channels",
          },
        ],
      },
    },
    probes: ["convolution.winograd"],
    best: fromH17("direct", "winograd"),
    august: "direct",
  },
  "elementwise.rounding": {
    title: "how results of elementwise ops are rounded to fp16",
    variants: {
      "half-away": {
        says: "to the nearest, halves away from zero; subnormals kept, infinite beyond 65504",
        evidence: [
          { chips: "M6", confidence: "measured", source: STUDY },
          { chips: "M1 to M5", confidence: "assumed", source: "as M6" },
        ],
      },
      "half-even": {
        says: "to the nearest, halves to the even one",
        evidence: [{ chips: "M6", confidence: "refuted", source: `${AUGUST}; ${STUDY}` }],
      },
    },
    probes: ["add.rounding"],
    best: "half-away",
    august: "half-even",
  },
  "elementwise.special": {
    title: "NaN as an operand of add, sub, mul and real_div",
    variants: {
      infinity: {
        says: "counts as infinity: NaN + 1 is infinite",
        evidence: [
          { chips: "M6", confidence: "measured", source: STUDY },
          { chips: "M1 to M5", confidence: "assumed", source: "nobody tried it" },
        ],
      },
      ieee: {
        says: "NaN stays NaN",
        evidence: [{ chips: "M6", confidence: "refuted", source: `${AUGUST}; ${STUDY}` }],
      },
    },
    probes: ["nan.sum"],
    best: "infinity",
    august: "ieee",
  },
  "reduce.sum": {
    title: "how reduce_sum adds",
    variants: {
      tree: {
        says: "fp16 additions in a tree of neighbouring pairs",
        evidence: [
          {
            chips: FIVE,
            confidence: "inferred",
            source: `${CLIFFS}: 257 and seven 256 give 2050; fits the error 8e-4 of 4096 terms`,
          },
        ],
      },
      wide: {
        says: "one exact sum, rounded once",
        evidence: [
          { chips: FIVE, confidence: "inferred", source: `${CLIFFS}: 2050 fits this as well` },
        ],
      },
    },
    probes: ["sum.narrow", "sum.eight"],
    best: "tree",
    august: "tree",
  },
  "int8.sum": {
    title: "products of two int8 operands",
    variants: {
      integer: {
        says: "32-bit integer sums, infinite from 2^31 on, scaled afterwards: no ceiling of 32768",
        evidence: [
          { chips: "M6", confidence: "measured", source: `${STUDY}: 64512 seen` },
          { chips: "M4, M5 families", confidence: "assumed", source: "as M6" },
        ],
      },
      dequantized: {
        says: "as products of the fp16 numbers that the int8 numbers stand for",
        evidence: [
          {
            chips: "M1 to M3 families",
            confidence: "inferred",
            source:
              "our reading: no W8A8 rate was measured there, int8 weights become fp16 before the multiplier",
          },
        ],
      },
    },
    probes: ["int8.sum"],
    best: { ...same("dequantized"), H16: "integer", H17: "integer", H18: "integer" },
    august: "dequantized",
  },
  "quantize.rounding": {
    title: "how quantize rounds",
    variants: {
      "half-away": {
        says: "to the nearest, halves away from zero",
        evidence: [
          {
            chips: "M5 Pro",
            confidence: "measured",
            source: "cadamcat: all 63,488 finite fp16 numbers",
          },
        ],
      },
      "half-even": {
        says: "to the nearest, halves to the even one",
        evidence: [{ chips: "M5 Pro", confidence: "refuted", source: "cadamcat" }],
      },
    },
    probes: ["quantize.ties"],
    best: "half-away",
    august: "half-even",
  },
  "table.sigmoid": tableRule("sigmoid", "33 values over [-8, 8]; 0 below, 1 above", [
    "table.sigmoid",
  ]),
  "table.exp": tableRule(
    "exp",
    "2^t with t = fp16(x fp16(log2 e)), 32 lines over the fraction of t",
    ["table.exp"],
  ),
  "table.log": tableRule(
    "log",
    "log2 of the mantissa by 32 lines, fp16, plus the exponent, fp16, times fp16(ln 2)",
    ["table.log"],
  ),
  "table.root": tableRule(
    "sqrt and rsqrt",
    "mantissa in [0.5, 2) by lines of 1/16",
    ["table.root"],
    `rsqrt by ${FITTED}; sqrt exact`,
  ),
  "table.inverse": tableRule(
    "inverse",
    "fp16(x + epsilon), its mantissa by lines of 1/64",
    ["table.inverse"],
    "exact",
  ),
  "table.erf": tableRule(
    "erf",
    "33 values over [0, 2], odd; beyond 2 exact, by the size of its errors",
    ["table.erf"],
  ),
  "table.tanh": tableRule("tanh", "33 values over [0, 4], odd; 1 beyond", ["table.tanh"]),
  "table.gelu": tableRule(
    "gelu",
    "33 fitted values over [-4, 4], one table for EXACT and TANH_APPROXIMATION; two values are published, the others our fit",
    ["table.gelu"],
  ),
  "table.silu": tableRule(
    "silu",
    "33 fitted values over [-8, 8]; two values are published, the others our fit",
    ["table.silu"],
  ),
} as const satisfies Readonly<Record<string, Rule>>;

export type RuleName = keyof typeof ARITHMETIC_RULES;

export const RULE_NAMES = Object.keys(ARITHMETIC_RULES) as readonly RuleName[];
