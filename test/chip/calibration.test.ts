import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { arithmeticOf } from "../../src/chip/arithmetic/arithmetic.ts";
import { calibratedChip, calibrationOf, readCalibration } from "../../src/chip/calibration.ts";
import { chipByName } from "../../src/chip/chips.ts";
import { estimateFunction } from "../../src/chip/estimate.ts";
import { createSimEngine } from "../../src/engine/sim/index.ts";
import { judgeRule } from "../../src/measure/self-test/number-case.ts";
import { ARITHMETIC_CASES } from "../../src/measure/self-test/arithmetic-cases.ts";
import { reportSchema } from "../../src/measure/self-test/report.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { tensorType } from "../../src/mil/types.ts";
import { PlanBuilder } from "../../src/plan/index.ts";
import type { Plan } from "../../src/plan/index.ts";
import type { MilFunction } from "../../src/mil/program.ts";

const folder = mkdtempSync(join(tmpdir(), "anecdote-calibration-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const m4 = chipByName("m4");

/** What a probe's result looks like where the machine has these variants. */
function probe(id: string, variant: string): object {
  const entry = ARITHMETIC_CASES.find((one) => one.id === id);
  const got = entry?.settles?.outcomes[variant]?.[0];
  if (entry === undefined || got === undefined) throw new Error(`${id} has no ${variant}`);
  const { verdict, detail, measured } = judgeRule(got, entry, m4);
  return {
    ...{ id, group: "arithmetic", title: entry.title, driver: "e5rt", source: entry.source },
    ...{ verdict, detail, measured, ended: "told", elapsed_ms: 1, at: "2026-12-01T00:00:00Z" },
  };
}

function rate(id: string, factor: number): object {
  return {
    ...{ id, group: "rates", title: id, driver: "e5rt", source: "model" },
    ...{ verdict: "did not hold", detail: "", ended: "told", elapsed_ms: 1 },
    measured: { rate: 10 * factor, predicted: 10, medianMs: 0.09 * factor },
    at: "2026-12-01T00:00:00Z",
  };
}

/** A report as `anecdote doctor --report` writes it, invented: no machine answered so yet. */
function report(
  probes: readonly object[],
  rates: readonly object[] = [],
  more: object = {},
): object {
  const made = {
    ...{ kind: "anecdote-self-test", schema: 1, made: "2026-12-01T00:00:00Z" },
    ...{ anecdote: "0", node: "20", level: "default", complete: true, driver: "e5rt" },
    library: { path: "/System/Espresso", is_named: false },
    ran_on: "silicon",
    machine: {
      ...{ chip: "m4", processor: "Apple M4", cores: 10, memory_bytes: 16e9, system: "macOS" },
      ...{ architecture: "arm64", neural_engine: null, unread: [] },
    },
    counts: { held: 0, "did not hold": 0, unknown: 0 },
    ...{ probes, ops: [], rates },
  };
  reportSchema.parse(made);
  return { ...made, ...more };
}

function saved(name: string, contents: unknown): string {
  const path = join(folder, name);
  writeFileSync(path, typeof contents === "string" ? contents : JSON.stringify(contents));
  return path;
}

/** One dispatch in section "run" over buffers of the ports' names. */
function singlePlan(fn: MilFunction): Plan {
  const b = new PlanBuilder("plan");
  b.program("main", fn);
  const bind = (values: MilFunction["inputs"], role: "input" | "output") =>
    Object.fromEntries(
      values.map(({ name, type }) => {
        if (type.kind === "tensor") b.buffer(name, type, role);
        return [name, name];
      }),
    );
  b.dispatch("run", "main", "main", bind(fn.inputs, "input"), bind(fn.outputs, "output"));
  return b.finish();
}

/** The results of a matmul [32, 32] x [32, 32] whose first row and column are given, on sim:m4. */
async function firstOf(arithmetic: string, left: readonly number[]): Promise<number> {
  const f = new FunctionBuilder("main");
  const x = f.input("x", tensorType("fp32", [32, 32]));
  const y = f.input("y", tensorType("fp32", [32, 32]));
  const fn = f.finish({ z: f.op("matmul", { x, y }) });
  const engine = createSimEngine("m4", { threads: 1, arithmetic, operandScaling: "off" });
  try {
    const plan = singlePlan(fn);
    const loaded = await engine.load(plan);
    const x0 = loaded.view("x");
    left.forEach((value, index) => (x0[index] = value));
    loaded.view("y").fill(1);
    await loaded.run("run");
    return loaded.view("z")[0] ?? NaN;
  } finally {
    await engine.close();
  }
}

describe("six invented reports, each contested rule either way", () => {
  const settled = ARITHMETIC_CASES.flatMap(({ id, settles }) =>
    settles === undefined
      ? []
      : Object.keys(settles.outcomes).map((v) => [id, settles.rule, v] as const),
  );

  test("one that answers as the simulator takes it confirms and changes nothing", () => {
    const taken = arithmeticOf("H16");
    const probes = settled.flatMap(([id, rule, v]) => (taken[rule] === v ? [probe(id, v)] : []));
    const found = calibrationOf(report(probes));
    expect(found.arithmetic.changes).toEqual({});
    expect(found.unsettled).toEqual([]);
    expect(found.unasked).toEqual([]);
  });

  test("one that answers otherwise to every rule is taken rule by rule, and sim computes so", async () => {
    const taken = arithmeticOf("H16");
    const other = new Map<string, string>();
    for (const [, rule, v] of settled) if (v !== taken[rule]) other.set(rule, other.get(rule) ?? v);
    const probes = settled.flatMap(([id, rule, v]) =>
      other.get(rule) === v ? [probe(id, v)] : [],
    );
    const path = saved("other.json", report(probes));
    const { changes } = readCalibration(path).arithmetic;
    // What several variants have in common settles nothing: those probes fit what is taken as well.
    expect(Object.keys(changes).length).toBeGreaterThan(12);
    for (const [rule, variant] of Object.entries(changes)) expect(other.get(rule)).toBe(variant);
    expect(await firstOf("2026-11", [2048, 1])).toBe(2050);
    expect(await firstOf(`calibrated:${path}`, [2048, 1])).toBe(2048);
  });

  test.each([
    ["any-order", Infinity],
    ["final-sum", 32768],
  ])("one that says sums are %s makes 16384 - 1 + 16384 %d", async (variant, wanted) => {
    const ids = ["ceiling.edge", "ceiling.final-sum", "ceiling.order", "ceiling.alternating"];
    const path = saved(`${variant}.json`, report(ids.map((id) => probe(id, variant))));
    expect(readCalibration(path).arithmetic.changes).toEqual({ "sum.range": variant });
    expect(await firstOf(`calibrated:${path}`, [16384, -1, 16384])).toBe(wanted);
  });

  test("one whose probes contradict each other leaves the rule and says so", () => {
    const found = calibrationOf(
      report([probe("ceiling.alternating", "any-order"), probe("ceiling.final-sum", "final-sum")]),
    );
    expect(found.arithmetic.changes).toEqual({});
    expect(found.unsettled).toEqual(["sum.range"]);
  });

  test("one with other rates changes estimates and the simulator's clock", async () => {
    const rates = [rate("rate.convolution", 0.5), rate("rate.weights", 2), rate("rate.floor", 3)];
    const path = saved("rates.json", report([], rates));
    const slow = calibratedChip(m4, readCalibration(path));
    expect(slow.rates.pointwise.value).toBeCloseTo(m4.rates.pointwise.value / 2);
    expect(slow.rates.weightStream.value).toBeCloseTo(2 * m4.rates.weightStream.value);
    expect(slow.rates.e5rtFloor.value).toBeCloseTo(0.27);
    const f = new FunctionBuilder("main");
    const x = f.input("x", tensorType("fp16", [64, 64]));
    const fn = f.finish({ y: f.op("add", { x, y: 1 }) });
    const before = estimateFunction(fn, m4, "e5rt").ms;
    expect(estimateFunction(fn, slow, "e5rt").ms).toBeGreaterThan(before + 0.15);
    const engine = createSimEngine("m4", { threads: 1, arithmetic: `calibrated:${path}` });
    const loaded = await engine.load(singlePlan(fn));
    await loaded.run("run");
    expect(engine.clock().elapsedMs).toBeGreaterThan(before + 0.15);
    await engine.close();
  });
});

describe("a report that is none", () => {
  test.each([
    [
      "of a later schema",
      { ...report([]), schema: 99 },
      /is of format version 99; this Anecdote reads up to version 1.*Nothing was changed/s,
    ],
    [
      "without a schema",
      { ...report([]), schema: undefined },
      /no report .* schema.*Nothing was changed/s,
    ],
    ["cut off", JSON.stringify(report([])).slice(0, 200), /cannot be read.*Nothing was changed/s],
    ["of a chip nobody knows", report([], [], { machine: { chip: "m44" } }), /Did you mean "m4"/],
  ])("%s changes nothing and says why", (name, contents, message) => {
    const path = saved(`${name}.json`, contents);
    expect(() => readCalibration(path)).toThrow(message);
    expect(() => createSimEngine("m4", { arithmetic: `calibrated:${path}` })).toThrow(message);
  });

  test("of another chip is refused for this one", () => {
    expect(() => calibratedChip(chipByName("m5"), calibrationOf(report([])))).toThrow(
      /the report is of m4, not of m5/,
    );
  });

  test("of a library that stands for the engine has rules but no figures", () => {
    const found = calibrationOf(
      report([], [rate("rate.floor", 3)], { ran_on: "a library that stands for the engine" }),
    );
    expect(found.rates).toEqual({});
  });
});
