import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  initialiseWeight,
  modelOf,
  parseModelConfig,
  saveWeights,
  writeModelConfig,
} from "../../src/model/index.ts";
import { elementCount, staticShape } from "../../src/mil/types.ts";
import { openSafetensors } from "../../src/model/safetensors.ts";
import { exportModel } from "../../src/runs/export-model.ts";
import { openFileSource } from "../../src/util/byte-source.ts";
import { float32ToFloat16 } from "../../src/util/float16.ts";
import { run } from "../cli/in-process.ts";
import { temporaryFolder } from "../helpers/cli.ts";

const CONFIG = parseModelConfig({
  ...{ model_type: "gpt2", vocab_size: 19, n_embd: 8, n_layer: 1, n_head: 2, n_positions: 16 },
});

/** A model folder, with a number too large for float16 where wanted. */
function modelFolder(largest?: number): {
  readonly folder: string;
  readonly weights: ReadonlyMap<string, Float32Array>;
} {
  const folder = join(temporaryFolder(), "model");
  const model = modelOf(CONFIG);
  const weights = new Map<string, Float32Array>();
  for (const weight of model.parameters.weights) {
    const numbers = new Float32Array(elementCount(staticShape(weight.type)));
    initialiseWeight(weight, 3, numbers);
    // Ties and neighbours of bfloat16, subnormals and zeros of both signs.
    numbers.set([1.00390625, 1.01171875, -1.00390637, 1e-40, -0, 3.0e38].slice(0, numbers.length));
    if (largest === undefined) numbers[5] = 1000.5;
    weights.set(weight.name, numbers);
  }
  mkdirSync(folder);
  saveWeights(folder, model.parameters, (name) => weights.get(name) ?? new Float32Array(0));
  writeModelConfig(folder, CONFIG);
  return { folder, weights };
}

/** To the nearest bfloat16, ties to even, by integers alone. */
function bfloat16Bits(numbers: Float32Array): Uint16Array {
  const bits = new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length);
  return Uint16Array.from(bits, (word) => (word + 0x7fff + ((word >>> 16) & 1)) >>> 16);
}

function storedIn(folder: string): ReadonlyMap<string, { type: string; bytes: Uint8Array }> {
  const source = openFileSource(join(folder, "model.safetensors"));
  const { entries } = openSafetensors(source);
  const stored = new Map(
    [...entries].map(([name, { dataType, offset, byteLength }]) => [
      name,
      { type: dataType, bytes: Uint8Array.from(source.read(offset, byteLength)) },
    ]),
  );
  source.close();
  return stored;
}

describe("a model that is exported", () => {
  it.each([
    ["bfloat16", "BF16", 2],
    ["float16", "F16", 2],
    ["float32", "F32", 4],
  ] as const)("as %s has each weight rounded to the nearest, and says so", (type, name, size) => {
    const { folder, weights } = modelFolder();
    const output = join(folder, "..", type);
    const { parameterCount, byteLength } = exportModel(folder, output, { type });
    expect(byteLength).toBeGreaterThan(parameterCount * size);
    expect(byteLength).toBeLessThan(parameterCount * size + 4000);
    const config = JSON.parse(readFileSync(join(output, "config.json"), "utf8")) as object;
    expect(config).toMatchObject({ torch_dtype: type });
    const stored = storedIn(output);
    expect(stored.size).toBeGreaterThan(8);
    const found = [...stored.values()];
    for (const { type: storedType } of found) expect(storedType).toBe(name);
    // Names and layouts are Hugging Face's: each weight stands there under some name.
    for (const numbers of weights.values()) {
      const wanted = bytesOf(type, numbers);
      const isThere = found.some(({ bytes }) => Buffer.from(bytes).equals(Buffer.from(wanted)));
      expect(isThere).toBe(true);
    }
  });

  it("as bfloat16 again stays as it is, byte for byte, and is a model like any other", async () => {
    const { folder } = modelFolder();
    const [once, twice] = [join(folder, "..", "once"), join(folder, "..", "twice")];
    exportModel(folder, once, { type: "bfloat16" });
    exportModel(once, twice, { type: "bfloat16" });
    for (const file of ["model.safetensors", "config.json"]) {
      expect(readFileSync(join(twice, file)).equals(readFileSync(join(once, file)))).toBe(true);
    }
    const { code, stdout } = await run("inspect", twice);
    expect(code).toBe(0);
    expect(stdout).toMatch(/bf16|BF16|bfloat16/);
  });

  it("is refused for numbers that float16 does not have, and leaves no model behind", () => {
    const { folder } = modelFolder(3e38);
    const output = join(folder, "..", "half");
    expect(() => exportModel(folder, output, { type: "float16" })).toThrow(/float16 ends at 65504/);
    expect(() => readFileSync(join(output, "config.json"))).toThrow();
    expect(exportModel(folder, output, { type: "bfloat16", overwrite: true }).type).toBe(
      "bfloat16",
    );
  });

  it("neither overwrites what stands there nor itself, unless told to", async () => {
    const { folder } = modelFolder();
    const output = join(folder, "..", "full");
    mkdirSync(output);
    writeFileSync(join(output, "notes.txt"), "mine");
    const flags = ["export", "--model", folder, "--output", output, "--dtype", "bfloat16"];
    const refused = await run(...flags);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toMatch(/is not empty\n.*--overwrite/);
    const { code, stdout } = await run(...flags, "--overwrite", "--json");
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ output, dtype: "bfloat16" });
    expect(readFileSync(join(output, "notes.txt"), "utf8")).toBe("mine");
    const itself = await run("export", "--model", folder, "--output", folder);
    expect(itself.stderr).toContain("is the model that is exported");
    const wrong = await run("export", "--model", folder, "--output", output, "--dtype", "bf16");
    expect(wrong.stderr).toMatch(/float32, bfloat16 or float16|bfloat16/);
    expect(wrong.code).toBe(2);
  });
});

function bytesOf(type: "float32" | "bfloat16" | "float16", numbers: Float32Array): Uint8Array {
  switch (type) {
    case "float32":
      return new Uint8Array(numbers.buffer.slice(0));
    case "bfloat16":
      return new Uint8Array(bfloat16Bits(numbers).buffer);
    case "float16": {
      const bits = new Uint16Array(numbers.length);
      float32ToFloat16(numbers, bits);
      return new Uint8Array(bits.buffer);
    }
  }
}
