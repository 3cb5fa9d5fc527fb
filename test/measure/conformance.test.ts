import { execFileSync, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { create, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { savePackage } from "../../src/coreml/index.ts";
import { writeNpyFile } from "../../src/files/npy.ts";
import { FunctionBuilder, programOf, shaped } from "../../src/mil/builder.ts";
import { main } from "../../src/measure/conformance/main.ts";
import { againstKnown } from "../../src/measure/conformance/known-refusals.ts";
import { TensorProtoSchema } from "../../src/onnx/generated/onnx_pb.ts";
import { finished } from "../helpers/cli.ts";
import { modelBytes, tensorMessage } from "../onnx/onnx-model.ts";
import type { TestGraph, TestTensor } from "../onnx/onnx-model.ts";

const folder = mkdtempSync(join(tmpdir(), "anecdote-suites-"));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const floats = (...values: readonly number[]): TestTensor => ({
  type: "fp32",
  shape: [values.length],
  values,
});
const whole = (...values: readonly number[]): TestTensor => ({
  type: "int64",
  shape: [values.length],
  values,
});
const fp32 = (...shape: readonly number[]) => ({ type: "fp32" as const, shape });

/** One test in the layout of ONNX's backend tests. */
function onnxTest(
  name: string,
  graph: TestGraph,
  inputs: readonly TestTensor[],
  outputs: readonly TestTensor[],
): void {
  const path = join(folder, "onnx", "node", name);
  mkdirSync(join(path, "test_data_set_0"), { recursive: true });
  writeFileSync(join(path, "model.onnx"), modelBytes(graph));
  const write = (kind: string) => (tensor: TestTensor, index: number) => {
    const message = create(TensorProtoSchema, tensorMessage("", tensor));
    const file = join(path, "test_data_set_0", `${kind}_${index}.pb`);
    writeFileSync(file, toBinary(TensorProtoSchema, message));
  };
  inputs.forEach(write("input"));
  outputs.forEach(write("output"));
}

const unary = (op: string): TestGraph => ({
  inputs: { x: fp32(3) },
  constants: {},
  nodes: [{ op, inputs: ["x"], outputs: ["y"] }],
  outputs: { y: "fp32" },
});

beforeAll(() => {
  onnxTest("test_neg", unary("Neg"), [floats(1, -2, 3)], [floats(-1, 2, -3)]);
  onnxTest("test_wrong", unary("Abs"), [floats(1, -2, 3)], [floats(1, 2, 4)]);
  onnxTest("test_unknown", unary("Frobnicate"), [floats(1, -2, 3)], [floats(1, 2, 3)]);
  onnxTest("test_random", unary("Bernoulli"), [floats(1, 0, 1)], [floats(1, 0, 1)]);
  onnxTest(
    "test_bound",
    {
      inputs: { x: fp32(3), shape: { type: "int64", shape: [2] } },
      constants: {},
      nodes: [{ op: "Reshape", inputs: ["x", "shape"], outputs: ["y"] }],
      outputs: { y: "fp32" },
    },
    [floats(1, 2, 3), whole(3, 1)],
    [{ type: "fp32", shape: [3, 1], values: [1, 2, 3] }],
  );
  const packages = join(folder, "packages");
  mkdirSync(packages);
  const builder = new FunctionBuilder("main");
  const x = builder.input("x", shaped("fp16", 2));
  const y = builder.op("mul", { x, y: 0.25 });
  savePackage(join(packages, "a.mlpackage"), programOf(builder.finish({ y })), {
    weights: undefined,
    original: undefined,
  });
  const array = (name: string, ...values: readonly number[]): void => {
    const data = Float32Array.from(values);
    writeNpyFile(join(packages, name), { type: "f4", shape: [2], data });
  };
  array("a.x.npy", 1, -8);
  array("a.y.npy", 0.25, -2);
  const line = {
    ...{ area: "elementwise", name: "Mul", package: "a.mlpackage", specification: "9" },
    ...{ precision: "fp16", atol: 1e-4, rtol: 1e-5, inputs: { x: "a.x.npy" } },
    outputs: ["a.y.npy"],
  };
  writeFileSync(join(packages, "manifest.jsonl"), `${JSON.stringify(line)}\n`);
});

async function run(...argv: readonly string[]) {
  let stdout = "";
  let stderr = "";
  const out = vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
    stdout += String(chunk);
    return true;
  });
  const err = vi.spyOn(process.stderr, "write").mockImplementation((chunk) => {
    stderr += String(chunk);
    return true;
  });
  try {
    const failures = join(folder, "failures.jsonl");
    const code = await main([...argv, "--failures", failures, "--processes", "1"]);
    return { code, stdout, stderr, failures: readFileSync(failures, "utf8") };
  } finally {
    out.mockRestore();
    err.mockRestore();
  }
}

/** Processes that run tests for a process. */
function childrenOf(pid: number): number {
  try {
    return execFileSync("pgrep", ["-P", String(pid), "-f", "conformance/worker"], {
      encoding: "utf8",
    })
      .trim()
      .split("\n").length;
  } catch {
    return 0;
  }
}

describe("a folder of tests that others wrote", () => {
  test("in ONNX's layout is run on each engine, with counts, reasons and one line of JSON", async () => {
    const engines = ["--engine", "reference", "--engine", "cpu", "--oracle", "onnx"];
    const { code, stdout, stderr, failures } = await run(
      join(folder, "onnx"),
      ...engines,
      "--json",
    );
    expect(code).toBe(0);
    const counts = { passed: 2, refused: 1, wrong: 1, crashed: 0, fallback: 0, bound: 1 };
    expect(JSON.parse(stdout)).toEqual({
      suite: "onnx",
      tests: 4,
      engines: { reference: counts, cpu: counts, "oracle:onnx": counts },
    });
    expect(stderr).toContain("left out: node/test_random (Bernoulli is random)");
    expect(failures).toContain("element 2 is 3, expected 4");
    expect(failures).toContain("onnx.import.unsupported");
  });

  test("in the layout of packages too, on a simulated chip", async () => {
    const { stdout } = await run(join(folder, "packages"), "--engine", "sim:m4", "--json");
    expect(JSON.parse(stdout)).toMatchObject({ tests: 1, engines: { "sim:m4": { passed: 1 } } });
  });

  test("held against its list: only what the list knows may be refused, nothing may be wrong", async () => {
    const known = join(folder, "known.txt");
    writeFileSync(known, "reference onnx.import.unsupported node/test_unknown\n");
    const onnx = join(folder, "onnx");
    const one = ["--engine", "reference", "--known", known];
    const good = await run(onnx, ...one, "--filter", "test_unknown", "--filter", "test_neg");
    expect(good.code).toBe(0);
    const bad = await run(onnx, ...one, "--filter", "test_wrong");
    expect(bad.code).toBe(1);
    expect(bad.stdout).toContain("node/test_wrong on reference is wrong");
  });

  test("a line of the list that no longer holds has to go", () => {
    const [first] = againstKnown(
      [{ engine: "cpu", code: "x", id: "t" }],
      [{ id: "t", family: "f", engine: "cpu", outcome: { result: "passed" } }],
    );
    expect(first).toContain("take the line out");
  });

  test("Ctrl-C ends it with what came until then, and counts nothing as crashed", async () => {
    const many = join(folder, "many");
    for (let index = 0; index < 400; index++) {
      mkdirSync(join(many, "node"), { recursive: true });
      cpSync(join(folder, "onnx", "node", "test_neg"), join(many, "node", `test_neg_${index}`), {
        recursive: true,
      });
    }
    const script = fileURLToPath(new URL("../../scripts/conformance.mjs", import.meta.url));
    const failures = join(folder, "stopped.jsonl");
    // A terminal sends the signal to the whole group: to those that run the tests as well.
    const child = spawn(
      process.execPath,
      [script, many, "--engine", "cpu", "--processes", "2", "--failures", failures],
      { detached: true, stdio: ["ignore", "pipe", "pipe"] },
    );
    const ended = finished(child);
    const { pid } = child;
    if (pid === undefined) throw new Error("no process");
    while (childrenOf(pid) < 2) await setTimeout(20);
    process.kill(-pid, "SIGINT");
    const { code, stdout } = await ended;
    expect(code).toBe(130);
    expect(stdout).toMatch(/stopped after \d+ of 400 results/);
    expect(readFileSync(failures, "utf8")).toBe("");
  });

  test("a folder that is neither is refused with the layouts it could have", async () => {
    mkdirSync(join(folder, "empty"));
    await expect(main([join(folder, "empty")])).rejects.toThrow(/test_data_set_N/);
  });
});
