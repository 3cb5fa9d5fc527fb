import {
  existsSync,
  linkSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { savePackage } from "../../src/coreml/index.ts";
import { FunctionBuilder, programOf, shaped } from "../../src/mil/builder.ts";
import { tensorLiteral } from "../../src/mil/literal.ts";
import type { Program } from "../../src/mil/program.ts";
import { readNpyFile, writeNpyFile } from "../../src/files/npy.ts";
import { buildHwx, h13Convolution } from "../inspect/hwx-builder.ts";
import { modelBytes } from "../onnx/onnx-model.ts";
import { run, runJson } from "./in-process.ts";

const folder = mkdtempSync(join(tmpdir(), "anecdote-cli-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);

/** y = relu(conv(x)), p = mean over places. */
function small(factor = 1): Program {
  const f = new FunctionBuilder("main");
  const x = f.input("x", shaped("fp32", 1, 2, 6, 6));
  const numbers = Array.from({ length: 3 * 2 * 3 * 3 }, (_, index) => factor * ((index % 7) - 3));
  const weight = f.constant(tensorLiteral("fp32", [3, 2, 3, 3], numbers), "weight");
  const y = f.op("relu", { x: f.op("conv", { x, weight, pad_type: "same" }) });
  const p = f.op("reduce_mean", { x: y, axes: [2, 3], keep_dims: false });
  return programOf(f.finish({ y, p }));
}

const model = at("small.mlpackage");
const changed = at("changed.mlpackage");
beforeAll(() => {
  savePackage(model, small());
  savePackage(changed, small(2));
});

describe("anecdote inspect", () => {
  test("tells functions, ops and weights of a package", async () => {
    const summary = await runJson("inspect", model);
    expect(summary).toMatchObject({
      format: "mlpackage",
      functions: [
        {
          name: "main",
          opset: "ios18",
          inputs: [{ name: "x", dtype: "fp32", shape: [1, 2, 6, 6] }],
          outputs: [
            { name: "y", shape: [1, 3, 6, 6] },
            { name: "p", shape: [1, 3] },
          ],
          ops: { conv: 1, relu: 1, reduce_mean: 1 },
        },
      ],
      weights: [{ name: "weight", dtype: "fp32", shape: [3, 2, 3, 3], bytes: 216, offset: 64 }],
    });
    const { stdout } = await run("inspect", model);
    expect(stdout).toContain("function main (ios18)");
    expect(stdout).toContain("3 ops: conv, reduce_mean, relu");
  });

  test("prints MIL that parses to the same program", async () => {
    const { stdout } = await run("inspect", model, "--text");
    writeFileSync(at("printed.mil"), stdout);
    expect(stdout).toContain("BLOBFILE");
    const { functions } = await runJson("inspect", at("printed.mil"));
    const original = await runJson("inspect", model);
    expect(functions).toEqual(original["functions"]);
  });

  test("draws the data flow as SVG and Mermaid", async () => {
    expect((await run("inspect", model, "--graph", at("flow.svg"))).code).toBe(0);
    const svg = readFileSync(at("flow.svg"), "utf8");
    expect(svg).toMatch(/^<svg/);
    expect(svg).toContain("weight fp32[3, 2, 3, 3]");
    await run("inspect", model, "--graph", at("flow.mmd"));
    expect(readFileSync(at("flow.mmd"), "utf8")).toMatch(/^flowchart TD\n/);
    const wrong = await run("inspect", model, "--graph", at("flow.png"));
    expect(wrong).toMatchObject({ code: 2 });
  });

  test("takes engine programs by their bytes, whatever the name", async () => {
    writeFileSync(at("program.bin"), buildHwx(h13Convolution()));
    const json = await runJson("inspect", at("program.bin"));
    expect(json).toMatchObject({ format: "hwx", chip: "H13" });
    const [task] = json["tasks"] as readonly Record<string, unknown>[];
    expect(task).toMatchObject({ op: "conv" });
    expect(task?.["predictedUs"]).toBeGreaterThan(0);
    const listing = await run("inspect", at("program.bin"), "--registers");
    expect(listing.stdout).toContain("us predicted");
    const extracted = await runJson("inspect", at("program.bin"), "--extract", at("extracted"));
    expect(existsSync(join(String(extracted["folder"]), "weights.json"))).toBe(true);
  });

  test("takes weight files, safetensors and arrays", async () => {
    const blob = join(model, "Data", "com.apple.CoreML", "weights", "weight.bin");
    expect(await runJson("inspect", blob)).toMatchObject({
      format: "weights",
      weights: [{ dtype: "fp32", bytes: 216 }],
    });
    const header = JSON.stringify({ a: { dtype: "F32", shape: [2], data_offsets: [0, 8] } });
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    writeFileSync(at("model.st"), Buffer.concat([length, Buffer.from(header), Buffer.alloc(8)]));
    expect(await runJson("inspect", at("model.st"))).toMatchObject({
      format: "safetensors",
      weights: [{ name: "a", dtype: "F32", shape: [2], bytes: 8 }],
    });
    writeNpyFile(at("a.npy"), { type: "f4", shape: [3], data: new Float32Array(3) });
    expect(await runJson("inspect", at("a.npy"))).toMatchObject({ format: "npy", shape: [3] });
  });

  test.each([
    ["nothing", "missing.mil", undefined, "file.missing", 1],
    ["bytes of no format", "noise.dat", "hello", "file.kind", 1],
    ["a flag of another format", "flow2.npy", undefined, "cli.inspect.flag", 2],
  ])("%s is one clear error", async (_, name, content, code, exitCode) => {
    if (content !== undefined) writeFileSync(at(name), content);
    if (name.endsWith(".npy"))
      writeNpyFile(at(name), { type: "u1", shape: [1], data: Uint8Array.of(1) });
    const result = await run("inspect", at(name), "--registers", "--json");
    expect(result.code).toBe(exitCode);
    expect(JSON.parse(result.stdout)).toMatchObject({ kind: "error", code });
  });
});

describe("anecdote check", () => {
  test("a good program ends with 0, a chip's rules are told with source and remedy", async () => {
    expect(await run("check", model)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^language: ok\nweights in .*weight\.bin: ok\n$/),
    });
    const broken = await run("check", model, "--chip", "m4");
    expect(broken.code).toBe(1);
    expect(broken.stdout).toMatch(/source: .*\n\s*https:.*\n\s*remedy: /);
    const json = await run("check", model, "--chip", "m4", "--json");
    const report: unknown = JSON.parse(json.stdout);
    expect(report).toMatchObject({ ok: false, problems: [], chip: "M4", driver: "e5rt" });
  });

  test("a broken program names function, op and rule", async () => {
    const text = `program(1.3)
{
    func main<ios18>(tensor<fp32, [2, 3]> x) {
            tensor<fp32, [2, 4]> y = relu(x = x)[name = string("y")];
        } -> (y);
}`;
    writeFileSync(at("broken.mil"), text);
    const result = await run("check", at("broken.mil"), "--json");
    expect(result.code).toBe(1);
    const report: unknown = JSON.parse(result.stdout);
    expect(report).toMatchObject({ ok: false, problems: [{ function: "main" }] });
  });

  test("wrong chips and drivers are told with the nearest", async () => {
    expect((await run("check", model, "--chip", "m44")).stderr).toContain('Did you mean "m4"');
    expect((await run("check", model, "--driver", "e5")).stderr).toContain("e5rt, in-memory");
  });
});

describe("anecdote run", () => {
  const x = Float32Array.from({ length: 72 }, (_, index) => Math.fround(Math.sin(index)));
  beforeAll(() => writeNpyFile(at("x.npy"), { type: "f4", shape: [1, 2, 6, 6], data: x }));

  test("both engines write the same results", async () => {
    for (const engine of ["reference", "cpu"]) {
      const json = await runJson(
        ...["run", model, "--input", `x=${at("x.npy")}`],
        ...["--output", at(`out-${engine}`), "--engine", engine],
      );
      expect(json).toMatchObject({
        function: "main",
        engine,
        outputs: [{ name: "y" }, { name: "p" }],
      });
    }
    for (const name of ["y", "p"]) {
      const a = readNpyFile(join(at("out-reference"), `${name}.npy`));
      const b = readNpyFile(join(at("out-cpu"), `${name}.npy`));
      expect(a.shape).toEqual(b.shape);
      a.data.forEach((value, index) => expect(Number(b.data[index])).toBeCloseTo(Number(value), 4));
    }
  });

  test("a seed draws the same inputs again", async () => {
    const once = await runJson("run", model, "--random", "3", "--engine", "reference");
    const again = await runJson("run", model, "--random", "3", "--engine", "reference");
    const other = await runJson("run", model, "--random", "4", "--engine", "reference");
    expect(again["outputs"]).toEqual(once["outputs"]);
    expect(other["outputs"]).not.toEqual(once["outputs"]);
  });

  test.each([
    ["a missing input", [], /needs the input "x".*\n.*--input x=FILE\.npy/],
    ["a misspelt input", ["--input", `X=${at("x.npy")}`], /no input "X"\. Did you mean "x"/],
    ["a wrong shape", ["--input", `x=${at("short.npy")}`], /the array has the shape \[2\]/],
    ["a broken pair", ["--input", "x"], /NAME=FILE\.npy/],
    ["a wrong seed", ["--random", "one"], /whole number/],
    ["an unknown engine", ["--random", "1", "--engine", "cpuu"], /Did you mean "cpu"/],
    ["an unknown function", ["--random", "1", "--function", "maine"], /Did you mean "main"/],
  ])("%s is one clear error", async (_, flags, message) => {
    writeNpyFile(at("short.npy"), { type: "f4", shape: [2], data: new Float32Array(2) });
    const result = await run("run", model, ...flags);
    expect(result.code).toBeGreaterThan(0);
    expect(result.stderr).toMatch(message);
  });
});

describe("anecdote convert and diff", () => {
  test("a program survives every way around", async () => {
    const paths = ["a.onnx", "b.mlpackage", "c.mil", "d.mlmodel", "e.onnx"].map(at);
    let from = model;
    for (const to of paths) {
      expect((await run("convert", from, to)).code).toBe(0);
      from = to;
    }
    const outputs: unknown[] = [];
    for (const path of [model, ...paths]) {
      const json = await runJson("run", path, "--random", "9", "--engine", "reference");
      outputs.push(
        (json["outputs"] as readonly { name: string; mean: number }[]).map(({ name, mean }) => [
          name,
          Number(mean.toPrecision(4)),
        ]),
      );
    }
    for (const output of outputs) expect(output).toEqual(outputs[0]);
  });

  test("an ONNX file carries the function's own names and standard operators only", async () => {
    const f = new FunctionBuilder("main");
    const x = f.input("x", shaped("fp32", 2, 3, 4));
    const w = f.input("w", shaped("fp32", 2, 5, 4));
    const product = f.op("matmul", { x, y: w, transpose_y: true });
    const y = f.op("gelu", { x: f.op("silu", { x: product }), mode: "TANH_APPROXIMATION" });
    savePackage(at("fused.mlpackage"), programOf(f.finish({ y })));
    await run("convert", at("fused.mlpackage"), at("fused.onnx"));
    const summary = await runJson("inspect", at("fused.onnx"));
    expect(summary).toMatchObject({
      opsets: { "ai.onnx": 21 },
      functions: [{ inputs: [{ name: "x" }, { name: "w" }], outputs: [{ name: "y" }] }],
    });
    const flags = ["--random", "2", "--engine", "reference", "--output"];
    await run("run", at("fused.mlpackage"), ...flags, at("fused-a"));
    await run("run", at("fused.onnx"), ...flags, at("fused-b"));
    const [a, b] = ["fused-a", "fused-b"].map((name) => readNpyFile(join(at(name), "y.npy")));
    expect(a?.shape).toEqual([2, 3, 5]);
    a?.data.forEach((value, index) => expect(Number(b?.data[index])).toBeCloseTo(Number(value), 5));
  });

  test("open sizes of an ONNX file are asked for, and taken", async () => {
    const bytes = modelBytes({
      inputs: { x: { type: "fp32", shape: ["batch", 3] } },
      constants: {},
      nodes: [{ op: "Relu", inputs: ["x"], outputs: ["y"] }],
      outputs: { y: "fp32" },
    });
    writeFileSync(at("open.onnx"), bytes);
    const asked = await run("convert", at("open.onnx"), at("open.mil"));
    expect(asked.stderr).toContain("--shape x=1x3");
    expect((await run("convert", at("open.onnx"), at("open.mil"), "--dim", "batch=4")).code).toBe(
      0,
    );
    expect(readFileSync(at("open.mil"), "utf8")).toContain("tensor<fp32, [4, 3]> x");
  });

  test("two texts in a folder keep weights of their own, and every file is named", async () => {
    const [one, two] = [at("pair/one.mil"), at("pair/two.mil")];
    const { code, stdout } = await run("convert", model, one);
    expect(code).toBe(0);
    expect(stdout).toContain(`made the folder ${at("pair")}\n`);
    expect(stdout).toContain(`  ${at("pair/one.weights.bin")}: `);
    const second = await runJson("convert", changed, two);
    const names = ["two.mil", "two.weights.bin"].map((name) => at(`pair/${name}`));
    expect(second["files"]).toEqual(
      names.map((path) => ({ path, byteLength: statSync(path).size })),
    );
    expect((await run("diff", one, model)).code).toBe(0);
    expect((await run("diff", two, changed)).code).toBe(0);
    expect((await run("check", one)).stdout).toContain("one.weights.bin: ok\n");
  });

  test("an output that exists is replaced only with --overwrite, and never one that is read", async () => {
    const target = at("kept/net.mil");
    await run("convert", model, target);
    const before = [readFileSync(target), readFileSync(at("kept/net.weights.bin"))];
    const refused = await run("convert", changed, target);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("--overwrite") });
    symlinkSync(target, at("kept/link.mil"));
    linkSync(at("kept/net.weights.bin"), at("kept/twin.weights.bin"));
    for (const onto of ["net.mil", "link.mil", "twin.mil"]) {
      const result = await run("convert", target, at(`kept/${onto}`), "--overwrite");
      expect(result).toMatchObject({ code: 2, stderr: expect.stringContaining("over itself") });
    }
    expect([readFileSync(target), readFileSync(at("kept/net.weights.bin"))]).toEqual(before);
    for (const ending of ["mlpackage", "onnx", "mlmodel"]) {
      expect((await run("convert", model, at(`kept/net.${ending}`))).code).toBe(0);
      expect((await run("convert", model, at(`kept/net.${ending}`))).code).toBe(1);
    }
    expect((await run("convert", changed, target, "--overwrite")).code).toBe(0);
    expect((await run("diff", target, changed)).code).toBe(0);
  });

  test("check looks for every tensor in the weight files", async () => {
    const target = at("held/net.mil");
    await run("convert", model, target);
    const text = readFileSync(target, "utf8");
    const weights = at("held/net.weights.bin");
    for (const [from, to, message] of [
      ["offset = uint64(64)", "offset = uint64(4096)", "there is no blob at offset 4096"],
      ["offset = uint64(64)", "offset = uint64(80)", "its mark is missing"],
      ["fp32, [3, 2, 3, 3]", "fp16, [3, 2, 3, 3]", "holds fp32, the program says fp16"],
      ["net.weights.bin", "gone.bin", "gone.bin does not exist"],
      ["@model_path/net", "@model_path/../net", "outside the model's folder"],
    ] as const) {
      writeFileSync(target, text.replaceAll(from, to));
      const result = await run("check", target);
      expect(result).toMatchObject({ code: 1, stdout: expect.stringContaining(message) });
      expect(result.stdout).toContain('function "main", const -> "weight"');
    }
    writeFileSync(target, text);
    writeFileSync(weights, readFileSync(weights).subarray(0, 200));
    expect(await runJson("check", target)).toMatchObject({
      ok: false,
      problems: [{ code: "coreml.blob.range", function: "main" }],
    });
  });

  test("a target of no known ending changes nothing", async () => {
    const result = await run("convert", model, at("model.mlpackge"));
    expect(result).toMatchObject({ code: 2 });
    expect(result.stderr).toContain('Did you mean "mlpackage"');
    expect(existsSync(at("model.mlpackge"))).toBe(false);
  });

  test("diff finds nothing between equal programs, and the weight that changed", async () => {
    const same = await run("diff", model, model);
    expect(same.code).toBe(0);
    expect(same.stdout).toContain("no difference");
    const other = await run("diff", model, changed, "--json");
    expect(other.code).toBe(1);
    expect(JSON.parse(other.stdout)).toMatchObject({
      equal: false,
      functions: [
        { name: "main", equal_ops: 2, ops: [{ op: "conv", differences: [{ name: "weight" }] }] },
      ],
    });
  });

  test("diff does not care what values are called", async () => {
    const text = (await run("inspect", model, "--text")).stdout;
    const inside = join(model, "Data", "com.apple.CoreML", "weights", "weight.bin");
    writeFileSync(
      at("renamed.mil"),
      text
        .replaceAll("conv", "zonv")
        .replaceAll("zonv(", "conv(")
        .replaceAll("weights/weight.bin", "plain.weights.bin"),
    );
    await run("convert", model, at("plain.mil"));
    expect(existsSync(inside)).toBe(true);
    expect((await run("diff", at("plain.mil"), at("renamed.mil"))).code).toBe(0);
  });

  test("engine programs are compared by meaning", async () => {
    writeFileSync(at("one.hwx"), buildHwx(h13Convolution()));
    const same = await run("diff", at("one.hwx"), at("one.hwx"));
    expect(same.code).toBe(0);
    const mixed = await run("diff", at("one.hwx"), model);
    expect(mixed.stderr).toContain("cannot be compared");
  });
});
