import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  cachedContextLength,
  modelConfigJson,
  MODEL_PRESETS,
  modelOf,
  modelPreset,
  parameterCount,
  parseModelConfig,
  readGenerationConfig,
  readModelConfig,
  writeGenerationConfig,
  writeModelConfig,
} from "../../src/model/index.ts";
import { FAMILY_JSON, GEMMA3_JSON, GPT2_JSON, LLAMA_JSON, QWEN3_JSON } from "./configs.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "anecdote-config-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("config.json", () => {
  it.each(FAMILY_JSON)("of $model_type is written back so that it reads the same", (json) => {
    const config = parseModelConfig({
      ...json,
      transformers_version: "4.51.0",
      eos_token_id: [7, 9],
      bos_token_id: 3,
    });
    expect(config.extra).toEqual({ transformers_version: "4.51.0" });
    writeModelConfig(folder, config, "bfloat16");
    expect(readModelConfig(folder)).toEqual(config);
    const written: unknown = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
    expect(written).toMatchObject({ torch_dtype: "bfloat16", transformers_version: "4.51.0" });
  });

  it.each(Object.entries(MODEL_PRESETS))("of preset %s reads back as the preset", (_, config) => {
    expect(parseModelConfig(modelConfigJson(config))).toEqual(config);
  });

  it("gives the presets their published sizes", () => {
    const millions = (name: string): number =>
      Math.round(parameterCount(modelOf(modelPreset(name)).parameters.weights) / 1e5) / 10;
    expect(millions("stories15M")).toBe(15.2);
    expect(millions("gpt2")).toBe(124.4);
    expect(millions("stories110M")).toBe(109.5);
    expect(millions("qwen3-0.6b")).toBe(596);
    expect(millions("microgpt-1.1b")).toBe(1100);
    expect(() => modelPreset("gpt-2")).toThrow('Did you mean "gpt2"?');
  });

  it("takes what Hugging Face leaves out from its defaults", () => {
    expect(parseModelConfig(GPT2_JSON)).toMatchObject({
      tiedHead: true,
      feedForwardSize: 64,
      activation: "gelu_new",
      normEpsilon: 1e-5,
    });
    const { num_key_value_heads: _, ...ungrouped } = LLAMA_JSON;
    expect(parseModelConfig(ungrouped)).toMatchObject({
      keyValueHeadCount: 4,
      headSize: 4,
      ropeTheta: 10_000,
      tiedHead: false,
    });
    expect(parseModelConfig(QWEN3_JSON)).toMatchObject({ headSize: 8, tiedHead: true });
  });

  it("tells how long a text with cached keys may be by every kind of layer", () => {
    const dynamic = { rope_type: "dynamic", factor: 4, original_max_position_embeddings: 20 };
    const yarn = { rope_type: "yarn", factor: 4, original_max_position_embeddings: 20 };
    const lengthOf = (json: object) => cachedContextLength(parseModelConfig(json));
    expect(lengthOf(LLAMA_JSON)).toBe(200);
    expect(lengthOf({ ...LLAMA_JSON, rope_scaling: yarn })).toBe(200);
    expect(lengthOf({ ...LLAMA_JSON, rope_scaling: dynamic })).toBe(20);
    const local = { rope_parameters: { full_attention: yarn, sliding_attention: dynamic } };
    expect(lengthOf({ ...GEMMA3_JSON, ...local })).toBe(20);
  });

  it("reads rope parameters in the old and the new place", () => {
    const scaling = {
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 64,
    };
    const old = {
      ...LLAMA_JSON,
      rope_theta: 5e5,
      rope_scaling: { rope_type: "llama3", ...scaling },
    };
    const moved = {
      ...LLAMA_JSON,
      rope_parameters: { rope_type: "llama3", rope_theta: 5e5, ...scaling },
    };
    const expected = {
      ropeTheta: 5e5,
      ropeScaling: {
        kind: "llama3",
        factor: 8,
        lowFrequencyFactor: 1,
        highFrequencyFactor: 4,
        originalContextLength: 64,
      },
    };
    expect(parseModelConfig(old)).toMatchObject(expected);
    expect(parseModelConfig(moved)).toMatchObject(expected);
  });

  it.each([
    [
      "another family",
      { model_type: "phi3" },
      /"phi3" are not supported; supported are llama, gpt2, qwen3, mistral, qwen2, gemma/,
    ],
    ["a family misspelt", { model_type: "lama" }, /Did you mean "llama"\?/],
    ["no family", {}, /"model_type" is missing/],
    ["no object", [], /a JSON object is needed/],
    [
      "a text for a number",
      { ...LLAMA_JSON, hidden_size: "16" },
      /"hidden_size" must be a number, not "16"/,
    ],
    ["a fraction", { ...LLAMA_JSON, num_hidden_layers: 1.5 }, /"num_hidden_layers"/],
    ["no layers", { ...GPT2_JSON, n_layer: 0 }, /"n_layer"/],
    ["layers without bound", { ...GPT2_JSON, n_layer: 1e7 }, /"n_layer"/],
    ["a missing size", { model_type: "gpt2", vocab_size: 5 }, /"n_embd"/],
    [
      "heads that do not divide",
      { ...GPT2_JSON, n_head: 5 },
      /n_embd 16 is not a multiple of n_head 5/,
    ],
    [
      "groups that do not divide",
      { ...LLAMA_JSON, num_key_value_heads: 3 },
      /num_attention_heads 4 is not a multiple of num_key_value_heads 3/,
    ],
    ["an odd head", { ...LLAMA_JSON, head_dim: 5 }, /even head size, not 5/],
    [
      "an unknown activation",
      { ...GPT2_JSON, activation_function: "tanh" },
      /"tanh" is not supported/,
    ],
    ["a gate of another kind", { ...LLAMA_JSON, hidden_act: "mish" }, /hidden_act "mish"/],
    [
      "a rope scaling it cannot do",
      { ...LLAMA_JSON, rope_scaling: { type: "su", factor: 4 } },
      /"su" is not supported; supported are default, linear, dynamic, llama3 and yarn/,
    ],
    [
      "frequencies of two lengths",
      {
        ...LLAMA_JSON,
        rope_scaling: { type: "longrope", short_factor: [1, 2], long_factor: [1, 4] },
      },
      /"longrope" is supported where short_factor and long_factor are equal/,
    ],
    [
      "a rope scaling without its factor",
      { ...LLAMA_JSON, rope_scaling: { type: "linear" } },
      /"linear" needs "factor"/,
    ],
    [
      "a window that is switched off",
      { ...QWEN3_JSON, layer_types: ["full_attention", "sliding_attention"] },
      /there is no sliding_window in use/,
    ],
    [
      "a kind of layer it cannot do",
      { ...QWEN3_JSON, layer_types: ["full_attention", "chunked_attention"] },
      /layer 1 is of the type "chunked_attention"/,
    ],
    [
      "kinds of too few layers",
      { ...QWEN3_JSON, layer_types: ["full_attention"] },
      /layer_types names 1 layers, num_hidden_layers is 2/,
    ],
    ["half a rotation", { ...LLAMA_JSON, partial_rotary_factor: 0.5 }, /partial_rotary_factor 0.5/],
    ["cross attention", { ...GPT2_JSON, add_cross_attention: true }, /cross attention/],
  ])("is refused with %s", (_, json, message) => {
    expect(() => parseModelConfig(json, "some/config.json")).toThrow(message);
    expect(() => parseModelConfig(json, "some/config.json")).toThrow("some/config.json");
  });

  it("is refused when it is no JSON, naming the file", () => {
    writeFileSync(join(folder, "config.json"), "{");
    expect(() => readModelConfig(folder)).toThrow(/config\.json is not JSON/);
    rmSync(join(folder, "config.json"));
    expect(() => readModelConfig(folder)).toThrow(/config\.json/);
  });
});

describe("generation_config.json", () => {
  const config = parseModelConfig({ ...LLAMA_JSON, bos_token_id: 1, eos_token_id: 2 });

  it("reads back what was written", () => {
    const generation = { beginTokenId: 1, endTokenIds: [2, 5], temperature: 0.7, topK: 20 };
    writeGenerationConfig(folder, generation);
    expect(readGenerationConfig(folder, config)).toEqual(generation);
  });

  it("falls back to the model's tokens, and refuses nonsense", () => {
    rmSync(join(folder, "generation_config.json"), { force: true });
    expect(readGenerationConfig(folder, config)).toEqual({ beginTokenId: 1, endTokenIds: [2] });
    writeFileSync(join(folder, "generation_config.json"), '{"top_p": 3}');
    expect(() => readGenerationConfig(folder, config)).toThrow(/"top_p"/);
  });
});
