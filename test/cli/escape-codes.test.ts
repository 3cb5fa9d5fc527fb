import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { savePackage } from "../../src/coreml/index.ts";
import { FunctionBuilder, programOf, shaped } from "../../src/mil/builder.ts";
import { modelBytes } from "../onnx/onnx-model.ts";
import { run } from "./in-process.ts";

const folder = mkdtempSync(join(tmpdir(), "anecdote-escapes-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);

/** Clears the screen, and writes what follows from right to left. */
const EVIL = "y\u001b[2J\u202e";
const CONTROLS = ["\u001b", "\u202e"];

beforeAll(() => {
  const save = (name: string, factor: number, opset: "ios15" | "ios18"): void => {
    const f = new FunctionBuilder(EVIL, opset);
    const x = f.input(`x${EVIL}`, shaped("fp32", 2));
    // An op that this opset lacks, so that there is a problem to tell.
    const y = f.append(
      { type: "silu", inputs: new Map([["x", x]]), blocks: [], attributes: new Map() },
      EVIL,
    );
    const [first] = y;
    if (first === undefined) throw new Error("no result");
    const scaled = f.op("mul", { x: first, y: factor }, { name: `z${EVIL}` });
    savePackage(at(name), programOf(f.finish({ [`out${EVIL}`]: scaled })), {
      weights: undefined,
      original: undefined,
    });
  };
  save("a.mlpackage", 2, "ios15");
  save("b.mlpackage", 3, "ios18");
  writeFileSync(
    at("a.onnx"),
    modelBytes({
      inputs: { [`x${EVIL}`]: { type: "fp32", shape: [2] } },
      constants: {},
      nodes: [{ op: "Neg", inputs: [`x${EVIL}`], outputs: [EVIL] }],
      outputs: { [EVIL]: "fp32" },
    }),
  );
});

describe("names in files that hold escape codes", () => {
  test.each([
    ["inspect", ["inspect", "a.mlpackage"]],
    ["inspect of an .onnx file", ["inspect", "a.onnx"]],
    ["check", ["check", "a.mlpackage"]],
    ["check on a chip", ["check", "a.mlpackage", "--chip", "m4"]],
    ["check on a system", ["check", "a.mlpackage", "--macos", "15"]],
    ["diff", ["diff", "a.mlpackage", "b.mlpackage"]],
    ["run", ["run", "a.mlpackage", "--random", "1"]],
    ["run of an .onnx file", ["run", "a.onnx", "--random", "1"]],
    ["run with an input that is missing", ["run", "a.onnx"]],
    ["estimate", ["estimate", "a.mlpackage", "--chip", "m4"]],
    ["convert", ["convert", "a.mlpackage", "c.onnx", "--overwrite"]],
  ])("are spelled out by %s", async (_, [command = "", ...rest]) => {
    const args = rest.map((text) => (/\.(?:mlpackage|onnx)$/.test(text) ? at(text) : text));
    const { stdout, stderr } = await run(command, ...args);
    for (const control of CONTROLS) expect(stdout + stderr).not.toContain(control);
    expect(stdout + stderr).not.toBe("");
  });

  test("are seen as what they are", async () => {
    const { stdout } = await run("inspect", at("a.onnx"));
    expect(stdout).toContain("xy\\x1b[2J\\u202e");
  });
});
