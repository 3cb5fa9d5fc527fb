import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { elementCount, staticShape } from "../../src/mil/types.ts";
import {
  modelOf,
  parseModelConfig,
  readGenerationConfig,
  readModelConfig,
  saveWeights,
} from "../../src/model/index.ts";
import { exportModel } from "../../src/runs/export-model.ts";
import { loadTokenizer } from "../../src/text/index.ts";
import { temporaryFolder } from "../helpers/cli.ts";

/** What a published checkpoint of a family says of itself, as its files have it; written out by hand. */
interface Published {
  readonly config: Readonly<Record<string, unknown>>;
  readonly generation: Readonly<Record<string, unknown>>;
  readonly tokenizer: Readonly<Record<string, unknown>>;
  /** Special tokens that the files name, with their ids. */
  readonly tokens: Readonly<Record<string, number>>;
  /** Ids by role, where the tokenizer has one. */
  readonly special: Readonly<Record<string, number>>;
}

const SENTENCE_PIECE = {
  tokens: { "<unk>": 0, "<s>": 1, "</s>": 2 },
  special: { beginOfText: 1, endOfText: 2, unknown: 0 },
};
const QWEN = {
  tokenizer: {
    ...{ tokenizer_class: "Qwen2Tokenizer", add_bos_token: false, bos_token: null },
    ...{ eos_token: "<|im_end|>", pad_token: "<|endoftext|>", unk_token: null },
  },
  tokens: { "<|endoftext|>": 151_643, "<|im_start|>": 151_644, "<|im_end|>": 151_645 },
  special: { endOfText: 151_645, padding: 151_643 },
};
const GEMMA = {
  tokenizer: {
    ...{ tokenizer_class: "GemmaTokenizer", add_bos_token: true, add_eos_token: false },
    ...{ bos_token: "<bos>", eos_token: "<eos>", pad_token: "<pad>", unk_token: "<unk>" },
  },
  special: { beginOfText: 2, endOfText: 1, padding: 0, unknown: 3 },
};
const GEMMA_TOKENS = { "<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3 };

/** `AddedToken`s of older files are objects. */
function written(content: string): object {
  return {
    ...{ __type: "AddedToken", content, lstrip: false },
    ...{ normalized: true, rstrip: false, single_word: false },
  };
}

const PUBLISHED: readonly (readonly [string, Published])[] = [
  [
    "llama",
    {
      config: {
        ...{ architectures: ["LlamaForCausalLM"], model_type: "llama", torch_dtype: "float16" },
        ...{ vocab_size: 32_000, bos_token_id: 1, eos_token_id: 2, tie_word_embeddings: false },
      },
      generation: {
        ...{ bos_token_id: 1, eos_token_id: 2, pad_token_id: 0 },
        ...{ do_sample: true, temperature: 0.6, top_p: 0.9, max_length: 4096 },
      },
      tokenizer: {
        ...{ tokenizer_class: "LlamaTokenizer", add_bos_token: true, add_eos_token: false },
        ...{ bos_token: written("<s>"), eos_token: written("</s>"), pad_token: null },
        unk_token: written("<unk>"),
      },
      ...SENTENCE_PIECE,
    },
  ],
  [
    "mistral",
    {
      config: {
        architectures: ["MistralForCausalLM"],
        ...{ model_type: "mistral", torch_dtype: "bfloat16", vocab_size: 32_000 },
        ...{ bos_token_id: 1, eos_token_id: 2, tie_word_embeddings: false },
      },
      generation: { bos_token_id: 1, eos_token_id: 2 },
      tokenizer: {
        ...{ tokenizer_class: "LlamaTokenizer", add_bos_token: true, add_eos_token: false },
        ...{ bos_token: "<s>", eos_token: "</s>", pad_token: null, unk_token: "<unk>" },
      },
      ...SENTENCE_PIECE,
    },
  ],
  [
    "qwen2",
    {
      config: {
        ...{ architectures: ["Qwen2ForCausalLM"], model_type: "qwen2", torch_dtype: "bfloat16" },
        ...{ vocab_size: 151_936, bos_token_id: 151_643, eos_token_id: 151_645 },
        tie_word_embeddings: true,
      },
      generation: {
        ...{ bos_token_id: 151_643, eos_token_id: [151_645, 151_643], pad_token_id: 151_643 },
        ...{ do_sample: true, temperature: 0.7, top_p: 0.8, top_k: 20, repetition_penalty: 1.1 },
      },
      ...QWEN,
    },
  ],
  [
    "qwen3",
    {
      config: {
        ...{ architectures: ["Qwen3ForCausalLM"], model_type: "qwen3", torch_dtype: "bfloat16" },
        ...{ vocab_size: 151_936, bos_token_id: 151_643, eos_token_id: 151_645 },
        tie_word_embeddings: true,
      },
      generation: {
        ...{ bos_token_id: 151_643, eos_token_id: [151_645, 151_643], pad_token_id: 151_643 },
        ...{ do_sample: true, temperature: 0.6, top_p: 0.95, top_k: 20 },
      },
      ...QWEN,
    },
  ],
  [
    "gemma",
    {
      config: {
        ...{ architectures: ["GemmaForCausalLM"], model_type: "gemma", torch_dtype: "bfloat16" },
        ...{ vocab_size: 256_000, bos_token_id: 2, eos_token_id: 1, pad_token_id: 0 },
      },
      generation: { bos_token_id: 2, eos_token_id: 1, pad_token_id: 0 },
      ...{ ...GEMMA, tokens: { ...GEMMA_TOKENS, "<end_of_turn>": 107 } },
    },
  ],
  [
    "gemma2",
    {
      config: {
        ...{ architectures: ["Gemma2ForCausalLM"], model_type: "gemma2", torch_dtype: "bfloat16" },
        ...{ vocab_size: 256_000, bos_token_id: 2, eos_token_id: [1, 107], pad_token_id: 0 },
      },
      generation: {
        ...{ bos_token_id: 2, eos_token_id: [1, 107], pad_token_id: 0 },
        cache_implementation: "hybrid",
      },
      ...{ ...GEMMA, tokens: { ...GEMMA_TOKENS, "<end_of_turn>": 107 } },
    },
  ],
  [
    "gemma3_text",
    {
      config: {
        architectures: ["Gemma3ForCausalLM"],
        ...{ model_type: "gemma3_text", torch_dtype: "bfloat16", vocab_size: 262_144 },
        ...{ bos_token_id: 2, eos_token_id: [1, 106], pad_token_id: 0 },
      },
      generation: {
        ...{ bos_token_id: 2, eos_token_id: [1, 106], pad_token_id: 0 },
        ...{ cache_implementation: "hybrid", do_sample: true, top_k: 64, top_p: 0.95 },
      },
      ...{ ...GEMMA, tokens: { ...GEMMA_TOKENS, "<end_of_turn>": 106 } },
    },
  ],
  [
    "gpt2",
    {
      config: {
        architectures: ["GPT2LMHeadModel"],
        ...{ model_type: "gpt2", torch_dtype: "float32", vocab_size: 50_257 },
        ...{ bos_token_id: 50_256, eos_token_id: 50_256 },
      },
      generation: { bos_token_id: 50_256, eos_token_id: 50_256, _from_model_config: true },
      tokenizer: {
        ...{ tokenizer_class: "GPT2Tokenizer", model_max_length: 1024 },
        ...{ bos_token: "<|endoftext|>", eos_token: "<|endoftext|>", unk_token: "<|endoftext|>" },
      },
      tokens: { "<|endoftext|>": 50_256 },
      special: { beginOfText: 50_256, endOfText: 50_256, unknown: 50_256 },
    },
  ],
];

/** Sizes as small as they can be beside a published vocabulary. */
const SIZES = {
  ...{ hidden_size: 2, intermediate_size: 2, num_hidden_layers: 1, num_attention_heads: 1 },
  ...{ num_key_value_heads: 1, head_dim: 2, max_position_embeddings: 16, rms_norm_eps: 1e-6 },
};
const GPT2_SIZES = { n_embd: 2, n_layer: 1, n_head: 1, n_positions: 16 };

function jsonOf(folder: string, name: string): Record<string, unknown> {
  return JSON.parse(readFileSync(join(folder, name), "utf8")) as Record<string, unknown>;
}

/** A checkpoint with what the published one says of itself, and no more. */
function publishedFolder({ config, generation, tokenizer, tokens }: Published): string {
  const folder = join(temporaryFolder(), "published");
  mkdirSync(folder);
  const write = (name: string, value: object): void =>
    writeFileSync(join(folder, name), JSON.stringify(value));
  const json = { ...(config["model_type"] === "gpt2" ? GPT2_SIZES : SIZES), ...config };
  write("config.json", json);
  write("generation_config.json", generation);
  write("tokenizer_config.json", tokenizer);
  const added_tokens = Object.entries(tokens).map(([content, id]) => ({
    ...{ id, content, special: true, normalized: false },
    ...{ single_word: false, lstrip: false, rstrip: false },
  }));
  write("tokenizer.json", {
    ...{ version: "1.0", truncation: null, padding: null, added_tokens },
    ...{ normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null },
    model: { type: "BPE", vocab: { a: 5 }, merges: [] },
  });
  const { parameters } = modelOf(parseModelConfig(json));
  const sizes = new Map(
    parameters.weights.map(({ name, type }) => [name, elementCount(staticShape(type))]),
  );
  saveWeights(folder, parameters, (name) => new Float32Array(sizes.get(name) ?? 0));
  return folder;
}

describe("a published checkpoint that is exported", () => {
  it.each(PUBLISHED)("as %s says of itself what it said", (_, published) => {
    const folder = publishedFolder(published);
    const output = join(folder, "..", "exported");
    const type = published.config["torch_dtype"] as "float32" | "bfloat16" | "float16";
    exportModel(folder, output, { type });
    const config = jsonOf(output, "config.json");
    expect(config).toMatchObject(published.config);
    // A newer name of the type would win over the one that is written.
    expect(config["dtype"] ?? type).toBe(type);
    expect(jsonOf(output, "generation_config.json")).toEqual(published.generation);
    expect(jsonOf(output, "tokenizer_config.json")).toEqual(published.tokenizer);
    // What is read back means the same ids.
    const { tokenizer } = loadTokenizer(output);
    expect(tokenizer.special).toEqual(published.special);
    for (const [token, id] of Object.entries(published.tokens))
      expect(tokenizer.tokenOf(id)).toBe(token);
    const read = readGenerationConfig(output, readModelConfig(output));
    expect(read.endTokenIds).toEqual([published.generation["eos_token_id"]].flat());
    expect(read.beginTokenId).toBe(published.generation["bos_token_id"]);
  });

  it("in another type names that type under one name", () => {
    const [, qwen] = PUBLISHED[2] ?? [];
    if (qwen === undefined) throw new Error("there is no such family");
    const { torch_dtype: dtype, ...others } = qwen.config;
    const folder = publishedFolder({ ...qwen, config: { ...others, dtype } });
    const output = join(folder, "..", "exported");
    exportModel(folder, output, { type: "float16" });
    const config = jsonOf(output, "config.json");
    expect([config["torch_dtype"], config["dtype"]]).toEqual(["float16", undefined]);
  });
});
