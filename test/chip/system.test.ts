import { describe, expect, test } from "vitest";
import { checkSystem } from "../../src/chip/legality/system-rules.ts";
import { macosVersion } from "../../src/chip/system.ts";
import type { Driver } from "../../src/chip/chip.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import type { MilFunction } from "../../src/mil/program.ts";
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
});
