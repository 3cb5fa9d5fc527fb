import { describe, expect, it } from "vitest";
import { Generator } from "../../src/generate/generator.ts";
import { modelOf, parseModelConfig } from "../../src/model/index.ts";
import { checkTokenizerJson } from "../../src/text/tokenizer-json.ts";
import { runTokenizer } from "../../src/text/tokenizer-runner.ts";
import { generatingWith } from "../helpers/generating.ts";

/** A token a letter, and none that ends a text or is not shown. */
const LETTERS = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ".split("");
const tokenizer = runTokenizer(
  checkTokenizerJson(
    {
      model: {
        type: "BPE",
        vocab: Object.fromEntries(LETTERS.map((letter, id) => [letter, id])),
        merges: [],
      },
      decoder: { type: "Fuse" },
    },
    "test",
  ),
  {},
  "test",
);
const CONTEXT = 24;
const shared = { vocab_size: tokenizer.vocabularySize, initializer_range: 0.4 };
const FAMILIES = {
  gpt2: { ...shared, model_type: "gpt2", n_embd: 16, n_layer: 2, n_head: 2, n_positions: CONTEXT },
  llama: {
    ...shared,
    ...{ model_type: "llama", hidden_size: 16, intermediate_size: 32, num_hidden_layers: 2 },
    ...{ num_attention_heads: 2, num_key_value_heads: 1, max_position_embeddings: CONTEXT },
    tie_word_embeddings: true,
  },
} as const;

describe.each(["gpt2", "llama"] as const)("a text of %s longer than the context", (family) => {
  const model = modelOf(parseModelConfig(FAMILIES[family]));
  const made = generatingWith(model, tokenizer, 11);

  async function longText(contextOverflow: "slide" | "reread"): Promise<string> {
    const { text, tokenCount } = await made().generator.generate("abc", {
      ...{ maxTokens: 60, temperature: 0.05, seed: 1, contextOverflow, repetitionPenalty: 1.3 },
    });
    expect(tokenCount).toBe(60);
    return text;
  }

  async function nextCharacter(before: string): Promise<string> {
    const tokens = Array.from(tokenizer.encode(before));
    const { text } = await made().generator.continueTokens(tokens, {
      ...{ maxTokens: 1, contextOverflow: "auto" },
    });
    return text;
  }

  it("slides: every token is drawn from the last tokens alone, read afresh", async () => {
    const { text } = await made().generator.generate("abc", {
      ...{ maxTokens: 50, contextOverflow: "slide" },
    });
    const whole = `abc${text}`;
    for (let at = CONTEXT + 1; at < whole.length; at += 5) {
      expect(await nextCharacter(whole.slice(at - CONTEXT, at))).toBe(whole.charAt(at));
    }
    expect((await longText("slide")).length).toBe(60);
  });

  it("reads half of the context again", async () => {
    expect((await longText("reread")).length).toBe(60);
    const { text } = await made().generator.generate("abc", {
      ...{ maxTokens: 50, contextOverflow: "reread" },
    });
    const whole = `abc${text}`;
    // The first token behind a full context is drawn from the half before it.
    const half = CONTEXT / 2;
    const next = await nextCharacter(whole.slice(CONTEXT + 1 - half, CONTEXT + 1));
    expect(next).toBe(whole.charAt(CONTEXT + 1));
  });

  it("reads the end of a prompt that is longer than the context, and says so", async () => {
    const notes: string[] = [];
    const prompt = "abcdefghij".repeat(10);
    const { text } = await made().generator.generate(prompt, {
      ...{ maxTokens: 1, contextOverflow: "slide", onNote: (note) => notes.push(note) },
    });
    expect(text).toBe(await nextCharacter(prompt.slice(-CONTEXT)));
    expect(notes.join()).toContain(`the prompt has 100 tokens`);
  });

  it("takes what the model's own file says of sampling, and its end tokens", async () => {
    const own = new Generator({
      ...{ engine: made().engine, model, tokenizer, weights: made().weights },
      generation: { endTokenIds: Array.from({ length: 40 }, (_, id) => id), temperature: 1 },
    });
    const texts = new Set<string>();
    for (let seed = 0; seed < 8; seed++)
      texts.add((await own.generate("abc", { maxTokens: 8, seed })).text);
    await own.close();
    expect(texts.size).toBeGreaterThan(1);
  });
});
