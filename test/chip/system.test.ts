import { describe, expect, test } from "vitest";
import { checkSystem } from "../../src/chip/legality/system-rules.ts";
import { macosVersion } from "../../src/chip/system.ts";
import type { Driver } from "../../src/chip/chip.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import type { Literal, MilFunction, Value } from "../../src/mil/program.ts";
import { tensorType } from "../../src/mil/types.ts";

function program(dataType: "fp16" | "fp32" | "int8", portCount = 1): MilFunction {
  const f = new FunctionBuilder("main");
  const inputs = Array.from({ length: portCount }, (_, i) =>
    f.input(`x${i}`, tensorType(dataType, [1, 32])),
  );
  const [x] = inputs;
  return f.finish({ y: f.op("identity", { x: x ?? 0 }) });
}

const rules = (fn: MilFunction, version: string, driver: Driver = "in-memory") =>
  checkSystem(fn, macosVersion(version), driver).map(({ rule, severity }) => [rule, severity]);

describe("what a version of macOS refuses or changes", () => {
  test("ports of fp32 and int8 from 27 on, in memory", () => {
    expect(rules(program("fp32"), "26")).toEqual([]);
    expect(rules(program("fp32"), "27")).toEqual([["macos-27-float-ports", "handled"]]);
    expect(rules(program("int8"), "27.0.1")).toEqual([["macos-27-integer-ports", "error"]]);
    expect(rules(program("int8"), "27", "e5rt")).toEqual([]);
    expect(rules(program("fp16"), "27")).toEqual([]);
  });

  test("e5rt is not there on 14", () => {
    const found = rules(program("fp16"), "macOS 14", "e5rt");
    expect(found).toContainEqual(["macos-e5rt", "error"]);
    expect(rules(program("fp16"), "15", "e5rt")).toEqual([]);
  });

  test("more surfaces than others say a request takes: a caution, as nobody published it", () => {
    expect(rules(program("fp16", 128), "26")).toEqual([["macos-surfaces", "warning"]]);
    expect(rules(program("fp16", 127), "26")).toEqual([]);
  });

  test("a version that is not known lists the nearest", () => {
    expect(() => macosVersion("25")).toThrow(/nothing is known of macOS "25".*nearest is 26/);
    expect(() => macosVersion("13.4")).toThrow(/nearest is 14/);
    expect(() => macosVersion("sonama")).toThrow(/nothing is known.*Did you mean "sonoma"/);
    expect(() => macosVersion("")).toThrow(/nothing is known/);
  });

  test("a version may be told by its name", () => {
    expect(macosVersion("Sonoma")).toBe(14);
    expect(macosVersion("macOS Sequoia")).toBe(15);
    expect(macosVersion(" tahoe ")).toBe(26);
  });

  const blob = (path: string): Literal => ({
    kind: "literal",
    type: tensorType("fp16", [32, 32, 1, 1]),
    data: { kind: "blob", path, offset: 64 },
  });

  function convolutions(...files: readonly string[]): MilFunction {
    const f = new FunctionBuilder("main");
    let x: Value = f.input("x", tensorType("fp16", [1, 32, 1, 32]));
    for (const path of files) x = f.op("conv", { x, weight: f.constant(blob(path)) });
    return f.finish({ y: x });
  }

  test("constants of several files, which 27 is said to refuse", () => {
    const two = convolutions("@model_path/a.bin", "@model_path/b.bin");
    expect(rules(two, "27")).toEqual([["macos-weight-files", "handled"]]);
    expect(rules(two, "26")).toEqual([]);
    expect(rules(convolutions("@model_path/a.bin", "@model_path/a.bin"), "27")).toEqual([]);
  });

  test("a product without weights needs an empty dictionary of them from 15 on", () => {
    const f = new FunctionBuilder("main", "ios16");
    const x = f.input("x", tensorType("fp16", [32, 32]));
    const fn = f.finish({ y: f.op("matmul", { x, y: x }) });
    expect(rules(fn, "15.3.1")).toEqual([["macos-weight-dictionary", "handled"]]);
    expect(rules(fn, "14")).toEqual([]);
    expect(rules(convolutions("@model_path/a.bin"), "15")).toEqual([]);
  });

  test("ops that one Mac refused on 27, and results of more channels than compiled", () => {
    const f = new FunctionBuilder("main");
    const x = f.input("x", tensorType("fp16", [1, 32, 1, 32]));
    const joined = f.op("concat", { values: [x, x], axis: 1, interleave: false });
    expect(rules(f.finish({ y: joined }), "27")).toEqual([["macos-27-ops", "warning"]]);
    const wide = (channels: number): MilFunction => {
      const g = new FunctionBuilder("main");
      const rows = g.input("x", tensorType("fp16", [1, 32, 1, 32]));
      const weight = g.constant({
        ...blob("@model_path/a.bin"),
        type: tensorType("fp16", [channels, 32, 1, 1]),
      });
      return g.finish({ y: g.op("conv", { x: rows, weight }) });
    };
    expect(rules(wide(62_080), "27")).toEqual([]);
    expect(rules(wide(124_160), "27")).toEqual([["macos-27-channels", "warning"]]);
    expect(rules(wide(124_160), "26")).toEqual([]);
  });

  test("an opset newer than the system, whichever way in", () => {
    const f = new FunctionBuilder("main", "ios18");
    const x = f.input("x", tensorType("fp16", [1, 32]));
    const fn = f.finish({ y: f.op("identity", { x }) });
    for (const driver of ["e5rt", "in-memory"] as const) {
      expect(rules(fn, "14", driver)).toContainEqual(["macos-opset", "error"]);
      expect(rules(fn, "15", driver)).toEqual([]);
    }
  });
});
