import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createEngine } from "../../src/engine/create.ts";
import type { Engine, LoadedPlan } from "../../src/engine/engine.ts";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { bucketFor, cacheBuckets } from "../../src/generate/decode-plan.ts";
import { Decoder } from "../../src/generate/decoder.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";
import type { HostTensor } from "../../src/mil/host-tensor.ts";
import type { MilFunction } from "../../src/mil/program.ts";
import { elementCount } from "../../src/mil/types.ts";
import { cachedContextLength, modelOf, parseModelConfig } from "../../src/model/index.ts";
import type { Model, StageInstance } from "../../src/model/index.ts";
import { Random } from "../../src/util/random.ts";
import { FAMILY_JSON } from "../model/configs.ts";
import { freshWeights } from "./fresh-weights.ts";

/** Logits [S, V] of a full forward: the training stages, without any cache. */
function fullForward(model: Model, weights: LoadedPlan, tokens: readonly number[]): Float64Array[] {
  const { config, functions } = model;
  const S = tokens.length;
  const run = (
    fn: MilFunction,
    stage: StageInstance,
    given: Readonly<Record<string, ArrayLike<number>>>,
  ): HostTensor => {
    const names = new Map(stage.weights.map(({ parameter, name }) => [parameter, name]));
    const inputs = new Map<string, HostTensor>();
    for (const { name, type } of fn.inputs) {
      if (type.kind !== "tensor") throw new Error("tensors only");
      const shape = type.shape.map(Number);
      const source = given[name] ?? weights.view(names.get(name) ?? name);
      const data = Float64Array.from({ length: elementCount(shape) }, (_, i) => source[i] ?? NaN);
      inputs.set(name, hostTensor(type.dataType, shape, data));
    }
    const [result] = evaluateFunction(fn, inputs).values();
    if (result === undefined) throw new Error("no result");
    return result;
  };
  const sizes = { batchSize: 1, sequenceLength: S, dataType: "fp32" } as const;
  let hidden = run(functions.embed(sizes), model.parameters.embed, { tokens }).data;
  for (const stage of model.parameters.blocks) {
    const block = functions.block({ ...sizes, variant: stage.variant });
    hidden = run(block, stage, { hidden }).data;
  }
  const logits = functions.logits({ rowCount: 1, dataType: "fp32" });
  const C = config.channelCount;
  return tokens.map(
    (_, row) =>
      run(logits, model.parameters.head, {
        hidden: hidden.subarray(row * C, (row + 1) * C),
        row: [0],
      }).data,
  );
}

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 0; i < b.length; i++)
    largest = Math.max(largest, Math.abs((a[i] ?? NaN) - (b[i] ?? NaN)));
  return largest;
}

describe.each(["reference", "cpu"])("decoding with a cache on the %s engine", (engineName) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await createEngine(engineName, { threads: 1 });
  });
  afterAll(() => engine.close());

  it.each(FAMILY_JSON)(
    "of $model_type gives the logits of a full forward at every position, across a bucket edge",
    async (json) => {
      const config = parseModelConfig(json);
      const model = modelOf(config);
      const weights = await freshWeights(engine, modelOf(config));
      const random = new Random(1);
      const tokens = Array.from({ length: 70 }, () => random.below(config.vocabularySize));
      const expected = fullForward(model, weights, tokens);
      const decoder = new Decoder({ engine, model, weights, prefillRowCount: 16 });
      const sequence = decoder.sequence();
      // A prompt of three prefill runs (one of them padded), then row by row over the edge at 64.
      const prompt = tokens.slice(0, 41);
      expect(
        largestDifference(await decoder.append(sequence, prompt), expected[40] ?? []),
      ).toBeLessThan(1e-4);
      for (let position = 41; position < tokens.length; position++) {
        const logits = await decoder.append(sequence, tokens.slice(position, position + 1));
        const difference = largestDifference(logits, expected[position] ?? []);
        expect(difference, `position ${position}`).toBeLessThan(1e-4);
      }
      expect(sequence.length).toBe(70);
      // Forgetting rows and saying them again changes nothing.
      sequence.truncate(50);
      const again = await decoder.append(sequence, tokens.slice(50, 55));
      expect(largestDifference(again, expected[54] ?? [])).toBeLessThan(1e-4);
      await decoder.close();
      await weights.close();
    },
  );

  it("refuses tokens outside the vocabulary and sequences longer than the context", async () => {
    const config = parseModelConfig({ ...FAMILY_JSON[0], max_position_embeddings: 8 });
    const weights = await freshWeights(engine, modelOf(config));
    const decoder = new Decoder({ engine, model: modelOf(config), weights });
    const sequence = decoder.sequence();
    await expect(decoder.append(sequence, [50])).rejects.toThrow("outside the vocabulary of 50");
    await expect(decoder.append(sequence, [])).rejects.toThrow("at least one token");
    await expect(decoder.append(sequence, [1, 2, 3, 4, 5, 6, 7, 8, 9])).rejects.toThrow(
      "context of 8",
    );
    await decoder.append(sequence, [1, 2, 3, 4, 5, 6, 7, 8]);
    expect(sequence.length).toBe(cachedContextLength(config));
    expect(() => sequence.truncate(9)).toThrow("cannot be cut to 9");
    await decoder.close();
  });

  it("ends a text of dynamic rope scaling where its first context does", async () => {
    const rope_scaling = {
      ...{ rope_type: "dynamic", factor: 2, original_max_position_embeddings: 8 },
    };
    const config = parseModelConfig({ ...FAMILY_JSON[0], rope_scaling });
    const model = modelOf(config);
    const weights = await freshWeights(engine, model);
    const decoder = new Decoder({ engine, model, weights });
    const sequence = decoder.sequence();
    const tokens = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    const [eight, nine] = [
      fullForward(model, weights, tokens.slice(0, 8)),
      fullForward(model, weights, tokens),
    ];
    // The ninth token turns those before it otherwise, so what a cache holds of them would be wrong.
    expect(largestDifference(eight[7] ?? [], nine[7] ?? [])).toBeGreaterThan(1e-4);
    await expect(decoder.append(sequence, tokens)).rejects.toThrow(
      /context of 8; behind it \(the configuration's context is 200\) dynamic rope scaling/,
    );
    const written = await decoder.append(sequence, tokens.slice(0, 8));
    expect(largestDifference(written, eight[7] ?? [])).toBeLessThan(1e-4);
    expect(sequence.length).toBe(cachedContextLength(config));
    await decoder.close();
    await weights.close();
  });

  it("has buckets that double up to the context", () => {
    expect(cacheBuckets(300)).toEqual([64, 128, 256, 300]);
    expect(cacheBuckets(32)).toEqual([32]);
    expect(bucketFor(65, 300)).toBe(128);
    expect(bucketFor(64, 300)).toBe(64);
  });
});

describe("a sequence on an engine whose sums depend on the size of a cache", () => {
  it("is computed the same whatever the decoder did before", async () => {
    const engine = await createEngine("sim:m4", { threads: 1 });
    const config = parseModelConfig({
      ...{
        model_type: "gpt2",
        vocab_size: 50,
        n_embd: 64,
        n_layer: 2,
        n_head: 4,
        n_positions: 128,
      },
    });
    const weights = await freshWeights(engine, modelOf(config));
    const tokens = Array.from({ length: 40 }, (_, index) => (index * index * 7 + 3) % 50);
    const planned = { promptLength: tokens.length, length: tokens.length };
    const logitsOf = async (decoder: Decoder): Promise<Float32Array> =>
      Float32Array.from(await decoder.append(decoder.sequence(planned), tokens));
    const fresh = new Decoder({ engine, model: modelOf(config), weights });
    const expected = await logitsOf(fresh);
    const used = new Decoder({ engine, model: modelOf(config), weights });
    const before = used.sequence();
    await used.append(before, [...tokens, ...tokens]);
    before.release();
    expect(await logitsOf(used)).toEqual(expected);
    // In the larger cache it is not: otherwise nothing was shown.
    const long = used.sequence();
    await used.append(long, [...tokens, ...tokens]);
    long.truncate(0);
    expect(Float32Array.from(await used.append(long, tokens))).not.toEqual(expected);
    for (const decoder of [fresh, used]) await decoder.close();
    await engine.close();
  });
});
