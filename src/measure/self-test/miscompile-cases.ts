import { constant, padded, program } from "./number-case.ts";
import type { NumberCase } from "./number-case.ts";
import { from, upTo } from "./settling-case.ts";
import { convolved, matmulProgram } from "./arithmetic-programs.ts";

const wide = 64;
const ramp = padded(wide, [], 0).map((_, index) => index);

/** op(x) * 3 with a scalar. */
function scaledRounding(op: "floor" | "ceil" | "round", plain: readonly number[]): NumberCase {
  return {
    id: `scaled.${op}`,
    rule: "rounded-times-scalar",
    title: `A scalar multiplied to the result of ${op} is dropped`,
    source: "ANEForge 112",
    build: () => program([[1, 32]], (f, x) => f.op("mul", { x: f.op(op, { x }), y: 3 })),
    inputs: [padded(32, [1.25, 2.75, -3.25])],
    right: plain.map((value) => 3 * value),
    documented: () => plain,
    relies: "the rule that refuses such programs",
  };
}

export const MISCOMPILE_CASES: readonly NumberCase[] = [
  scaledRounding("floor", [1, 2, -4]),
  scaledRounding("ceil", [2, 3, -3]),
  scaledRounding("round", [1, 3, -3]),
  {
    id: "round.halves",
    rule: "round-large",
    title: "round takes halves away from zero",
    source: "ANEForge per-op rules",
    build: () => program([[1, 32]], (f, x) => f.op("round", { x })),
    inputs: [padded(32, [0.5, 1.5, 2.5, -0.5, -2.5])],
    right: [0, 2, 2, 0, -2],
    documented: () => [1, 2, 3, -1, -3],
    relies: "the warning about round",
  },
  {
    id: "round.large",
    rule: "round-large",
    title: "round is wrong from 1024 on",
    source: "ANEForge 116",
    build: () => program([[1, 32]], (f, x) => f.op("round", { x })),
    inputs: [padded(32, [1025, 2050, 4100, -1027])],
    right: [1025, 2050, 4100, -1027],
    documented: () => "wrong",
    relies: "the warning about round",
  },
  {
    id: "softplus.large",
    rule: "softplus",
    title: "softplus gives 0 from 11.09 on",
    source: "ANEForge 113",
    build: () => program([[1, 32]], (f, x) => f.op("softplus", { x })),
    inputs: [padded(32, [12, 20, 100])],
    right: [12, 20, 100],
    documented: () => [0, 0, 0],
    tolerance: 1e-3,
    relies: "the rewriting of softplus as a bounded one plus relu",
  },
  {
    id: "softplus.bounded",
    rule: "softplus",
    title: "softplus(min(x, 10)) + relu(x - 10) is right beyond 11.09",
    source: "ANEForge 113",
    build: () =>
      program([[1, 32]], (f, x) => {
        const input = x;
        const bent = f.op("softplus", { x: f.op("minimum", { x: input, y: 10 }) });
        const rest = f.op("relu", { x: f.op("sub", { x: input, y: 10 }) });
        return f.op("add", { x: bent, y: rest });
      }),
    inputs: [padded(32, [5, 12, 100])],
    right: [5.0067, 12, 100],
    documented: () => [5.0067, 12, 100],
    tolerance: 5e-3,
    relies: "the rewriting of softplus",
  },
  {
    id: "slice.clamp",
    rule: "slice-clamp",
    title:
      "A slice with an offset on the last axis: beyond 4094 infinity up to H14, exact from H16 on",
    source: "ANEForge numeric cliffs, M1, M2, M4 to M6",
    build: () =>
      program([[1, wide]], (f, x) => f.op("slice_by_size", { x, begin: [0, 32], size: [1, 32] })),
    inputs: [padded(wide, [...padded(32, []), 5000, -5000, 4000, 1])],
    right: [5000, -5000, 4000, 1],
    documented: (chip) =>
      upTo(chip, "H14")
        ? [Infinity, -Infinity, 4000, 1]
        : from(chip, "H16")
          ? [5000, -5000, 4000, 1]
          : undefined,
    relies: "the rule about slices",
  },
  {
    id: "slice.concat",
    rule: "concat-of-slices",
    title:
      "Two joined slices with offsets on the last axis: wrong elements up to H14, right from H16 on",
    source: "ANEForge per-family limits, M1, M2, M4 to M6",
    build: () =>
      program([[1, wide]], (f, x) => {
        const slice = (start: number) =>
          f.op("slice_by_size", { x, begin: [0, start], size: [1, 16] });
        return f.op("concat", { values: [slice(32), slice(16)], axis: 1, interleave: false });
      }),
    inputs: [ramp],
    right: [...ramp.slice(32, 48), ...ramp.slice(16, 32)],
    documented: (chip) =>
      upTo(chip, "H14")
        ? "wrong"
        : from(chip, "H16")
          ? [...ramp.slice(32, 48), ...ramp.slice(16, 32)]
          : undefined,
    relies: "the rule about rotary embeddings by slices",
  },
  {
    id: "matmul.inner-24",
    rule: "matmul-inner-32",
    title: "A matmul of two inputs over 24: zeros on H13 in memory, right elsewhere",
    source: "maderix issue 47, M1; ANEForge runs 4, 8 and 197 through e5rt",
    build: () => matmulProgram(32, 24, 32),
    inputs: [padded(32 * 24, [], 1), padded(24 * 32, [], 1)],
    right: [24, 24, 24],
    documented: (chip, driver) =>
      driver === "in-memory" && chip.family === "H13" ? [0, 0, 0] : [24, 24, 24],
    relies: "padding inner sizes to multiples of 32",
  },
  {
    id: "conv.runtime-weight",
    rule: "conv-runtime-weight",
    title:
      "A convolution whose weight is an input: ignored in memory, right through e5rt at batch 1",
    source: "skyfallsin field guide, M3 Max; ANEForge",
    build: () =>
      program(
        [
          [1, 32, 1, 32],
          [32, 32, 1, 1],
        ],
        (f, x, weight) =>
          convolved(f, {
            x,
            weight,
          }),
      ),
    inputs: [padded(32 * 32, [], 1), padded(32 * 32, [], 0.5)],
    right: [16, 16, 16],
    documented: (_, driver) => (driver === "in-memory" ? "wrong" : [16, 16, 16]),
    relies: "the rule that weights which are inputs go through matmul",
  },
  {
    id: "attention.mask",
    rule: "attention-mask",
    title: "The mask of scaled_dot_product_attention is ignored",
    source: "maderix, Orion 6; ANEForge: no mask",
    build: () =>
      program(
        [
          [1, 1, 32, 32],
          [1, 1, 32, 32],
          [1, 1, 32, 32],
        ],
        (f, query, key, value) =>
          f.op("scaled_dot_product_attention", {
            query,
            key,
            value,
            // Row i may see place 0 only.
            attn_mask: constant(
              f,
              [1, 1, 32, 32],
              Array.from({ length: 32 * 32 }, (_, index) => (index % 32 === 0 ? 0 : -10000)),
            ),
          }),
      ),
    inputs: [
      padded(1024, [], 0),
      padded(1024, [], 0),
      // Row 0 holds 1, the others 0: 1 with the mask, 1/32 without.
      Array.from({ length: 1024 }, (_, index) => (index < 32 ? 1 : 0)),
    ],
    right: [1, 1],
    documented: () => [1 / 32, 1 / 32],
    tolerance: 5e-3,
    relies: "writing attention out in products",
  },
  {
    id: "softmax.197",
    rule: "softmax-power-of-two",
    title: "softmax over 197, no power of two, is right",
    source: "ANEForge through e5rt; Espresso saw 257 refused in memory, M3 Max",
    build: () => program([[8, 197]], (f, x) => f.op("softmax", { x, axis: -1 })),
    inputs: [padded(8 * 197, [], 0)],
    right: [1 / 197, 1 / 197],
    documented: (_, driver) => (driver === "in-memory" ? undefined : [1 / 197, 1 / 197]),
    tolerance: 3e-3,
    relies: "softmax over any sequence length",
  },
  {
    id: "gelu.zero",
    title: "gelu(0) is -7.5e-4",
    source: "ANEForge, one chip",
    driver: "e5rt",
    level: "thorough",
    build: () => program([[1, 32]], (f, x) => f.op("gelu", { x, mode: "EXACT" })),
    inputs: [padded(32, [])],
    right: [0],
    documented: () => "wrong",
    relies: "the simulator's table of gelu",
  },
];
