import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createEngine } from "../../src/engine/create.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { buildWeightsPlan } from "../../src/generate/decode-plan.ts";
import { Decoder } from "../../src/generate/decoder.ts";
import {
  loadWeights,
  modelConfigJson,
  modelOf,
  parseModelConfig,
  readModelConfig,
} from "../../src/model/index.ts";
import { expectCloseRows, forwardLogits } from "./forward-logits.ts";

/** What test/fixtures/family_oracle.py says, in NumPy, of small models with every switch of their family. */
const FIXTURES = fileURLToPath(new URL("../fixtures/families", import.meta.url));
const CASES = readdirSync(FIXTURES).toSorted();

interface Expected {
  readonly ids: readonly number[];
  readonly logits: readonly (readonly number[])[];
  readonly prompt: readonly number[];
  readonly greedy: readonly number[];
  readonly longIds?: readonly number[];
  readonly longLastLogits?: readonly (readonly number[])[];
}

function expectedOf(name: string): Expected {
  return JSON.parse(readFileSync(join(FIXTURES, name, "expected.json"), "utf8")) as Expected;
}

describe("every family against an independent implementation", () => {
  it("has a fixture for each", () => {
    const types = new Set(CASES.map((name) => readModelConfig(join(FIXTURES, name)).family));
    expect(types).toEqual(
      new Set(["gemma", "gemma2", "gemma3_text", "gpt2", "llama", "mistral", "qwen2", "qwen3"]),
    );
  });

  it.each(CASES)("%s gives its logits to 1e-4", (name) => {
    const folder = join(FIXTURES, name);
    const { ids, logits, longIds, longLastLogits } = expectedOf(name);
    expectCloseRows(forwardLogits(folder, ids), logits);
    if (longIds !== undefined && longLastLogits !== undefined)
      expectCloseRows(forwardLogits(folder, longIds).slice(-longLastLogits.length), longLastLogits);
  });

  it.each(CASES)("%s keeps its meaning when its configuration is written and read", (name) => {
    const folder = join(FIXTURES, name);
    const { ids, logits } = expectedOf(name);
    const config = readModelConfig(folder);
    const again = parseModelConfig(modelConfigJson(config, "float32"));
    expectCloseRows(forwardLogits(folder, ids, modelOf(again)), logits);
    expect(parseModelConfig(modelConfigJson(again))).toEqual(again);
  });
});

describe.each(["reference", "cpu"])(
  "greedy texts of every family on the %s engine",
  (engineName) => {
    let engine: Engine;
    beforeAll(async () => {
      engine = await createEngine(engineName, { threads: 1 });
    });
    afterAll(() => engine.close());

    it.each(CASES)("%s writes the same 64 tokens with its cache", async (name) => {
      const folder = join(FIXTURES, name);
      const model = modelOf(readModelConfig(folder));
      const weights = await engine.load(buildWeightsPlan(model));
      loadWeights(folder, model, (weight) => weights.view(weight) as Float32Array);
      const decoder = new Decoder({ engine, model, weights });
      const sequence = decoder.sequence();
      const { prompt, greedy } = expectedOf(name);
      const written: number[] = [];
      let next: readonly number[] = prompt;
      for (let count = 0; count < greedy.length; count++) {
        const logits = await decoder.append(sequence, next);
        const best = logits.indexOf(Math.max(...logits));
        written.push(best);
        next = [best];
      }
      expect(written).toEqual(greedy);
      await decoder.close();
      await weights.close();
    });
  },
);
