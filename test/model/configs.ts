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
export const FAMILY_JSON = [LLAMA_JSON, GPT2_JSON, QWEN3_JSON] as const;
