import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { temporaryFolder } from "../helpers/cli.ts";
import { tinyModelFolder } from "../helpers/model-folder.ts";
import { run } from "./in-process.ts";

describe("convert --to onnx", () => {
  it("writes a folder, and a second type beside the first", async () => {
    const folder = temporaryFolder();
    const from = join(folder, "model");
    tinyModelFolder(from);
    const to = join(folder, "web");
    const first = await run("convert", from, to, "--to", "onnx");
    expect(first.code, first.stderr).toBe(0);
    expect(first.stdout).toMatch(/a decoder of \d+ nodes, fp32/);
    const second = await run("convert", from, to, "--to", "onnx", "--dtype", "q8", "--json");
    expect(second.code, second.stderr).toBe(0);
    const quantized = join(to, "onnx/model_quantized.onnx");
    expect(JSON.parse(second.stdout)).toMatchObject({
      ...{ to: "onnx", dtype: "q8", files: [{ path: quantized }] },
    });
    for (const name of ["config.json", "tokenizer.json", "onnx/model.onnx"])
      expect(existsSync(join(to, name)), name).toBe(true);
    expect((await run("convert", from, to, "--to", "onnx")).stderr).toMatch(/exists already/);
  });

  it.each([
    [["out.onnx", "--to", "onnx"], /--to onnx writes a folder, and "out.onnx" names a file/],
    [["out", "--to", "gguf"], /--to gguf: only onnx is a folder/],
    [["out", "--to", "onnx", "--dtype", "int4"], /--dtype int4: an onnx folder has fp32, fp16, q8/],
    [["out", "--to", "onnx", "--batch-size", "2"], /sizes are open: it goes with --dtype/],
    [["out.onnx", "--dtype", "q8"], /--dtype is for a \.gguf file, --stateful and --to onnx/],
  ] as const)("refuses %j in words", async (words, message) => {
    const { code, stderr } = await run("convert", "model", ...words);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
  });
});
