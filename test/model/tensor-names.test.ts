import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { elementCount, staticShape } from "../../src/mil/types.ts";
import {
  modelOf,
  openSafetensors,
  parseModelConfig,
  saveWeights,
  writeModelConfig,
  writeSafetensors,
} from "../../src/model/index.ts";
import { exportModel } from "../../src/runs/export-model.ts";
import { openFileSource } from "../../src/util/byte-source.ts";
import { temporaryFolder } from "../helpers/cli.ts";

// Names and shapes as the families' published checkpoints have them, written out by hand.
const SIZES = {
  ...{ vocab_size: 50, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 1 },
  ...{ num_attention_heads: 4, num_key_value_heads: 2, max_position_embeddings: 32 },
};
const HEAD = { head_dim: 8, rms_norm_eps: 1e-6 };
const OUTSIDE = { "model.embed_tokens.weight": [50, 16], "model.norm.weight": [16] };
const UNTIED = { "lm_head.weight": [50, 16] };

function layer(parts: Readonly<Record<string, readonly number[]>>) {
  return Object.fromEntries(
    Object.entries(parts).map(([name, shape]) => [`model.layers.0.${name}`, shape]),
  );
}

function projections(size: number) {
  return {
    "self_attn.q_proj.weight": [4 * size, 16],
    "self_attn.k_proj.weight": [2 * size, 16],
    "self_attn.v_proj.weight": [2 * size, 16],
    "self_attn.o_proj.weight": [16, 4 * size],
    "mlp.gate_proj.weight": [24, 16],
    "mlp.up_proj.weight": [24, 16],
    "mlp.down_proj.weight": [16, 24],
    "input_layernorm.weight": [16],
    "post_attention_layernorm.weight": [16],
  };
}

const BIASES = {
  "self_attn.q_proj.bias": [16],
  "self_attn.k_proj.bias": [8],
  "self_attn.v_proj.bias": [8],
};
const HEAD_NORMS = { "self_attn.q_norm.weight": [8], "self_attn.k_norm.weight": [8] };
const NORMS_BEHIND = {
  "pre_feedforward_layernorm.weight": [16],
  "post_feedforward_layernorm.weight": [16],
};

const CASES: readonly (readonly [string, object, Readonly<Record<string, readonly number[]>>])[] = [
  ["llama", SIZES, { ...OUTSIDE, ...UNTIED, ...layer(projections(4)) }],
  ["mistral", SIZES, { ...OUTSIDE, ...UNTIED, ...layer(projections(4)) }],
  ["qwen2", SIZES, { ...OUTSIDE, ...UNTIED, ...layer({ ...projections(4), ...BIASES }) }],
  [
    "qwen3",
    { ...SIZES, ...HEAD },
    { ...OUTSIDE, ...UNTIED, ...layer({ ...projections(8), ...HEAD_NORMS }) },
  ],
  ["gemma", { ...SIZES, ...HEAD }, { ...OUTSIDE, ...layer(projections(8)) }],
  [
    "gemma2",
    { ...SIZES, ...HEAD },
    { ...OUTSIDE, ...layer({ ...projections(8), ...NORMS_BEHIND }) },
  ],
  [
    "gemma3_text",
    { ...SIZES, ...HEAD },
    { ...OUTSIDE, ...layer({ ...projections(8), ...NORMS_BEHIND, ...HEAD_NORMS }) },
  ],
  [
    "gpt2",
    { vocab_size: 50, n_embd: 16, n_layer: 1, n_head: 4, n_positions: 32 },
    {
      "transformer.wte.weight": [50, 16],
      "transformer.wpe.weight": [32, 16],
      "transformer.h.0.ln_1.weight": [16],
      "transformer.h.0.ln_1.bias": [16],
      "transformer.h.0.attn.c_attn.weight": [16, 48],
      "transformer.h.0.attn.c_attn.bias": [48],
      "transformer.h.0.attn.c_proj.weight": [16, 16],
      "transformer.h.0.attn.c_proj.bias": [16],
      "transformer.h.0.ln_2.weight": [16],
      "transformer.h.0.ln_2.bias": [16],
      "transformer.h.0.mlp.c_fc.weight": [16, 64],
      "transformer.h.0.mlp.c_fc.bias": [64],
      "transformer.h.0.mlp.c_proj.weight": [64, 16],
      "transformer.h.0.mlp.c_proj.bias": [16],
      "transformer.ln_f.weight": [16],
      "transformer.ln_f.bias": [16],
    },
  ],
];

describe("a family's tensors", () => {
  it.each(CASES)("%s has the published names and shapes", (model_type, config, expected) => {
    const { weights } = modelOf(parseModelConfig({ model_type, ...config })).parameters;
    const found = Object.fromEntries(weights.map(({ name, type }) => [name, type.shape]));
    expect(found).toEqual(expected);
  });

  it.each(CASES)("%s has no others once an adapter is fused in", (model_type, config, expected) => {
    const base = join(temporaryFolder(), "base");
    const isStoredByInput = model_type === "gpt2";
    const adapted = Object.entries(expected).filter(([name]) => ADAPTED.test(name));
    modelOfOnes(base, { model_type, ...config });
    const adapter = join(base, "..", "adapter");
    adapterOfOnes(adapter, adapted, isStoredByInput);
    const output = join(base, "..", "fused");
    const adapters = [{ folder: adapter, weight: 1 }];
    exportModel(base, output, { type: "float32", adapters });
    const found = tensorsIn(join(output, "model.safetensors"));
    const shapes = Object.fromEntries([...found].map(([name, { shape }]) => [name, shape]));
    expect(shapes).toEqual(expected);
    // 1 + (alpha / rank) x (rank ones times ones) where the adapter stands, the base's own numbers elsewhere.
    const names = new Set(adapted.map(([name]) => name));
    expect(names.size).toBe(isStoredByInput ? 4 : 7);
    for (const [name, { numbers }] of found)
      expect([name, new Set(numbers)]).toEqual([name, new Set([names.has(name) ? 5 : 1])]);
  });
});

const ADAPTED = /_proj\.weight$|c_attn\.weight$|c_fc\.weight$/;
const RANK = 2;

type Shapes = readonly (readonly [name: string, shape: readonly number[]])[];

/** A folder with a model whose weights are all 1. */
function modelOfOnes(folder: string, json: object): void {
  const config = parseModelConfig(json);
  const { parameters } = modelOf(config);
  mkdirSync(folder);
  writeModelConfig(folder, config);
  const sizes = new Map(
    parameters.weights.map(({ name, type }) => [name, elementCount(staticShape(type))]),
  );
  saveWeights(folder, parameters, (name) => new Float32Array(sizes.get(name) ?? 0).fill(1));
}

/** A LoRA as PEFT writes it, with 1 everywhere. `isStoredByInput`: matrices stand as [in, out]. */
function adapterOfOnes(folder: string, matrices: Shapes, isStoredByInput: boolean): void {
  mkdirSync(folder);
  const modules = matrices.map(([name]) => name.replace(/\.weight$/, ""));
  const target_modules = [...new Set(modules.map((module) => module.split(".").at(-1)))];
  writeFileSync(
    join(folder, "adapter_config.json"),
    JSON.stringify({
      ...{ peft_type: "LORA", r: RANK, lora_alpha: 2 * RANK, target_modules },
      fan_in_fan_out: isStoredByInput,
    }),
  );
  const tensors = matrices.flatMap(([, shape], index) => {
    const [outputs = 0, inputs = 0] = isStoredByInput ? shape.toReversed() : shape;
    return [["A", [RANK, inputs]] as const, ["B", [outputs, RANK]] as const].map(([part, of]) => ({
      ...{ name: `base_model.model.${modules[index]}.lora_${part}.weight`, shape: of },
      dataType: "F32" as const,
      chunks: () => [new Uint8Array(new Float32Array(elementCount(of)).fill(1).buffer)],
    }));
  });
  writeSafetensors(join(folder, "adapter_model.safetensors"), tensors);
}

/** What a file of fp32 tensors holds. */
function tensorsIn(path: string) {
  const source = openFileSource(path);
  const { entries } = openSafetensors(source);
  const found = new Map(
    [...entries].map(([name, { shape, dataType, offset, byteLength }]) => {
      expect(dataType).toBe("F32");
      const bytes = Uint8Array.from(source.read(offset, byteLength));
      return [name, { shape, numbers: new Float32Array(bytes.buffer) }];
    }),
  );
  source.close();
  return found;
}
