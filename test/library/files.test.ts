import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  checkFile,
  chips,
  convertFile,
  createEngine,
  estimateFile,
  estimateStep,
  estimateToken,
  files,
  mil,
  openProgram,
  opReport,
  resolveRun,
  runFunction,
} from "../../src/index.ts";
import { diffFiles, inspectFile } from "../../src/inspect.ts";
import { paperRows } from "../../src/measure.ts";
import { temporaryFolder } from "../helpers/cli.ts";

/** A product and a nonlinearity; `open` leaves the first size open. */
function written(folder: string, name: string, size: number | "?" = 2): string {
  const path = join(folder, `${name}.mil`);
  const f = new mil.FunctionBuilder("main", "ios17");
  const x = f.input("x", mil.tensorType("fp16", [size, 4]));
  const weight = f.constant(mil.tensorLiteral("fp16", [4, 4], Array(16).fill(0.5)), "weight");
  const y = f.op("gelu", { x: f.op("matmul", { x, y: weight }), mode: "EXACT" });
  writeFileSync(path, mil.printProgram(mil.programOf(f.finish({ y }))));
  return path;
}

describe("files", () => {
  it("are checked against the language and a chip, rewritten, converted, compared", async () => {
    const folder = temporaryFolder();
    const path = written(folder, "model");
    expect(checkFile(path)).toMatchObject({ ok: true, format: "mil", problems: [] });
    const rewritten = join(folder, "m4.mil");
    const report = checkFile(path, { chip: "m4", rewritten });
    expect(report.onChip?.functions[0]?.placed.place).toBe("engine");
    expect(report.onChip?.written).toEqual([rewritten, join(folder, "m4.weights.bin")]);
    expect(() => checkFile(path, { overwrite: true })).toThrow("--overwrite does nothing");
    expect(() => checkFile(path, { rewritten })).toThrow("needs a chip");
    const made = convertFile(path, join(folder, "model.mlpackage"));
    expect(made).toMatchObject({ from: "mil", to: "mlpackage", ops: 2, functions: ["main"] });
    expect(existsSync(made.output)).toBe(true);
    expect(() => convertFile(path, made.output)).toThrow("exists already");
    expect(() => convertFile(path, join(folder, "x.mil"), { function: "main" })).toThrow(
      "--function",
    );
    expect(diffFiles(path, made.output)).toMatchObject({ format: "program", equal: true });
    expect(diffFiles(path, rewritten).equal).toBe(false);
    const opened = openProgram(made.output);
    const engine = await createEngine("reference");
    try {
      const [fn] = files.wholeProgram(opened).functions;
      if (fn === undefined) throw new Error("no function");
      const results = await runFunction(engine, fn, { x: [1, 1, 1, 1, 0, 0, 0, 0] });
      expect(results.get("y")?.toArray()[0]).toBeCloseTo(1.9545, 2);
    } finally {
      await engine.close();
      opened.close();
    }
  });

  it("sizes are refused where they would do nothing", () => {
    const folder = temporaryFolder();
    const shapes = new Map([["x", [3, 4]]]);
    const fixed = written(folder, "fixed");
    const refusal = "--shape x would do nothing";
    expect(() => checkFile(fixed, { shapes })).toThrow(refusal);
    expect(() => estimateFile(fixed, { shapes })).toThrow(refusal);
    expect(() => convertFile(fixed, join(folder, "fixed.mlpackage"), { shapes })).toThrow(refusal);
    expect(() => diffFiles(fixed, fixed, { shapes })).toThrow("--shape is for .onnx files");
    const open = written(folder, "open", "?");
    expect(checkFile(open, { shapes }).ok).toBe(true);
    expect(() => estimateFile(open)).toThrow("has open sizes");
    expect(estimateFile(open, { shapes }).estimate.ms).toBeGreaterThan(0);
  });

  it("are told by what is in them", () => {
    const folder = temporaryFolder();
    const report = inspectFile(written(folder, "model"));
    expect(report.kind).toBe("summary");
    expect(report.kind === "summary" && report.summary.functions[0]?.ops).toEqual({
      matmul: 1,
      gelu: 1,
    });
    const run = join(folder, "run");
    mkdirSync(run);
    writeFileSync(join(run, "config.json"), "{}");
    expect(() => inspectFile(run)).toThrow("describeModelFolder");
  });

  it("steps and tokens are priced for a chip, ops and chips are told", () => {
    const { config } = resolveRun([{ origin: "test", values: { layers: 2, hidden_size: 64 } }]);
    const step = estimateStep(config, { chip: "m4" });
    expect(step.tokenCount).toBe(config.batch_size * config.max_seq_length);
    expect(step.estimate.ms).toBeGreaterThan(0);
    expect(estimateToken(config, { chip: "m1" }).cacheLength).toBeGreaterThan(0);
    expect(() => estimateStep(config, { chip: "m44" })).toThrow("m4");
    expect(opReport("matmul")).toMatchObject({ public: true, derivative: "rule", onnx: true });
    expect(chips.CHIPS.length).toBeGreaterThan(5);
    expect(paperRows().length).toBeGreaterThan(5);
  });
});
