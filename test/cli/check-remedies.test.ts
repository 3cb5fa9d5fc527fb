import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openModel, savePackage } from "../../src/coreml/index.ts";
import { FunctionBuilder, programOf } from "../../src/mil/builder.ts";
import { tensorLiteral } from "../../src/mil/literal.ts";
import { printProgram } from "../../src/mil/text/index.ts";
import { tensorType } from "../../src/mil/types.ts";
import { checkProgram } from "../../src/mil/verify.ts";
import { readNpyFile, writeNpyFile } from "../../src/files/npy.ts";
import { Random } from "../../src/util/random.ts";
import { run, runJson } from "./in-process.ts";

const folder = mkdtempSync(join(tmpdir(), "anecdote-check-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);

/** y = softmax(gelu(x W)), with a weight in a file. */
const model = at("layer.mlpackage");
const text = at("layer.mil");
const lookup = at("lookup.mil");
const open = at("open.mil");

beforeAll(() => {
  const random = new Random(3);
  const f = new FunctionBuilder("main");
  const x = f.input("x", tensorType("fp16", [40, 64]));
  const numbers = Array.from({ length: 64 * 97 }, () => random.normal() / 8);
  const weight = f.constant(tensorLiteral("fp16", [64, 97], numbers), "weight");
  const product = f.op("matmul", { x, y: weight, transpose_x: false, transpose_y: false });
  const bent = f.op("gelu", { x: product, mode: "TANH_APPROXIMATION" }, { name: "bent" });
  const program = programOf(
    f.finish({ y: f.op("softmax", { x: f.op("round", { x: bent }), axis: -1 }) }),
  );
  savePackage(model, program);
  writeFileSync(text, printProgram(program));
  const g = new FunctionBuilder("main");
  const table = g.input("table", tensorType("fp16", [10, 4]));
  const ids = g.input("ids", tensorType("int32", [3]));
  const rows = g.op("gather", { x: table, indices: ids, axis: 0 });
  writeFileSync(lookup, printProgram(programOf(g.finish({ rows }))));
  writeFileSync(
    open,
    `program(1.3)
{
    func main<ios18>(tensor<fp16, [?, 64]> x) {
            tensor<fp16, [?, 64]> y = tanh(x = x)[name = string("y")];
        } -> (y);
}`,
  );
});

test("each finding says whether the passes rewrite it, and what the rewritten program still breaks", async () => {
  const { code, stdout } = await run("check", model, "--chip", "m4", "--driver", "in-memory");
  expect(code).toBe(1);
  expect(stdout).toMatch(/error gelu [^]*? the passes rewrite it: gelu is written with tanh/);
  expect(stdout).toMatch(/warning round-large [^]*? stays: no pass does this/);
  expect(stdout).toMatch(/handled surface-minimum [^]*? the driver does it when the program runs/);
  const [, after = ""] = stdout.split("rewritten by the passes");
  expect(after).toMatch(/\(ops: 4 as written, \d+ now\) for M4: ok/);
  expect(after).toContain("round-large");
  expect(after).not.toContain("gelu");
});

test("--json has the same as fields", async () => {
  const report = await runJson("check", model, "--chip", "m4", "--driver", "in-memory");
  expect(report).toMatchObject({
    ok: false,
    findings: expect.arrayContaining([
      expect.objectContaining({ rule: "gelu", outcome: "rewritten", result: "bent" }),
      expect.objectContaining({
        rule: "round-large",
        outcome: "stays",
        because: "no pass does this",
      }),
    ]),
    rewritten: {
      ok: true,
      functions: [
        {
          function: "main",
          place: "engine",
          inputs: [{ name: "x", from: "x", conversion: { kind: "half", start: 0, count: 2560 } }],
          outputs: [{ name: "result_y", to: "y", conversion: { kind: "write", start: 0 } }],
        },
      ],
    },
  });
});

test("--rewritten writes a program that is whole, keeps its rules and computes the same", async () => {
  const target = at("out/after.mil");
  const flags = ["--chip", "m4", "--driver", "in-memory", "--rewritten", target];
  const { code, stdout } = await run("check", model, ...flags);
  expect(code).toBe(1);
  expect(stdout).toContain(`written to ${target}, ${at("out/after.weights.bin")}\n`);
  // The folder holds nothing else: weights stand under the file's own name.
  expect(readdirSync(at("out")).sort()).toEqual(["after.mil", "after.weights.bin"]);
  const opened = openModel(target);
  expect(checkProgram(opened.program).problems).toEqual([]);
  expect(opened.program.functions[0]?.operations.map(({ type }) => type)).toContain("conv");
  opened.close();
  const again = await run("check", target, "--chip", "m4", "--driver", "in-memory");
  expect(again.code).toBe(0);
  const random = new Random(5);
  const data = Float32Array.from({ length: 40 * 64 }, () => random.normal());
  writeNpyFile(at("x.npy"), { type: "f4", shape: [40, 64], data });
  for (const [file, out] of [
    [model, "as-written"],
    [target, "rewritten"],
  ] as const) {
    const result = await run(
      "run",
      file,
      "--engine",
      "reference",
      "--input",
      `x=${at("x.npy")}`,
      "--output",
      at(out),
    );
    expect(result.code, result.stderr).toBe(0);
  }
  const wanted = readNpyFile(at("as-written/y.npy"));
  const got = readNpyFile(at("rewritten/result_y.npy"));
  expect(got.shape).toEqual(wanted.shape);
  // A place just at a half rounds either way; all others differ by the rounding of fp16 only.
  const halves = (data: ArrayLike<number>) => Array.from(data, (bits) => bits & 0x7fff);
  const apart = halves(wanted.data as Uint16Array).filter(
    (bits, i) => Math.abs(bits - (halves(got.data as Uint16Array)[i] ?? NaN)) > 8,
  );
  expect(apart.length).toBeLessThan(0.1 * wanted.data.length);
});

test("what stands beside the rewritten file is left alone", async () => {
  const before = readFileSync(text);
  const over = await run("check", text, "--chip", "m4", "--rewritten", text);
  expect(over).toMatchObject({ code: 2, stderr: expect.stringContaining("would write over") });
  expect(readFileSync(text)).toEqual(before);
  const target = at("refused.mil");
  for (const [flags, code, message] of [
    [[text, "--rewritten", target], 2, /needs a chip/],
    [[text, "--chip", "m4", "--rewritten", at("a.onnx")], 2, /does not end with \.mil/],
    [[lookup, "--chip", "m4", "--rewritten", target], 1, /nothing is rewritten.*gather/],
  ] as const) {
    const result = await run("check", ...flags);
    expect(result.code).toBe(code);
    expect(result.stderr).toMatch(message);
    expect(existsSync(target)).toBe(false);
  }
});

test("a function that stays on the host says why, once", async () => {
  const { code, stdout } = await run("check", lookup, "--chip", "m4");
  expect(code).toBe(1);
  expect(stdout).toContain("stays: the function is not rewritten");
  expect(stdout).toMatch(/rewritten by the passes: stays on the host: gather: /);
});

test("open sizes are asked for, and taken", async () => {
  expect((await run("check", open, "--chip", "m4")).stdout).toMatch(
    /symbolic[^]*unknown size: fp16\[\?, 64\]\s+Give every/,
  );
  const sized = await run("check", open, "--chip", "m4", "--shape", "x=32x64");
  expect(sized).toMatchObject({ code: 0 });
  const unknown = await run("check", open, "--shape", "z=32x64");
  expect(unknown.stderr).toContain('no function has an input "z"');
});

test("weights that are missing are told, and the chip's rules are checked all the same", async () => {
  await run("convert", model, at("moved/layer.mil"));
  rmSync(at("moved/layer.weights.bin"));
  const { code, stdout } = await run("check", at("moved/layer.mil"), "--chip", "m4");
  expect(code).toBe(1);
  expect(stdout).toContain("layer.weights.bin: broken\n");
  expect(stdout).toMatch(/weight files were not read: the weight file .* does not exist/);
});

test("estimate prices a file as the passes rewrite it, with its weights as convolutions, and as written on request", async () => {
  const rewritten = await runJson("estimate", model, "--chip", "m4");
  const opsOf = (report: Record<string, unknown>): readonly string[] =>
    (report["ops"] as readonly { readonly op: string }[]).map(({ op }) => op);
  expect(opsOf(rewritten)).toContain("conv");
  expect(opsOf(rewritten)).not.toContain("matmul");
  const asWritten = await runJson("estimate", model, "--chip", "m4", "--as-written");
  expect(opsOf(asWritten)).toContain("matmul");
  expect(rewritten).toMatchObject({
    priced: "rewritten",
    as_written: { ms: asWritten["ms"], joules: asWritten["joules"] },
    rewritten: { place: "engine", ms: rewritten["ms"], joules: rewritten["joules"] },
  });
  expect(asWritten).toMatchObject({ priced: "as_written", rewritten: rewritten["rewritten"] });
  const host = await run("estimate", lookup, "--chip", "m4");
  expect(host.stdout).toMatch(/priced as written; `run` leaves it to the host: gather: /);
  expect((await run("estimate", "--help")).stdout).toMatch(/priced as it would run/);
});
