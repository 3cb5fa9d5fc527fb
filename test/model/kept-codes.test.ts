import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { expect, it } from "vitest";
import { elementCount, staticShape } from "../../src/mil/types.ts";
import { biasesName, scalesName } from "../../src/model/plan-weights.ts";
import { loadWeights, modelOf, readModelConfig } from "../../src/model/index.ts";
import type { Model } from "../../src/model/index.ts";
import type { StoredArray } from "../../src/plan/stored-numbers.ts";
import { unpackNumbers } from "../../src/plan/stored-numbers.ts";
import { isGrouped, storedTypes } from "../../src/plan/storage.ts";
import { trainedModel } from "../../src/train/index.ts";
import { METHOD_DEFAULTS } from "../../src/train/config/method-options.ts";
import { run } from "../cli/in-process.ts";
import { temporaryFolder } from "../helpers/cli.ts";

const FIXTURES = fileURLToPath(new URL("../fixtures/weight-files", import.meta.url));

/** All buffers of a model's weights, filled from its file. */
function loaded(folder: string, model: Model): ReadonlyMap<string, StoredArray> {
  const buffers = new Map<string, StoredArray>();
  for (const { name, type, storage } of model.parameters.weights) {
    const { codes, scales, biases } = storedTypes(name, staticShape(type), storage);
    for (const [key, part] of [
      [name, codes],
      [scalesName(name), scales],
      [biasesName(name), biases],
    ] as const) {
      if (part === undefined) continue;
      const size = elementCount(staticShape(part));
      const made = { fp32: Float32Array, uint8: Uint8Array }[part.dataType as "fp32"];
      buffers.set(key, new (made ?? Uint16Array)(size));
    }
  }
  const own = model.parameters.weights.filter(({ name }) => !name.includes(".lora_"));
  loadWeights(folder, model, (name) => buffers.get(name) ?? new Float32Array(), own);
  return buffers;
}

it.each([
  ["llama-q4_0.gguf", "4", { kind: "int4", groupSize: 32, scaleType: "fp16", hasBiases: false }],
  ["llama-q8_0.gguf", "8", { kind: "int8", groupSize: 32, scaleType: "fp16", hasBiases: false }],
  ["mlx-4bit-g32", "4", { kind: "int4", groupSize: 32, hasBiases: true }],
  ["mlx-8bit-g64", "8", { kind: "int8", groupSize: 64, hasBiases: true }],
] as const)("qlora keeps codes and scales of %s as the file has them", (name, bits, storage) => {
  const folder = join(FIXTURES, name);
  const config = readModelConfig(folder);
  const plain = loaded(folder, modelOf(config));
  const settings = { ...METHOD_DEFAULTS, method: "qlora", base_bits: bits, seed: 1 } as const;
  const model = trainedModel(settings, config, folder);
  const packed = loaded(folder, model);
  const kept = model.parameters.weights.filter((weight) => isGrouped(weight.storage));
  expect(kept.length).toBeGreaterThan(6);
  for (const weight of kept) {
    expect(weight.storage).toMatchObject(storage);
    const numbers = new Float32Array(elementCount(staticShape(weight.type)));
    unpackNumbers(
      weight.storage,
      {
        codes: packed.get(weight.name) ?? new Uint8Array(),
        scales: packed.get(scalesName(weight.name)),
        biases: packed.get(biasesName(weight.name)),
      },
      numbers,
    );
    expect(numbers).toEqual(plain.get(weight.name));
  }
});

it("a file of other bits than are asked for is packed anew", () => {
  const folder = join(FIXTURES, "mlx-8bit-g64");
  const config = readModelConfig(folder);
  const settings = { ...METHOD_DEFAULTS, method: "qlora", base_group_size: 16, seed: 1 } as const;
  const model = trainedModel(settings, config, folder);
  const kinds = new Set(model.parameters.weights.map(({ storage }) => storage.kind));
  expect(kinds).toEqual(new Set(["fp32", "int4"]));
});

it("plans, prices and runs hold it in its own groups, whatever is the default of what is packed here", async () => {
  const folder = temporaryFolder();
  const data = join(folder, "rows.jsonl");
  writeFileSync(data, `${JSON.stringify({ prompt: "the hen", completion: " sat" })}\n`.repeat(2));
  const model = ["--model", join(FIXTURES, "llama-q4_0.gguf"), "--method", "qlora"];
  const sizes = ["--batch-size", "1", "--max-seq-length", "8"];
  for (const command of [
    ["plan", ...model, ...sizes],
    ["plan", ...model, ...sizes, "--memory", "16GB"],
    ["plan", ...model, ...sizes, "--machines", "2"],
    ["estimate", ...model, ...sizes],
  ]) {
    const { code, stderr } = await run(...command);
    expect(code, stderr).toBe(0);
  }
  const { code, stderr } = await run(
    ...["finetune", ...model, ...sizes, "--data", data, "--output-dir", join(folder, "run")],
    ...["--engine", "cpu", "--threads", "1", "--max-steps", "1"],
  );
  expect(code, stderr).toBe(0);
});
