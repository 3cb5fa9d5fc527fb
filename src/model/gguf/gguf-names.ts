import type { FamilyName } from "../config.ts";

/** What happens to a tensor's numbers between the file and Hugging Face's layout. */
export type GgufChange =
  | { readonly kind: "none" }
  /** Rows of heads stand as pairs (0, D/2), (1, D/2 + 1), ...: llama's queries and keys. */
  | { readonly kind: "paired_rows"; readonly headCount: number }
  /** [out, in] in the file, [in, out] here: gpt2's matrices. */
  | { readonly kind: "transposed" }
  /** The file has 1 added: Gemma's norms. */
  | { readonly kind: "plus_one" };

/** One tensor under both names. */
export interface GgufName {
  readonly name: string;
  readonly ggufName: string;
  readonly change: GgufChange;
}

const NONE: GgufChange = { kind: "none" };

interface NamedShape {
  readonly family: FamilyName;
  readonly layerCount: number;
  readonly headCount: number;
  readonly keyValueHeadCount: number;
  readonly tiedHead: boolean;
}

const DECODER_LAYERS: readonly (readonly [string, string])[] = [
  ["input_layernorm", "attn_norm"],
  ["self_attn.q_proj", "attn_q"],
  ["self_attn.k_proj", "attn_k"],
  ["self_attn.v_proj", "attn_v"],
  ["self_attn.o_proj", "attn_output"],
  ["self_attn.q_norm", "attn_q_norm"],
  ["self_attn.k_norm", "attn_k_norm"],
  ["mlp.gate_proj", "ffn_gate"],
  ["mlp.up_proj", "ffn_up"],
  ["mlp.down_proj", "ffn_down"],
];

const NORMS_BEFORE: readonly (readonly [string, string])[] = [
  ["post_attention_layernorm", "ffn_norm"],
];

const NORMS_BEHIND: readonly (readonly [string, string])[] = [
  ["post_attention_layernorm", "post_attention_norm"],
  ["pre_feedforward_layernorm", "ffn_norm"],
  ["post_feedforward_layernorm", "post_ffw_norm"],
];

const GPT2_LAYERS: readonly (readonly [string, string])[] = [
  ["ln_1", "attn_norm"],
  ["attn.c_attn", "attn_qkv"],
  ["attn.c_proj", "attn_output"],
  ["ln_2", "ffn_norm"],
  ["mlp.c_fc", "ffn_up"],
  ["mlp.c_proj", "ffn_down"],
];

/** Every tensor that a model of this shape may have in a GGUF file, biases included. */
export function ggufNames(shape: NamedShape): readonly GgufName[] {
  const { family, layerCount, tiedHead } = shape;
  const isGemma = family.startsWith("gemma");
  const names: GgufName[] = [];
  const both = (name: string, ggufName: string, change: GgufChange = NONE): void => {
    names.push({ name: `${name}.weight`, ggufName: `${ggufName}.weight`, change });
    const bias = change.kind === "paired_rows" ? change : NONE;
    names.push({ name: `${name}.bias`, ggufName: `${ggufName}.bias`, change: bias });
  };
  const norm = (name: string): GgufChange =>
    isGemma && name.endsWith("norm") ? { kind: "plus_one" } : NONE;
  if (family === "gpt2") {
    both("transformer.wte", "token_embd");
    both("transformer.wpe", "position_embd");
    for (let layer = 0; layer < layerCount; layer++) {
      for (const [name, ggufName] of GPT2_LAYERS) {
        const isMatrix = name.includes("c_");
        const change: GgufChange = isMatrix ? { kind: "transposed" } : NONE;
        both(`transformer.h.${layer}.${name}`, `blk.${layer}.${ggufName}`, change);
      }
    }
    both("transformer.ln_f", "output_norm");
    if (!tiedHead) both("lm_head", "output");
    return names;
  }
  both("model.embed_tokens", "token_embd");
  const behind = family === "gemma2" || family === "gemma3_text";
  const layers = [...DECODER_LAYERS, ...(behind ? NORMS_BEHIND : NORMS_BEFORE)];
  for (let layer = 0; layer < layerCount; layer++) {
    for (const [name, ggufName] of layers) {
      const change = pairedRows(name, shape) ?? norm(name);
      both(`model.layers.${layer}.${name}`, `blk.${layer}.${ggufName}`, change);
    }
  }
  both("model.norm", "output_norm", norm("norm"));
  if (!tiedHead) both("lm_head", "output");
  return names;
}

function pairedRows(name: string, shape: NamedShape): GgufChange | undefined {
  if (shape.family !== "llama" && shape.family !== "mistral") return undefined;
  if (name === "self_attn.q_proj") return { kind: "paired_rows", headCount: shape.headCount };
  if (name === "self_attn.k_proj")
    return { kind: "paired_rows", headCount: shape.keyValueHeadCount };
  return undefined;
}

/** Where row `row` of Hugging Face's layout stands in the file, among `rowCount`. */
export function pairedRow(row: number, rowCount: number, headCount: number): number {
  const size = rowCount / headCount;
  const head = Math.floor(row / size);
  const inside = row % size;
  const half = size / 2;
  return head * size + (inside < half ? 2 * inside : 2 * (inside - half) + 1);
}
