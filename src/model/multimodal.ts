// Models for pictures and text of which the text part is one of the families here: Gemma 3 from 4B on.

/** What `Gemma3TextConfig` of transformers takes where `text_config` says nothing. */
const GEMMA3_TEXT_DEFAULTS = {
  vocab_size: 262_208,
  hidden_size: 2_304,
  intermediate_size: 9_216,
  num_hidden_layers: 26,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  head_dim: 256,
  hidden_activation: "gelu_pytorch_tanh",
  max_position_embeddings: 131_072,
  rms_norm_eps: 1e-6,
  rope_theta: 1_000_000,
  rope_local_base_freq: 10_000,
  query_pre_attn_scalar: 256,
  sliding_window: 4_096,
  sliding_window_pattern: 6,
  tie_word_embeddings: true,
} as const;

/** Keys beside `text_config` that the text part's file would have itself. */
const SHARED_KEYS = [
  "bos_token_id",
  "eos_token_id",
  "pad_token_id",
  "initializer_range",
  "quantization",
  "quantization_config",
  "torch_dtype",
  "dtype",
] as const;

/** The text part of a configuration for pictures and text, as a file of its own would have it; others as they are. */
export function textConfigOf(json: object): object {
  const whole = json as Readonly<Record<string, unknown>>;
  const text = whole["text_config"];
  if (whole["model_type"] !== "gemma3" || typeof text !== "object" || text === null) return json;
  const given = text as Readonly<Record<string, unknown>>;
  const shared = SHARED_KEYS.flatMap((key) =>
    whole[key] === undefined ? [] : [[key, whole[key]] as const],
  );
  // A list of layers says what the pattern would.
  const { sliding_window_pattern, ...defaults } = GEMMA3_TEXT_DEFAULTS;
  return {
    ...defaults,
    ...(given["layer_types"] === undefined && { sliding_window_pattern }),
    ...Object.fromEntries(shared),
    ...given,
    model_type: "gemma3_text",
  };
}

const TEXT_PREFIX = /^(?:language_model\.model\.|model\.language_model\.)/;
const HEAD_PREFIX = /^language_model\.(?=lm_head\.)/;
const OF_PICTURES = /^(?:model\.)?(?:vision_tower|multi_modal_projector)\./;

/** The name that a tensor of such a model has in the text part alone; nothing for tensors that see pictures. */
export function textTensorName(name: string): string | undefined {
  if (OF_PICTURES.test(name)) return undefined;
  return name.replace(TEXT_PREFIX, "model.").replace(HEAD_PREFIX, "");
}
