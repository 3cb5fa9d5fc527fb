import { describe, expect, it } from "vitest";
import { modelOf, parseModelConfig } from "../../src/model/index.ts";

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

const CASES: readonly (readonly [string, object, object])[] = [
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
});
