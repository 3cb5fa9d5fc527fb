import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createEngine } from "../../src/engine/create.ts";
import type { Engine, LoadedPlan } from "../../src/engine/engine.ts";
import { buildWeightsPlan } from "../../src/generate/decode-plan.ts";
import { Generator } from "../../src/generate/generator.ts";
import { initialiseWeights, modelOf, parseModelConfig } from "../../src/model/index.ts";
import { byteTokenizer } from "../../src/text/index.ts";
import { checkTokenizerJson } from "../../src/text/tokenizer-json.ts";
import { runTokenizer } from "../../src/text/tokenizer-runner.ts";

const { tokenizer } = byteTokenizer();
const model = modelOf(
  parseModelConfig({
    model_type: "llama",
    vocab_size: tokenizer.vocabularySize,
    hidden_size: 16,
    intermediate_size: 32,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    max_position_embeddings: 96,
    tie_word_embeddings: true,
  }),
);

let engine: Engine;
let weights: LoadedPlan;
let generator: Generator;
beforeAll(async () => {
  engine = await createEngine("cpu", { threads: 1 });
  weights = await engine.load(buildWeightsPlan(model));
  initialiseWeights(model.parameters.weights, 5, (name) => {
    const view = weights.view(name);
    if (view instanceof Float32Array) return view;
    throw new Error(`${name} is not fp32`);
  });
  generator = new Generator({ engine, model, tokenizer, weights });
});
afterAll(async () => {
  await generator.close();
  await weights.close();
  await engine.close();
});

describe("a generator", () => {
  it("writes the same text for the same seed and another for another", async () => {
    const write = async (seed: number) =>
      (await generator.generate("abc", { maxTokens: 20, temperature: 1, seed })).text;
    expect(await write(1)).toBe(await write(1));
    expect(await write(1)).not.toBe(await write(2));
  });

  it("streams exactly the text it returns, in whole characters", async () => {
    let streamed = "";
    const { text, tokenCount } = await generator.generate("abc", {
      maxTokens: 40,
      temperature: 1.5,
      seed: 3,
      onText: (piece) => (streamed += piece),
    });
    expect(streamed).toBe(text);
    expect(tokenCount).toBeLessThanOrEqual(40);
  });

  it("ends before a stop string and never shows a part of it", async () => {
    const whole = (await generator.generate("abc", { maxTokens: 30, temperature: 1, seed: 4 }))
      .text;
    const stop = whole.slice(8, 11);
    let streamed = "";
    const { text, stopReason } = await generator.generate("abc", {
      maxTokens: 30,
      temperature: 1,
      seed: 4,
      stop: [stop],
      onText: (piece) => (streamed += piece),
    });
    expect(stopReason).toBe("stop string");
    expect(text).toBe(whole.slice(0, whole.indexOf(stop)));
    expect(streamed).toBe(text);
  });

  it("keeps the space between a prompt and its continuation", async () => {
    const words = Array.from({ length: 256 }, (_, index) => `▁w${index}`);
    const json = checkTokenizerJson(
      {
        model: {
          type: "WordLevel",
          vocab: Object.fromEntries(["<unk>", ...words].map((word, id) => [word, id])),
          unk_token: "<unk>",
        },
        pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always" },
        decoder: { type: "Metaspace", replacement: "▁", prepend_scheme: "always" },
      },
      "test",
    );
    const spaced = new Generator({
      ...{ engine, model, weights },
      tokenizer: runTokenizer(json, {}, "test"),
    });
    const { text } = await spaced.generate("w1 w2", { maxTokens: 3, temperature: 1, seed: 2 });
    await spaced.close();
    expect(text).toMatch(/^( w\d+| <unk>|<unk>){3}$/);
    expect(text).toMatch(/^ w|^<unk>/);
  });

  it("stops where the context ends", async () => {
    const { tokenCount, stopReason } = await generator.generate("x".repeat(80), {
      maxTokens: 500,
      temperature: 1,
      seed: 1,
    });
    expect(stopReason).toBe("end of context");
    expect(tokenCount).toBeLessThanOrEqual(16);
  });

  it("refuses a prompt that fills the context", async () => {
    await expect(generator.generate("x".repeat(200), { maxTokens: 1 })).rejects.toThrow(
      /context ends at 96/,
    );
  });
});
