/** Settings that size a new model, or change a preset's sizes. */
export const SIZE_KEYS = [
  "family",
  "layers",
  "hidden_size",
  "heads",
  "kv_heads",
  "ffn_size",
] as const;
