import { describe, expect, test } from "vitest";
import { chipByName } from "../../src/chip/chips.ts";
import { allRules, checkFunction, checkPlan, isLegal } from "../../src/chip/legality/check.ts";
import { formatFindings } from "../../src/chip/print.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { tensorLiteral } from "../../src/mil/literal.ts";
import type { MilFunction, Value } from "../../src/mil/program.ts";
import { tensorType } from "../../src/mil/types.ts";
import { PlanBuilder } from "../../src/plan/builder.ts";

function build(
  shape: readonly number[],
  body: (f: FunctionBuilder, x: Value) => Value,
  dataType: "fp16" | "fp32" = "fp16",
): MilFunction {
  const f = new FunctionBuilder("main");
  const x = f.input("x", tensorType(dataType, shape));
  return f.finish({ y: body(f, x) });
}

function rulesOf(fn: MilFunction, chip: string, driver: "e5rt" | "in-memory" = "e5rt"): string[] {
  return checkFunction(fn, chipByName(chip), driver).map(({ rule }) => rule);
}

describe("rules", () => {
  test("every rule says what holds, who saw it and what to do, under an id of its own", () => {
    const rules = allRules();
    expect(rules.length).toBeGreaterThan(60);
    expect(new Set(rules.map(({ id }) => id)).size).toBe(rules.length);
    for (const { id, rule, source, remedy } of rules) {
      expect(rule, id).toMatch(/\.$/);
      expect(source.length, id).toBeGreaterThan(3);
      expect(remedy.length, id).toBeGreaterThan(3);
    }
  });

  test("a plain fp16 program is legal on every chip", () => {
    const fn = build([64, 64], (f, x) => f.op("add", { x: f.op("mul", { x, y: 2 }), y: x }));
    for (const chip of ["m1", "m2", "m3", "m4", "m5", "m6"]) {
      for (const driver of ["e5rt", "in-memory"] as const) {
        expect(isLegal(checkFunction(fn, chipByName(chip), driver)), `${chip} ${driver}`).toBe(
          true,
        );
      }
    }
  });

  test("a vocabulary of 32000 columns needs tiles before M4", () => {
    const fn = build([16, 32000], (f, x) => f.op("softmax", { x, axis: -1 }));
    expect(rulesOf(fn, "m3")).toContain("extent");
    expect(rulesOf(fn, "m4")).not.toContain("extent");
  });

  test("fp32 is refused inside, and told with its contradiction", () => {
    const fn = build([4, 64], (f, x) => f.op("add", { x, y: 1 }), "fp32");
    const found = checkFunction(fn, chipByName("m4"), "e5rt");
    const float = found.find(({ rule }) => rule === "float-type");
    expect(float).toMatchObject({ severity: "error", op: "add" });
    expect(float?.contradictedBy).toMatch(/intermediate/);
    expect(formatFindings(found)).toMatch(/contradicted by: .*\n +https:.*\n.*remedy:/);
  });

  test("slices that clamp and concats of them are told on M1 and M2 only", () => {
    const fn = build([4, 64], (f, x) => {
      const a = f.op("slice_by_size", { x, begin: [0, 32], size: [4, 32] });
      const b = f.op("slice_by_size", { x, begin: [0, 16], size: [4, 16] });
      return f.op("concat", { values: [a, b], axis: 1, interleave: false });
    });
    expect(rulesOf(fn, "m2")).toEqual(expect.arrayContaining(["slice-clamp", "concat-of-slices"]));
    expect(rulesOf(fn, "m4")).toEqual([]);
  });

  test("drivers differ: gelu and a mask of attention", () => {
    const gelu = build([64, 64], (f, x) => f.op("gelu", { x, mode: "TANH_APPROXIMATION" }));
    expect(rulesOf(gelu, "m4", "in-memory")).toContain("gelu");
    expect(rulesOf(gelu, "m4", "e5rt")).not.toContain("gelu");
  });

  test("a scalar multiplied to a rounded value is caught", () => {
    const fn = build([4, 64], (f, x) => f.op("mul", { x: f.op("floor", { x }), y: 3 }));
    expect(rulesOf(fn, "m4")).toContain("rounded-times-scalar");
  });

  test("wide kernels, ops without an engine and odd tile factors are caught", () => {
    const conv = build([1, 8, 1, 64], (f, x) =>
      f.op("conv", {
        x,
        weight: f.constant(tensorLiteral("fp16", [8, 8, 1, 15], new Float32Array(960))),
        pad_type: "same",
      }),
    );
    expect(rulesOf(conv, "m3")).toContain("conv-kernel-width");
    expect(rulesOf(conv, "m4")).not.toContain("conv-kernel-width");
    expect(
      rulesOf(
        build([8, 8], (f, x) => f.op("cumsum", { x, axis: 0 })),
        "m5",
      ),
    ).toContain("unsupported-op");
    expect(
      rulesOf(
        build([1, 64], (f, x) => f.op("tile", { x, reps: [5, 1] })),
        "m5",
      ),
    ).toContain("tile-factors");
  });

  test("a plan of too many programs breaks the driver's cap, once, by name", () => {
    const b = new PlanBuilder("many");
    const fn = build([64, 64], (f, x) => f.op("relu", { x }));
    for (let i = 0; i < 129; i++) b.program(`p${i}`, fn);
    const found = checkPlan(b.finish(), chipByName("m4"), "e5rt");
    expect(found.map(({ rule }) => rule)).toEqual(["program-cap-e5rt"]);
    expect(found[0]?.detail).toBe("129 programs");
  });
});
