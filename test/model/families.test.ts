import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createEngine } from "../../src/engine/create.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { buildWeightsPlan } from "../../src/generate/decode-plan.ts";
import { DecodeSession } from "../../src/generate/decode-session.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";
import { numericLiteral } from "../../src/mil/literal.ts";
import { elementCount, staticShape } from "../../src/mil/types.ts";
import {
  loadWeights,
  modelConfigJson,
  modelOf,
  parseModelConfig,
  readModelConfig,
  wholeForward,
} from "../../src/model/index.ts";
import type { Model } from "../../src/model/index.ts";

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

/** Logits [S, V] of a whole forward pass. */
function forward(
  folder: string,
  model: Model,
  ids: readonly number[],
): readonly (readonly number[])[] {
  const numbers = new Map(
    model.parameters.weights.map(({ name, type }) => [
      name,
      new Float32Array(elementCount(staticShape(type))),
    ]),
  );
  const numbersOf = (name: string): Float32Array => numbers.get(name) ?? new Float32Array();
  loadWeights(folder, model, numbersOf);
  const sizes = { batchSize: 1, sequenceLength: ids.length, dataType: "fp32" } as const;
  const fn = wholeForward(model, sizes, ({ name }, type) =>
    numericLiteral(type, numbersOf(name).subarray(0, elementCount(staticShape(type)))),
  );
  const tokens = hostTensor("int32", [1, ids.length], Float64Array.from(ids));
  const [logits] = evaluateFunction(fn, new Map([["tokens", tokens]])).values();
  const V = model.config.vocabularySize;
  return ids.map((_, row) => [...(logits?.data.subarray(row * V, (row + 1) * V) ?? [])]);
}

function expectClose(
  actual: readonly (readonly number[])[],
  expected: readonly (readonly number[])[],
): void {
  expect(actual.length).toBe(expected.length);
  const difference = Math.max(
    ...expected.flatMap((row, i) =>
      row.map((value, j) => Math.abs(value - (actual[i]?.[j] ?? NaN))),
    ),
  );
  expect(difference).toBeLessThan(1e-4);
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
    const model = modelOf(readModelConfig(folder));
    expectClose(forward(folder, model, ids), logits);
    if (longIds !== undefined && longLastLogits !== undefined)
      expectClose(forward(folder, model, longIds).slice(-longLastLogits.length), longLastLogits);
  });

  it.each(CASES)("%s keeps its meaning when its configuration is written and read", (name) => {
    const folder = join(FIXTURES, name);
    const { ids, logits } = expectedOf(name);
    const config = readModelConfig(folder);
    const again = parseModelConfig(modelConfigJson(config, "float32"));
    expectClose(forward(folder, modelOf(again), ids), logits);
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
      const session = new DecodeSession({ engine, model, weights });
      const { prompt, greedy } = expectedOf(name);
      const written: number[] = [];
      let next: readonly number[] = prompt;
      for (let count = 0; count < greedy.length; count++) {
        const logits = await session.append(next);
        const best = logits.indexOf(Math.max(...logits));
        written.push(best);
        next = [best];
      }
      expect(written).toEqual(greedy);
      await session.close();
      await weights.close();
    });
  },
);
