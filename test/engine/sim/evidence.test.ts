import { afterAll, describe, expect, test } from "vitest";
import {
  arithmeticOf,
  formatArithmetic,
  parseArithmetic,
} from "../../../src/chip/arithmetic/arithmetic.ts";
import type { Family } from "../../../src/chip/chip.ts";
import { ARITHMETIC_RULES, RULE_NAMES } from "../../../src/chip/arithmetic/rules.ts";
import type { Rule } from "../../../src/chip/arithmetic/rules.ts";
import { Machine } from "../../../src/engine/sim/machine.ts";
import { SimulatedFunction } from "../../../src/engine/sim/simulate.ts";
import { ARITHMETIC_CASES } from "../../../src/measure/self-test/arithmetic-cases.ts";
import type { NumberCase } from "../../../src/measure/self-test/number-case.ts";
import { hostTensor } from "../../../src/mil/host-tensor.ts";
import { roundToFloat16 } from "../../../src/util/float16.ts";

// What was measured on silicon, as programs that `anecdote doctor` runs on a Mac, on the simulator.
const machine = new Machine(1);
afterAll(() => machine.close());

function simulate(entry: NumberCase, family: Family, arithmetic: string): readonly number[] {
  const fn = entry.build();
  const inputs = new Map(
    fn.inputs.map(({ name, type }, index) => {
      const shape = type.kind === "tensor" ? type.shape.map(Number) : [];
      const numbers = Float64Array.from(entry.inputs[index] ?? [], roundToFloat16);
      return [name, machine.place(hostTensor("fp16", shape, numbers))] as const;
    }),
  );
  const simulated = new SimulatedFunction(fn, "engine");
  const results = simulated.run(inputs, {
    place: "engine",
    numerics: "exact",
    machine,
    arithmetic: arithmeticOf(family, arithmetic),
    clampSlices: false,
  });
  const [output] = fn.outputs;
  const numbers = Array.from(
    results.get(output?.name ?? "")?.data.slice(0, entry.right.length) ?? [],
  );
  simulated.release();
  machine.arena.reset();
  return numbers;
}

function caseOf(id: string): NumberCase {
  const found = ARITHMETIC_CASES.find((entry) => entry.id === id);
  if (found === undefined) throw new Error(`no case ${id}`);
  return found;
}

const settling = ARITHMETIC_CASES.flatMap(({ id, settles }) =>
  settles === undefined
    ? []
    : Object.keys(settles.outcomes).map((variant) => [id, settles.rule, variant] as const),
);

describe("what each variant of a rule gives", () => {
  test.each(settling)("%s with %s=%s is what the probe expects of it", (id, rule, variant) => {
    const entry = caseOf(id);
    const got = simulate(entry, "H17", `${rule}=${variant}`);
    expect(entry.settles?.outcomes[variant]).toContainEqual(got);
  });
});

const UNIT = 2 ** -16;

describe("what was measured, against what the rules of August 2026 gave", () => {
  const rows: readonly (readonly [string, Family, readonly number[], readonly number[]])[] = [
    ["grid.unit", "H16", [0], [UNIT]],
    ["grid.one-is-dropped", "H16", [0], [2 ** -11]],
    ["grid.negative", "H16", [0], [-(2 ** -11)]],
    ["grid.convolution", "H16", [0], [2 ** -11]],
    ["grid.vanish", "H16", [0], [UNIT]],
    ["grid.exponents", "H16", [2 * UNIT], [0]],
    ["grid.half", "H16", [0], [UNIT]],
    ["grid.ties", "H16", [6 * UNIT], [7 * UNIT]],
    ["matmul.ties", "H16", [2048, 4096, 1, -2048], [2050, 4100, 1 + 2 ** -10, -2050]],
    ["convolution.ties", "H16", [2048, 4096, 1, -2048], [2050, 4100, 1 + 2 ** -10, -2050]],
    ["convolution.rounding", "H17", [1], [1 + 2 ** -10]],
    ["convolution.rounding", "H16", [1 + 2 ** -10], [1 + 2 ** -10]],
    ["ceiling.edge", "H16", [Infinity], [32768]],
    ["ceiling.final-sum", "H16", [8192], [Infinity]],
    ["ceiling.order", "H16", [Infinity], [32768]],
    ["ceiling.alternating", "H16", [1], [1]],
    ["special.convolution", "H18", [Infinity, 0], [4096, 6144]],
    ["add.rounding", "H18", [2048, 2052, 1 + 2 ** -10, -2048], [2050, 2052, 1 + 2 ** -10, -2050]],
    ["nan.sum", "H18", [NaN], [Infinity]],
    ["sum.eight", "H16", [2048], [2050]],
    ["convolution.winograd", "H17", [2 ** -11], [3 * 2 ** -12]],
    ["convolution.winograd", "H16", [2 ** -11], [2 ** -11]],
    ["int8.sum", "H18", [Infinity], [64512]],
    ["quantize.ties", "H17", [0, 2, 2, 0], [1, 2, 3, -1]],
  ];
  test.each(rows)("%s on %s: %j then, %j now", (id, family, then, now) => {
    const entry = caseOf(id);
    expect(simulate(entry, family, "2026-08").map((x) => x + 0)).toEqual(then);
    expect(simulate(entry, family, "2026-11")).toEqual(now);
  });

  test("tables: sigmoid 0.25 and -9, exp 9.96875, log of 0x1436, gelu 0.25, silu 0.5", () => {
    const first = (id: string, count = 1): readonly number[] =>
      simulate(caseOf(id), "H18", "2026-11").slice(0, count);
    expect(first("table.sigmoid", 2)).toEqual([0.5615234375, 0]);
    expect(first("table.exp")).toEqual([21248]);
    expect(first("table.log")).toEqual([-6.88671875]);
    expect(first("table.gelu")).toEqual([roundToFloat16(0.1436)]);
    expect(first("table.silu")[0]).toBeCloseTo(0.296, 3);
  });
});

describe("the rules", () => {
  test("every rule has evidence for each variant, and a probe that is a case of the self-test", () => {
    const ids = new Set(ARITHMETIC_CASES.map(({ id }) => id));
    for (const name of RULE_NAMES) {
      const rule: Rule = ARITHMETIC_RULES[name];
      for (const probe of rule.probes) expect(ids).toContain(probe);
      for (const variant of Object.values(rule.variants))
        expect(variant.evidence.length).toBeGreaterThan(0);
    }
  });

  test("a choice is read back from its text", () => {
    for (const text of ["2026-08", "2026-11", "2026-11,sum.range=any-order,bias=added-after"])
      expect(formatArithmetic(parseArithmetic(text))).toBe(text);
    expect(formatArithmetic(parseArithmetic("sum.range=any-order"))).toBe(
      "2026-11,sum.range=any-order",
    );
  });

  test("H15, of which nothing is known, takes what its neighbours have", () => {
    expect(arithmeticOf("H15")).toEqual(arithmeticOf("H14"));
  });
});
