import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readNpyFile, writeNpyFile } from "../../src/files/npy.ts";
import { modelBytes } from "../onnx/onnx-model.ts";
import { run, runJson } from "./in-process.ts";

const folder = mkdtempSync(join(tmpdir(), "anecdote-bind-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);

beforeAll(() => {
  // Axes that come as an input: MIL needs them as a constant.
  writeFileSync(
    at("sum.onnx"),
    modelBytes({
      inputs: {
        x: { type: "fp32", shape: [2, 3] },
        axes: { type: "int64", shape: [1] },
        factor: { type: "fp32", shape: [1] },
      },
      constants: {},
      nodes: [
        {
          op: "ReduceSum",
          inputs: ["x", "axes"],
          outputs: ["total"],
          attributes: { keepdims: 0n },
        },
        { op: "Mul", inputs: ["total", "factor"], outputs: ["y"] },
      ],
      outputs: { y: "fp32" },
    }),
  );
  writeNpyFile(at("x.npy"), {
    type: "f4",
    shape: [2, 3],
    data: Float32Array.of(1, 2, 3, 10, 20, 30),
  });
  const axes = (name: string, value: bigint): void =>
    writeNpyFile(at(name), { type: "i8", shape: [1], data: BigInt64Array.of(value) });
  axes("rows.npy", 0n);
  axes("columns.npy", 1n);
  writeNpyFile(at("factor.npy"), { type: "f4", shape: [1], data: Float32Array.of(2) });
});

const inputs = (axes: string): readonly string[] => [
  ...["--input", `x=${at("x.npy")}`],
  ...["--input", `axes=${at(axes)}`],
  ...["--input", `factor=${at("factor.npy")}`],
];
const numbersOf = (name: string): readonly number[] =>
  Array.from(readNpyFile(at(name)).data, Number);

describe("--bind-constants", () => {
  test("of run takes what MIL needs as constants from the arrays, and says so", async () => {
    for (const [axes, wanted] of [
      ["rows.npy", [22, 44, 66]],
      ["columns.npy", [12, 120]],
    ] as const) {
      const report = await runJson(
        ...["run", at("sum.onnx"), "--bind-constants", ...inputs(axes), "--output", folder],
      );
      expect(report["bound"]).toEqual(["axes"]);
      expect(numbersOf("y.npy")).toEqual(wanted);
    }
    const { stderr } = await run("run", at("sum.onnx"), "--bind-constants", ...inputs("rows.npy"));
    expect(stderr).toContain("constants of this run: axes");
  });

  test("is named where a model needs it", async () => {
    const { code, stderr } = await run("run", at("sum.onnx"), ...inputs("rows.npy"));
    expect(code).not.toBe(0);
    expect(stderr).toContain('"axes"');
    expect(stderr).toContain("--bind-constants");
  });

  test("of convert writes them into the program, whose other inputs stay", async () => {
    const package_ = at("sum.mlpackage");
    const bound = ["--bind-constants", "--input", `axes=${at("columns.npy")}`];
    const { code, stderr } = await run("convert", at("sum.onnx"), package_, ...bound);
    expect(stderr).toBe("");
    expect(code).toBe(0);
    const report = await runJson(
      "run",
      package_,
      ...["--input", `x=${at("x.npy")}`, "--input", `factor=${at("factor.npy")}`],
      ...["--output", folder],
    );
    expect(report["bound"]).toBeUndefined();
    expect(numbersOf("y.npy")).toEqual([12, 120]);
    expect((await run("inspect", package_)).stdout).not.toMatch(/^ *axes /m);
  });

  test("of convert without an array for it, or arrays without it, are refused", async () => {
    const convert = ["convert", at("sum.onnx"), at("other.mlpackage")];
    const missing = await run(...convert, "--bind-constants", "--input", `x=${at("x.npy")}`);
    expect(missing.code).not.toBe(0);
    expect(missing.stderr).toContain('"axes"');
    const idle = await run(...convert, "--input", `axes=${at("rows.npy")}`);
    expect(idle.stderr).toContain("--input is for --bind-constants");
    expect(existsSync(at("other.mlpackage"))).toBe(false);
  });

  test("is for .onnx files alone", async () => {
    const { stderr, code } = await run(
      "run",
      at("sum.mlpackage"),
      "--bind-constants",
      "--random",
      "1",
    );
    expect(code).not.toBe(0);
    expect(stderr).toContain("--bind-constants is for .onnx files");
  });
});
