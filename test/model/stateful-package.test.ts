import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadWeights as withWeights, openModel as openPackage } from "../../src/coreml/index.ts";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";
import type { HostTensor } from "../../src/mil/host-tensor.ts";
import { numericLiteral } from "../../src/mil/literal.ts";
import type { MilFunction } from "../../src/mil/program.ts";
import { elementCount, staticShape, tensorType } from "../../src/mil/types.ts";
import { loadWeights, modelOf, readModelConfig } from "../../src/model/index.ts";
import { packageWeights, paletteOf } from "../../src/model/compressed-weights.ts";
import { matrixWeight } from "../../src/model/weights.ts";
import { weightIdentifier } from "../../src/model/stage-inliner.ts";
import { statefulForward } from "../../src/model/stateful-forward.ts";
import { exportPackage } from "../../src/runs/export-package.ts";
import { Random } from "../../src/util/random.ts";
import { runCli } from "../helpers/cli.ts";

const FAMILIES = fileURLToPath(new URL("../fixtures/families", import.meta.url));
const CASES = [
  "llama-biases",
  "llama-rope-yarn",
  "llama-rope-dynamic",
  "llama-rope-llama3",
  "mistral-window",
  "qwen2-window",
  "qwen3",
  "gemma2",
  "gemma3-scaled",
  "gpt2-switches",
];

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "anecdote-states-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Expected {
  readonly prompt: readonly number[];
  readonly greedy: readonly number[];
}

/** A family's folder whose dynamic rope scaling begins before the context ends. */
function withFirstContext(name: string, tokenCount: number): string {
  const to = join(folder, `${name}-${tokenCount}`);
  cpSync(join(FAMILIES, name), to, { recursive: true });
  const path = join(to, "config.json");
  const json = JSON.parse(readFileSync(path, "utf8")) as { rope_scaling: object };
  const rope_scaling = { ...json.rope_scaling, original_max_position_embeddings: tokenCount };
  writeFileSync(path, JSON.stringify({ ...json, rope_scaling }));
  return to;
}

function expectedOf(name: string): Expected {
  return JSON.parse(readFileSync(join(FAMILIES, name, "expected.json"), "utf8")) as Expected;
}

/** Runs a function over tokens, R at a time, its states kept; gives the logits of each token. */
function runner(fn: MilFunction, rowCount: number): (tokens: readonly number[]) => Float64Array[] {
  const states = new Map<string, HostTensor>();
  let position = 0;
  return (tokens) => {
    const inputs = new Map([
      ["tokens", hostTensor("int32", [1, rowCount], Float64Array.from(tokens))],
      ["position", hostTensor("int32", [1], Float64Array.of(position))],
    ]);
    const logits = evaluateFunction(fn, inputs, { states }).get("logits");
    position += tokens.length;
    const width = (logits?.data.length ?? 0) / rowCount;
    return tokens.map(
      (_, row) => logits?.data.slice(row * width, (row + 1) * width) ?? new Float64Array(),
    );
  };
}

describe("a model with its cache in states", () => {
  it.each(CASES)("%s writes the text of an independent implementation in fp32", (name) => {
    const path = join(FAMILIES, name);
    const model = modelOf(readModelConfig(path));
    const numbers = new Map(
      model.parameters.weights.map((weight) => [
        weight.name,
        new Float32Array(elementCount(staticShape(weight.type))),
      ]),
    );
    const numbersOf = (weight: string): Float32Array => numbers.get(weight) ?? new Float32Array();
    loadWeights(path, model, numbersOf);
    const sizes = { cacheLength: 72, dataType: "fp32" } as const;
    const functionOf = (rowCount: number): MilFunction =>
      statefulForward(model, { ...sizes, rowCount }, (builder, weight, type) =>
        builder.constant(
          numericLiteral(type, numbersOf(weight.name).subarray(0, elementCount(staticShape(type)))),
          weightIdentifier(weight),
        ),
      );
    const { prompt, greedy } = expectedOf(name);
    const one = runner(functionOf(1), 1);
    let last = prompt.map((token) => one([token])[0] ?? new Float64Array()).at(-1);
    const written: number[] = [];
    for (let count = 0; count < 24; count++) {
      const best = last?.indexOf(Math.max(...last)) ?? -1;
      written.push(best);
      [last] = one([best]);
    }
    expect(written).toEqual(greedy.slice(0, 24));
    // Several rows at once see each other, and the window where there is one.
    const many = runner(functionOf(4), 4);
    const tokens = [...prompt, ...greedy].slice(0, 20);
    const single = runner(functionOf(1), 1);
    for (let at = 0; at < tokens.length; at += 4) {
      const rows = many(tokens.slice(at, at + 4));
      const expected = tokens.slice(at, at + 4).map((token) => single([token])[0]);
      rows.forEach((row, index) =>
        row.forEach((value, column) =>
          expect(Math.abs(value - (expected[index]?.[column] ?? NaN))).toBeLessThan(1e-4),
        ),
      );
    }
  });

  it.each([
    ["float16", 0.003],
    ["int8", 0.03],
    ["palette4", 1],
  ] as const)("goes through a Core ML package as %s", (type, allowed) => {
    const path = join(FAMILIES, "llama-biases");
    const output = join(folder, `llama-${type}.mlpackage`);
    const report = exportPackage(path, output, { type, cacheLength: 32 });
    expect(report).toMatchObject({ cacheLength: 32, rowCount: 1, states: 4 });
    const opened = openPackage(output);
    const [main] = withWeights(opened.program, opened.weights).functions;
    if (main === undefined) throw new Error("no function");
    expect(main.inputs.map(({ name, type: of }) => `${name} ${of.kind}`)).toEqual([
      "tokens tensor",
      "position tensor",
      "key_cache_0 state",
      "value_cache_0 state",
      "key_cache_1 state",
      "value_cache_1 state",
    ]);
    const ops = new Set(main.operations.map((operation) => operation.type));
    expect(ops.has("constexpr_blockwise_shift_scale")).toBe(type === "int8");
    expect(ops.has("constexpr_lut_to_dense")).toBe(type === "palette4");
    expect(ops.has("write_state")).toBe(true);
    const { ids, logits } = JSON.parse(readFileSync(join(path, "expected.json"), "utf8")) as {
      ids: number[];
      logits: number[][];
    };
    const run = runner(main, 1);
    // Root mean square of the error over that of the logits; rows of 16 numbers are little for a palette.
    let [error, size] = [0, 0];
    for (const [row, id] of ids.entries()) {
      const actual = run([id])[0];
      logits[row]?.forEach((value, column) => {
        error += (value - (actual?.[column] ?? NaN)) ** 2;
        size += value ** 2;
      });
    }
    expect(Math.sqrt(error / size)).toBeLessThan(allowed);
    opened.close();
  });

  it("ends where the first context of dynamic rope scaling does", () => {
    const from = withFirstContext("llama-rope-dynamic", 16);
    const to = join(folder, "dynamic.mlpackage");
    expect(exportPackage(from, to, {}).cacheLength).toBe(16);
    expect(() => exportPackage(from, to, { cacheLength: 17, overwrite: true })).toThrow(
      /17 positions do not fit a context of 16; behind it \(the configuration's context is 80\) dynamic rope scaling/,
    );
  });

  it("is smaller as int8, and smaller still with palettes", () => {
    const size = (type: "float16" | "int8" | "palette4"): number => {
      const from = join(FAMILIES, "gemma3");
      return exportPackage(from, join(folder, `size-${type}.mlpackage`), { type }).byteLength;
    };
    const [whole, int8, palette] = [size("float16"), size("int8"), size("palette4")];
    expect(int8).toBeLessThan(whole);
    expect(palette).toBeLessThan(int8);
  });

  it("is a command", async () => {
    const to = join(folder, "cli.mlpackage");
    const from = join(FAMILIES, "qwen3");
    const args = ["convert", from, to, "--stateful", "--max-seq-length", "64", "--dtype", "int8"];
    const { code, stdout } = await runCli([...args, "--json"]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ to: "mlpackage", dtype: "int8", cache_length: 64 });
    const refused = await runCli(["convert", from, join(folder, "x.onnx"), "--stateful"]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain("--stateful is for .mlpackage");
    const long = await runCli([...args.slice(0, 4), "--max-seq-length", "9999", "--overwrite"]);
    expect(long.stderr).toContain("do not fit a context of 128");
  });
});

function normalNumbers(count: number): Float32Array {
  const random = new Random(1);
  return Float32Array.from({ length: count }, () => {
    let sum = 0;
    for (let i = 0; i < 12; i++) sum += random.uint32() / 2 ** 32;
    return sum - 6;
  });
}

describe("a compressed matrix", () => {
  it.each([
    ["float16", 0.0005],
    ["int8", 0.01],
    // The best 16 numbers for a normal distribution leave an error of 0.098.
    ["palette4", 0.105],
  ] as const)("as %s holds its numbers to their type", (type, allowed) => {
    const shape = [32, 128];
    const numbers = normalNumbers(32 * 128);
    const builder = new FunctionBuilder("main");
    const spec = matrixWeight("", "w.weight", [32, 128], { kind: "zeros" });
    const write = packageWeights(type, () => numbers);
    const fn = builder.finish({
      y: builder.op("mul", { x: write(builder, spec, tensorType("fp16", shape)), y: 1 }),
    });
    const held = evaluateFunction(fn, new Map()).get("y")?.data ?? new Float64Array();
    let [error, size] = [0, 0];
    numbers.forEach((number, index) => {
      error += (number - (held[index] ?? NaN)) ** 2;
      size += number ** 2;
    });
    expect(Math.sqrt(error / size)).toBeLessThan(allowed);
  });

  it("beyond fp16 is refused by name", () => {
    const spec = matrixWeight("", "w.weight", [1, 1], { kind: "zeros" });
    const write = packageWeights("int8", () => Float32Array.of(1e6));
    expect(() => write(new FunctionBuilder("f"), spec, tensorType("fp16", [1, 1]))).toThrow(
      /"w.weight" has 1000000, fp16 ends at 65504/,
    );
  });
});

describe("a palette", () => {
  it("lies nearer to normal numbers than even steps do", () => {
    const numbers = normalNumbers(4_096);
    const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
    const even = Float32Array.from({ length: 16 }, (_, i) => low + ((high - low) * i) / 15);
    const error = (palette: Float32Array): number =>
      numbers.reduce(
        (sum, number) => sum + Math.min(...palette.map((entry) => (entry - number) ** 2)),
        0,
      );
    expect(error(paletteOf(numbers))).toBeLessThan(0.6 * error(even));
    expect([...paletteOf(new Float32Array(8).fill(3))]).toEqual(
      Array.from({ length: 16 }, () => 3),
    );
  });
});
