import type { ModelConfig } from "../config.ts";
import { parseModelConfig } from "../config-json.ts";
import { ModelError } from "../errors.ts";
import { didYouMean } from "../../util/nearest.ts";
import { GgufMetadata } from "./gguf-file.ts";
import type { GgufFile } from "./gguf-file.ts";
import { ropeJson } from "../rope-json.ts";

/** `general.architecture` and the `model_type` it means. */
const ARCHITECTURES = {
  llama: "llama",
  gpt2: "gpt2",
  qwen2: "qwen2",
  qwen3: "qwen3",
  gemma: "gemma",
  gemma2: "gemma2",
  gemma3: "gemma3_text",
} as const;
type Architecture = keyof typeof ARCHITECTURES;

function isArchitecture(name: string): name is Architecture {
  return Object.hasOwn(ARCHITECTURES, name);
}

/** Gemma 3's pattern of windows and second rope base are not in its files: llama.cpp has them in its code. */
export const GEMMA3_PATTERN = 6;
export const GEMMA3_LOCAL_BASE = 10_000;
/** Published models whose scores are not divided by the square root of the head size, by layers. */
export const WIDE_SCALED = { gemma2: 46, gemma3: 62 } as const;

/**
 * A file's configuration, as `config.json` would have it. Throws `ModelError` for an architecture or a switch that is
 * not supported.
 */
export function ggufConfig(file: GgufFile): ModelConfig {
  const where = file.source.name;
  const metadata = new GgufMetadata(file);
  const name = metadata.text("general.architecture") ?? "";
  if (!isArchitecture(name)) {
    throw new ModelError(
      "model.config.family",
      `${where}: models of the architecture "${name}" are not supported; supported are ${Object.keys(ARCHITECTURES).join(", ")}.${didYouMean(name, Object.keys(ARCHITECTURES))}`,
    );
  }
  const key = (suffix: string): string => `${name}.${suffix}`;
  const refuse = (problem: string): never => {
    throw new ModelError("model.config.attention", `${where}: ${problem}, which is not supported`);
  };
  const number = (suffix: string): number | undefined => metadata.number(key(suffix));
  const needed = (suffix: string): number => metadata.needed(key(suffix));
  if ((number("expert_count") ?? 0) > 0) refuse("this is a mixture of experts");
  if (metadata.flag(key("attention.causal")) === false) refuse("attention is not causal");
  const table = file.tensors.get("token_embd.weight");
  const vocabularySize = table?.shape[0] ?? needed("vocab_size");
  const shared = {
    vocab_size: vocabularySize,
    bos_token_id: metadata.number("tokenizer.ggml.bos_token_id") ?? null,
    eos_token_id: endTokens(metadata),
    pad_token_id: metadata.number("tokenizer.ggml.padding_token_id") ?? null,
    tie_word_embeddings: !file.tensors.has("output.weight") || isSameTable(file),
    ...(name.startsWith("gemma") && {
      embedding_scale_type: metadata.text("anecdote.embedding_scale_type") ?? "bfloat16",
    }),
  };
  if (name === "gpt2") {
    return parseModelConfig(
      {
        ...shared,
        model_type: "gpt2",
        n_embd: needed("embedding_length"),
        n_layer: needed("block_count"),
        n_head: needed("attention.head_count"),
        n_positions: needed("context_length"),
        n_inner: needed("feed_forward_length"),
        layer_norm_epsilon: number("attention.layer_norm_epsilon") ?? 1e-5,
      },
      where,
    );
  }
  const channelCount = needed("embedding_length");
  const headCount = needed("attention.head_count");
  const layerCount = needed("block_count");
  const headSize = number("attention.key_length") ?? channelCount / headCount;
  if ((number("attention.value_length") ?? headSize) !== headSize)
    refuse("values have another head size than keys");
  const rotated = number("rope.dimension_count") ?? headSize;
  if (rotated !== headSize) refuse(`only ${rotated} of a head's ${headSize} channels are rotated`);
  const contextLength = needed("context_length");
  const hasBias = (suffix: string): boolean => file.tensors.has(`blk.0.${suffix}.bias`);
  const window = number("attention.sliding_window") ?? 0;
  const isWindowedLlama = name === "llama" && window > 0;
  const isGemma23 = name === "gemma2" || name === "gemma3";
  return parseModelConfig(
    {
      ...shared,
      model_type: isWindowedLlama ? "mistral" : ARCHITECTURES[name],
      hidden_size: channelCount,
      intermediate_size: needed("feed_forward_length"),
      num_hidden_layers: layerCount,
      num_attention_heads: headCount,
      num_key_value_heads: number("attention.head_count_kv") ?? headCount,
      head_dim: headSize,
      max_position_embeddings: contextLength,
      rms_norm_eps: shortest(number("attention.layer_norm_rms_epsilon") ?? 1e-6),
      rope_theta: shortest(number("rope.freq_base") ?? (name === "gemma3" ? 1e6 : 10_000)),
      rope_scaling: ropeScaling(file, metadata, key("rope.scaling"), contextLength),
      attention_bias: hasBias("attn_q"),
      mlp_bias: hasBias("ffn_down"),
      ...(isWindowedLlama && { sliding_window: window }),
      ...(isGemma23 && {
        sliding_window: window > 0 ? window : 4_096,
        query_pre_attn_scalar:
          layerCount === WIDE_SCALED[name] ? channelCount / headCount : headSize,
        attn_logit_softcapping: number("attn_logit_softcapping") ?? null,
        final_logit_softcapping: number("final_logit_softcapping") ?? null,
      }),
      ...(name === "gemma3" && {
        sliding_window_pattern: GEMMA3_PATTERN,
        rope_local_base_freq: shortest(number("rope.freq_base_swa") ?? GEMMA3_LOCAL_BASE),
      }),
    },
    where,
  );
}

/** The end of a text, and of a turn where that is another token. */
function endTokens(metadata: GgufMetadata): readonly number[] | null {
  const ids = ["eos_token_id", "eot_token_id"].flatMap(
    (name) => metadata.number(`tokenizer.ggml.${name}`) ?? [],
  );
  return ids.length === 0 ? null : [...new Set(ids)];
}

/** A number that stands as fp32, as somebody would have written it: 1e-5 and not 0.000009999999747. */
function shortest(value: number): number {
  for (let digits = 1; digits <= 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === Math.fround(value)) return short;
  }
  return value;
}

/** Whether the head is a copy of the token table, as older gpt2 files have it. */
function isSameTable({ source, tensors }: GgufFile): boolean {
  const table = tensors.get("token_embd.weight");
  const head = tensors.get("output.weight");
  if (table === undefined || head === undefined) return false;
  if (table.type !== head.type || table.byteLength !== head.byteLength) return false;
  for (let at = 0; at < table.byteLength; at += 1 << 20) {
    const length = Math.min(1 << 20, table.byteLength - at);
    const first = Buffer.from(source.read(table.offset + at, length));
    if (!first.equals(source.read(head.offset + at, length))) return false;
  }
  return true;
}

function ropeScaling(
  file: GgufFile,
  metadata: GgufMetadata,
  key: string,
  contextLength: number,
): Record<string, unknown> | null {
  const kind = metadata.text(`${key}.type`) ?? "none";
  const factor =
    metadata.number(`${key}.factor`) ?? metadata.number(key.replace(/ing$/, "e_linear"));
  const original = metadata.number(`${key}.original_context_length`);
  const divisors = ropeDivisors(file);
  if (divisors !== undefined) return ropeJson({ kind: "divided", divisors, attentionFactor: 1 });
  switch (kind) {
    case "none":
      return null;
    case "linear":
      return { rope_type: "linear", factor };
    case "yarn":
      return {
        rope_type: "yarn",
        factor,
        original_max_position_embeddings: original ?? contextLength,
        ...yarnSwitches(metadata, key, factor ?? 1),
      };
    default:
      return { rope_type: kind, factor };
  }
}

function yarnSwitches(
  metadata: GgufMetadata,
  key: string,
  factor: number,
): Record<string, unknown> {
  const attention = metadata.number(`${key}.attn_factor`);
  const fast = metadata.number(`${key}.yarn_beta_fast`);
  const slow = metadata.number(`${key}.yarn_beta_slow`);
  return {
    // llama.cpp multiplies what it is given by yarn's own factor.
    ...(attention !== undefined && {
      attention_factor: attention * (0.1 * Math.log(factor) + 1),
    }),
    ...(fast !== undefined && { beta_fast: fast }),
    ...(slow !== undefined && { beta_slow: slow }),
  };
}

/** Llama 3's scaling as files have it: what each frequency is divided by. */
function ropeDivisors({ source, tensors }: GgufFile): readonly number[] | undefined {
  const tensor = tensors.get("rope_freqs.weight");
  if (tensor === undefined) return undefined;
  const count = tensor.byteLength / 4;
  if (tensor.type.name !== "F32" || count > 1 << 16) {
    throw new ModelError(
      "model.gguf",
      `${source.name}: rope_freqs.weight is of type ${tensor.type.name}; F32 is needed`,
    );
  }
  const bytes = Buffer.from(source.read(tensor.offset, tensor.byteLength));
  return Array.from({ length: count }, (_, index) => bytes.readFloatLE(4 * index));
}

/** The architecture under which a family is written. */
export function architectureOf(config: ModelConfig): Architecture {
  switch (config.family) {
    case "mistral":
      return "llama";
    case "gemma3_text":
      return "gemma3";
    default:
      return config.family;
  }
}
