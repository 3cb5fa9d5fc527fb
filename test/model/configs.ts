/** Small configurations of every family, as `config.json` holds them. */
export const LLAMA_JSON = {
  model_type: "llama",
  vocab_size: 50,
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 200,
};
export const GPT2_JSON = {
  model_type: "gpt2",
  vocab_size: 50,
  n_embd: 16,
  n_layer: 2,
  n_head: 4,
  n_positions: 200,
};
export const QWEN3_JSON = {
  ...LLAMA_JSON,
  model_type: "qwen3",
  head_dim: 8,
  tie_word_embeddings: true,
};
/** A window shorter than every test's sequence. */
export const MISTRAL_JSON = { ...LLAMA_JSON, model_type: "mistral", sliding_window: 5 };
export const QWEN2_JSON = {
  ...LLAMA_JSON,
  model_type: "qwen2",
  use_sliding_window: true,
  max_window_layers: 1,
  sliding_window: 4,
};
export const GEMMA2_JSON = {
  ...LLAMA_JSON,
  model_type: "gemma2",
  head_dim: 8,
  dtype: "bfloat16",
  query_pre_attn_scalar: 6,
  attn_logit_softcapping: 2,
  final_logit_softcapping: 4,
  sliding_window: 3,
};
export const GEMMA3_JSON = {
  ...LLAMA_JSON,
  model_type: "gemma3_text",
  head_dim: 8,
  query_pre_attn_scalar: 6,
  sliding_window: 3,
  sliding_window_pattern: 2,
  rope_theta: 1e6,
  rope_local_base_freq: 100,
};
export const FAMILY_JSON = [
  LLAMA_JSON,
  GPT2_JSON,
  QWEN3_JSON,
  MISTRAL_JSON,
  QWEN2_JSON,
  GEMMA2_JSON,
  GEMMA3_JSON,
] as const;
