import { describe, expect, it } from "vitest";
import { Generator } from "../../src/generate/generator.ts";
import { modelOf, parseModelConfig } from "../../src/model/index.ts";
import { byteTokenizer } from "../../src/text/index.ts";
import { checkTokenizerJson } from "../../src/text/tokenizer-json.ts";
import { runTokenizer } from "../../src/text/tokenizer-runner.ts";
import { generatingWith } from "../helpers/generating.ts";

const { tokenizer } = byteTokenizer();
const json = {
  model_type: "llama",
  vocab_size: tokenizer.vocabularySize,
  hidden_size: 16,
  intermediate_size: 32,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  max_position_embeddings: 96,
  tie_word_embeddings: true,
};
const model = modelOf(parseModelConfig(json));

const made = generatingWith(model, tokenizer, 5);

describe("a generator", () => {
  it("writes the same text for the same seed and another for another", async () => {
    const write = async (seed: number) =>
      (await made().generator.generate("abc", { maxTokens: 20, temperature: 1, seed })).text;
    expect(await write(1)).toBe(await write(1));
    expect(await write(1)).not.toBe(await write(2));
  });

  it("streams exactly the text it returns, in whole characters", async () => {
    let streamed = "";
    const { text, tokenCount } = await made().generator.generate("abc", {
      maxTokens: 40,
      temperature: 1.5,
      seed: 3,
      onText: (piece) => (streamed += piece),
    });
    expect(streamed).toBe(text);
    expect(tokenCount).toBeLessThanOrEqual(40);
  });

  it("ends before a stop string and never shows a part of it", async () => {
    const whole = (
      await made().generator.generate("abc", { maxTokens: 30, temperature: 1, seed: 4 })
    ).text;
    const stop = whole.slice(8, 11);
    let streamed = "";
    const { text, stopReason } = await made().generator.generate("abc", {
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
      ...{ engine: made().engine, model, weights: made().weights },
      tokenizer: runTokenizer(json, {}, "test"),
    });
    const { text } = await spaced.generate("w1 w2", { maxTokens: 3, temperature: 1, seed: 2 });
    await spaced.close();
    expect(text).toMatch(/^( w\d+| <unk>|<unk>){3}$/);
    expect(text).toMatch(/^ w|^<unk>/);
  });

  it("stops where the context ends", async () => {
    const { tokenCount, stopReason } = await made().generator.generate("x".repeat(80), {
      maxTokens: 500,
      temperature: 1,
      seed: 1,
    });
    expect(stopReason).toBe("end of context");
    expect(tokenCount).toBeLessThanOrEqual(16);
  });

  it("writes texts that are asked for at the same time together, each what it is alone", async () => {
    const asked = ["abc", "the cat sat", "x".repeat(70), "", "hello", "zz"].map(
      (prompt, index) => ({
        prompt,
        options: { maxTokens: 10 + index, seed: index },
      }),
    );
    const alone: string[] = [];
    for (const { prompt, options } of asked)
      alone.push((await made().generator.generate(prompt, options)).text);
    const few = new Generator({
      engine: made().engine,
      model,
      tokenizer,
      weights: made().weights,
      maximumTexts: 4,
    });
    const texts = asked.map(({ prompt, options }) => few.generate(prompt, options));
    expect(few.load.running + few.load.waiting).toBe(6);
    expect((await Promise.all(texts)).map(({ text }) => text)).toEqual(alone);
    expect(few.load).toEqual({ running: 0, waiting: 0 });
    await few.close();
  });

  it("rejects a text that is aborted or whose listener throws, and goes on with the others", async () => {
    const abort = new AbortController();
    const other = made().generator.generate("abc", { maxTokens: 12, temperature: 1, seed: 1 });
    const aborted = made().generator.generate("abc", {
      maxTokens: 60,
      temperature: 1,
      signal: abort.signal,
      onText: () => abort.abort(new Error("the client left")),
    });
    const broken = made().generator.generate("abcd", {
      maxTokens: 60,
      onText: () => {
        throw new Error("a broken listener");
      },
    });
    await Promise.all([
      expect(aborted).rejects.toThrow("the client left"),
      expect(broken).rejects.toThrow("a broken listener"),
    ]);
    const { text } = await made().generator.generate("abc", {
      maxTokens: 12,
      temperature: 1,
      seed: 1,
    });
    expect((await other).text).toBe(text);
    await expect(
      made().generator.generate("a", { maxTokens: 1, signal: AbortSignal.abort() }),
    ).rejects.toThrow(/aborted/);
  });

  it("lets timers run while it writes", async () => {
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    for (let turn = 0; turn < 4; turn++)
      await made().generator.generate("abc", { maxTokens: 80, temperature: 1, seed: turn });
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(0);
  });

  it("reads only what is new of a conversation, and writes what it writes without one", async () => {
    const session = made().generator.session();
    const first = await session.generate("the cat sat by", { maxTokens: 8 });
    expect(first).toMatchObject({ reusedTokenCount: 0 });
    const prompt = `the cat sat by${first.text} and`;
    const second = await session.generate(prompt, { maxTokens: 8 });
    expect(second.reusedTokenCount).toBeGreaterThanOrEqual(14);
    expect(second.text).toBe((await made().generator.generate(prompt, { maxTokens: 8 })).text);
    // Another turn taken back: nine letters stay.
    const again = await session.generate("the cat slept", { maxTokens: 8 });
    expect(again.reusedTokenCount).toBe(9);
    expect(again.text).toBe(
      (await made().generator.generate("the cat slept", { maxTokens: 8 })).text,
    );
    const both = [session.generate("a", { maxTokens: 2 }), session.generate("b", { maxTokens: 2 })];
    await expect(Promise.all(both)).rejects.toThrow("a session writes one text at a time");
    await both[0];
  });

  it("keeps beginnings of finished texts for others, within their bytes", async () => {
    const keeping = new Generator({
      engine: made().engine,
      model,
      tokenizer,
      weights: made().weights,
      prefixCacheBytes: 1 << 20,
    });
    const system = "You are a cat. ";
    const plain = await made().generator.generate(`${system}Sit!`, { maxTokens: 6 });
    await keeping.generate(`${system}Sit!`, { maxTokens: 6 });
    const reused = await Promise.all(
      ["Sit!", "Run!", "Eat!"].map((order) =>
        keeping.generate(`${system}${order}`, { maxTokens: 6 }),
      ),
    );
    for (const { reusedTokenCount } of reused)
      expect(reusedTokenCount).toBeGreaterThanOrEqual(system.length);
    expect(reused[0]?.text).toBe(plain.text);
    await keeping.close();
    await expect(keeping.generate("a", { maxTokens: 1 })).rejects.toThrow("was closed");
  });

  it("refuses a prompt that fills the context", async () => {
    await expect(made().generator.generate("x".repeat(200), { maxTokens: 1 })).rejects.toThrow(
      /context ends at 96/,
    );
  });
});

describe("a generator of a model with dynamic rope scaling", () => {
  const rope_scaling = {
    ...{ rope_type: "dynamic", factor: 2, original_max_position_embeddings: 16 },
  };
  const limited = generatingWith(
    modelOf(parseModelConfig({ ...json, rope_scaling })),
    ...([tokenizer, 5] as const),
  );

  it("ends texts at the first context, and says why", async () => {
    const { generator } = limited();
    const options = { maxTokens: 500, temperature: 1, seed: 1 };
    const { promptTokenCount, tokenCount, stopReason } = await generator.generate("abc", options);
    expect(stopReason).toBe("end of context");
    expect(promptTokenCount + tokenCount).toBe(16);
    await expect(generator.generate("x".repeat(20), options)).rejects.toThrow(
      /context ends at 16; behind it \(the configuration's context is 96\) dynamic rope scaling/,
    );
    const slid = await generator.generate("abc", {
      ...{ ...options, maxTokens: 40, contextOverflow: "auto" },
    });
    expect(slid.tokenCount).toBeGreaterThan(16);
  });
});
