import { assert, constantFrom, integer, property } from "fast-check";
import { describe, expect, test } from "vitest";
import { chipByName } from "../../src/chip/chips.ts";
import { allRules } from "../../src/chip/legality/check.ts";
import { PLAN_RULES } from "../../src/chip/legality/function-rules.ts";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { tensorLiteral } from "../../src/mil/literal.ts";
import type { MilFunction, Value } from "../../src/mil/program.ts";
import { tensorType } from "../../src/mil/types.ts";
import { applyRemedies } from "../../src/lower/index.ts";
import { REMEDIES } from "../../src/lower/remedies.ts";
import { Random } from "../../src/util/random.ts";
import { runLowered } from "../helpers/run-lowered.ts";
import { randomInputs } from "../helpers/tensors.ts";

const random = new Random(7);
const numbers = (count: number): number[] =>
  Array.from({ length: count }, () => random.normal() / 8);

interface Case {
  readonly what: string;
  readonly rule: string;
  readonly chip: string;
  readonly driver: "e5rt" | "in-memory";
  readonly shape: readonly number[];
  /** Of a result, beside the rounding of fp16 to 2^-11 in each op. */
  readonly tolerance: number;
  readonly write: (f: FunctionBuilder, x: Value) => Value;
}

const gelu = (mode: string) => (f: FunctionBuilder, x: Value) => f.op("gelu", { x, mode });

const CASES: readonly Case[] = [
  {
    ...{ what: "an exact gelu", rule: "gelu", chip: "m4", driver: "in-memory" },
    ...{ shape: [40, 64], tolerance: 2e-3, write: gelu("EXACT") },
  },
  {
    ...{ what: "a gelu by tanh", rule: "gelu-h13", chip: "m1", driver: "e5rt" },
    ...{ shape: [40, 64], tolerance: 2e-3, write: gelu("TANH_APPROXIMATION") },
  },
  {
    ...{ what: "a gelu by sigmoid", rule: "gelu", chip: "m4", driver: "in-memory" },
    ...{ shape: [40, 64], tolerance: 2e-3, write: gelu("SIGMOID_APPROXIMATION") },
  },
  {
    ...{ what: "a mean", rule: "reduce-mean", chip: "m4", driver: "in-memory" },
    ...{ shape: [40, 64], tolerance: 2e-3 },
    write: (f, x) => f.op("reduce_mean", { x, axes: [0], keep_dims: true }),
  },
  {
    ...{ what: "a reciprocal root", rule: "rsqrt", chip: "m3", driver: "in-memory" },
    ...{ shape: [40, 64], tolerance: 4e-3 },
    write: (f, x) => f.op("rsqrt", { x: f.op("mul", { x, y: x }), epsilon: 0.25 }),
  },
  {
    ...{ what: "a softmax over 5,000", rule: "softmax-power-of-two", chip: "m4" },
    ...{ driver: "in-memory", shape: [3, 5000], tolerance: 2e-3 },
    write: (f, x) => f.op("softmax", { x, axis: -1 }),
  },
  {
    ...{ what: "a wide product in the notch", rule: "stream-notch", chip: "m4", driver: "e5rt" },
    ...{ shape: [4, 2048], tolerance: 4e-3 },
    write: (f, x) => {
      const weight = numbers(64).concat(Array.from({ length: 2048 * 4096 - 64 }, () => 0.001));
      const y = f.constant(tensorLiteral("fp16", [2048, 4096], weight), "weight");
      return f.op("matmul", { x, y, transpose_x: false, transpose_y: false });
    },
  },
  {
    ...{ what: "a convolution with a bias", rule: "conv-bias", chip: "m4", driver: "in-memory" },
    ...{ shape: [1, 64, 1, 64], tolerance: 4e-3 },
    write: (f, x) => {
      const weight = f.constant(tensorLiteral("fp16", [80, 64, 1, 1], numbers(80 * 64)), "weight");
      const bias = f.constant(tensorLiteral("fp16", [80], numbers(80)), "bias");
      return f.op("conv", { x, weight, bias, pad_type: "valid" });
    },
  },
  {
    ...{ what: "a softplus", rule: "softplus", chip: "m4", driver: "e5rt" },
    ...{ shape: [40, 64], tolerance: 2e-3, write: (f, x) => f.op("softplus", { x }) },
  },
  {
    ...{ what: "a result without axes", rule: "port-rank-0", chip: "m4", driver: "e5rt" },
    ...{ shape: [40, 64], tolerance: 2e-3 },
    write: (f, x) => {
      const largest = f.op("reduce_max", { x, axes: [0, 1], keep_dims: false });
      return f.op("tanh", { x: largest });
    },
  },
  {
    ...{ what: "attention with a mask of numbers", rule: "attention-mask", chip: "m4" },
    ...{ driver: "in-memory", shape: [2, 4, 33, 32], tolerance: 4e-3 },
    write: (f, x) => {
      const attn_mask = f.constant(tensorLiteral("fp16", [33, 33], numbers(33 * 33)), "mask");
      const key = f.op("tanh", { x });
      return f.op("scaled_dot_product_attention", { query: x, key, value: x, attn_mask });
    },
  },
  {
    ...{ what: "causal attention", rule: "attention-mask", chip: "m1", driver: "e5rt" },
    ...{ shape: [1, 2, 40, 32], tolerance: 4e-3 },
    write: (f, x) => {
      const causal = Array.from({ length: 1600 }, (_, i) => Number(i % 40 <= Math.floor(i / 40)));
      const attn_mask = f.constant(tensorLiteral("bool", [40, 40], causal), "mask");
      return f.op("scaled_dot_product_attention", { query: x, key: x, value: x, attn_mask });
    },
  },
  {
    ...{ what: "fp32 ports", rule: "port-type-e5rt", chip: "m4", driver: "e5rt" },
    ...{ shape: [40, 64], tolerance: 2e-3 },
    write: (f, x) => f.op("cast", { x: f.op("tanh", { x }), dtype: "fp32" }),
  },
];

function written({ shape, write }: Pick<Case, "shape" | "write">): MilFunction {
  const f = new FunctionBuilder("main");
  const x = f.input("x", tensorType("fp16", shape));
  return f.finish({ y: write(f, x) });
}

describe("what the passes make of a function", () => {
  test.each(CASES)(
    "$what is rewritten for $chip through $driver, and computes the same",
    (given) => {
      const fn = written(given);
      const { placed, findings, remaining } = applyRemedies(
        fn,
        chipByName(given.chip),
        given.driver,
      );
      const found = findings.filter(({ rule }) => rule === given.rule);
      expect(found.map(({ outcome, because }) => [outcome, because])).toEqual([
        ["rewritten", REMEDIES[given.rule]?.does],
      ]);
      expect(remaining.map(({ rule }) => rule)).not.toContain(given.rule);
      if (placed.place !== "engine") throw new Error(placed.reason);
      const inputs = randomInputs(fn, new Random(1));
      const wanted =
        evaluateFunction(fn, inputs, { precision: "float64" }).get("y")?.data ?? new Float64Array();
      const got = runLowered(placed.program, inputs, fn).get("y") ?? [];
      expect(got.length).toBe(wanted.length);
      const worst = wanted.reduce(
        (most, value, i) =>
          Math.max(most, Math.abs(value - (got[i] ?? NaN)) / (1 + Math.abs(value))),
        0,
      );
      expect(worst).toBeLessThan(given.tolerance);
    },
  );

  test("a place that no pass touches stays, and the rewritten program breaks the rule too", () => {
    const fn = written({ shape: [40, 64], write: (f, x) => f.op("round", { x }) });
    const { findings, remaining } = applyRemedies(fn, chipByName("m4"), "e5rt");
    expect(findings).toMatchObject([
      { rule: "round-large", outcome: "stays", because: "no pass does this" },
    ]);
    expect(remaining).toMatchObject([{ rule: "round-large" }]);
  });

  test("of two places of one rule the one that changes is told from the one that stays", () => {
    const fn = written({
      shape: [3, 300],
      write: (f, x) => f.op("softmax", { x: f.op("softmax", { x, axis: -1 }), axis: 0 }),
    });
    const { findings } = applyRemedies(fn, chipByName("m4"), "in-memory");
    const found = findings.filter(({ rule }) => rule === "softmax-power-of-two");
    expect(found.map(({ outcome }) => outcome)).toEqual(["rewritten", "stays"]);
  });

  test("what the driver does is told apart from what the passes write", () => {
    const fn = written({ shape: [40, 64], write: (f, x) => f.op("tanh", { x }) });
    const { findings } = applyRemedies(fn, chipByName("m4"), "in-memory");
    expect(findings).toMatchObject([{ rule: "surface-minimum", outcome: "engine" }]);
  });

  test("a function that cannot be rewritten says so at each finding, with the reason", () => {
    const f = new FunctionBuilder("main");
    const table = f.input("table", tensorType("fp32", [10, 4]));
    const ids = f.input("ids", tensorType("int32", [3]));
    const fn = f.finish({ rows: f.op("gather", { x: table, indices: ids, axis: 0 }) });
    const { placed, findings, remaining } = applyRemedies(fn, chipByName("m4"), "e5rt");
    expect(placed).toMatchObject({ place: "host", reason: expect.stringMatching(/^gather: /) });
    expect(new Set(findings.map(({ outcome }) => outcome))).toEqual(new Set(["host"]));
    expect(remaining).toEqual([]);
  });

  test("constants that no program holds are refused before they are made", () => {
    const f = new FunctionBuilder("main");
    const x = f.input("x", tensorType("fp16", [1, 1]));
    const wide = f.op("tile", { x, reps: [40_000, 40_000] });
    const fn = f.finish({ y: wide });
    expect(applyRemedies(fn, chipByName("m4"), "e5rt").placed).toMatchObject({
      reason: "a constant of 1600000000 numbers would be needed",
    });
  });

  test("a finding counts as rewritten only where the rewritten program keeps its rule", () => {
    const chips = constantFrom("m1", "m2", "m3", "m4", "m5");
    const drivers = constantFrom("e5rt" as const, "in-memory" as const);
    const ops = constantFrom("gelu", "square", "softplus", "round", "rsqrt", "softmax");
    assert(
      property(chips, drivers, ops, ops, integer({ min: 2, max: 200 }), (chip, driver, a, b, n) => {
        const apply = (f: FunctionBuilder, name: typeof a, x: Value): Value =>
          name === "softmax" ? f.op("softmax", { x, axis: 0 }) : f.op(name, { x });
        const fn = written({ shape: [n, 64], write: (f, x) => apply(f, b, apply(f, a, x)) });
        const { findings, remaining } = applyRemedies(fn, chipByName(chip), driver);
        const broken = new Set(remaining.map(({ rule, result }) => `${rule} ${result}`));
        for (const { rule, result, outcome } of findings) {
          if (outcome === "rewritten") expect(broken).not.toContain(`${rule} ${result}`);
          if (outcome === "stays") expect(remaining.map((found) => found.rule)).toContain(rule);
        }
      }),
      { numRuns: 60 },
    );
  });

  test("every rule of functions and ops has a row, and no row is without a rule", () => {
    const plans = new Set(PLAN_RULES.map(({ id }) => id));
    const handled = new Set(
      allRules().flatMap(({ id, severity }) => (severity === "handled" ? [id] : [])),
    );
    const wanted = allRules().map(({ id }) => id);
    expect(Object.keys(REMEDIES).toSorted()).toEqual(
      [...wanted.filter((id) => !plans.has(id) && !handled.has(id)), "unknown-op"].toSorted(),
    );
  });
});
