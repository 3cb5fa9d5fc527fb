// Sizes of a model on a command line, shared by what is measured.
import { modelOf, parseModelConfig } from "../../dist/model/index.js";

const NUMBERS = {
  layers: "6",
  heads: "6",
  kv_heads: "0",
  channels: "384",
  ffn: "0",
  vocab: "8192",
  batch: "4",
  context: "256",
  threads: "2",
  lora: "0",
};
const FLAGS = { family: "gpt2", recompute: "auto", tied: "yes" };

export const SHAPE_OPTIONS = Object.fromEntries(
  Object.entries({ ...NUMBERS, ...FLAGS }).map(([name, value]) => [
    name,
    { type: "string", default: value },
  ]),
);

export function parseShape(values) {
  const shape = Object.fromEntries(
    Object.entries(values).map(([key, value]) => [key, key in NUMBERS ? Number(value) : value]),
  );
  return {
    ...shape,
    kv_heads: shape.kv_heads || shape.heads,
    ffn: shape.ffn || 4 * shape.channels,
    tied: shape.tied === "yes",
  };
}

export const shapeArguments = (shape) =>
  Object.entries(shape).flatMap(([name, value]) => [
    `--${name}`,
    typeof value === "boolean" ? (value ? "yes" : "no") : `${value}`,
  ]);

export function benchModel(shape) {
  const { layers, heads, kv_heads, channels, ffn, vocab, context, tied } = shape;
  return modelOf(
    parseModelConfig(
      shape.family === "gpt2"
        ? {
            model_type: "gpt2",
            ...{ n_embd: channels, n_layer: layers, n_head: heads, n_positions: context },
            ...{ vocab_size: vocab, activation_function: "gelu_new" },
          }
        : {
            model_type: "llama",
            ...{ hidden_size: channels, num_hidden_layers: layers, num_attention_heads: heads },
            ...{ num_key_value_heads: kv_heads, intermediate_size: ffn, vocab_size: vocab },
            ...{ max_position_embeddings: context, tie_word_embeddings: tied },
          },
    ),
  );
}

/**
 * Floating-point operations of a training step: 6 a weight of a product and a token (forward, and backward by weights
 * and by inputs), and of causal attention the half of the square that is not masked. Tables that are looked up count
 * nothing, the head counts as the product that it is.
 */
export function stepFlops(shape) {
  const { layers, heads, kv_heads, channels, ffn, vocab, batch, context } = shape;
  const kv = (channels / heads) * kv_heads;
  const attention = 2 * channels * channels + 2 * channels * kv;
  const feedForward = (shape.family === "gpt2" ? 2 : 3) * channels * ffn;
  const weights = layers * (attention + feedForward) + vocab * channels;
  const rows = batch * context;
  // Scores and mixing, 2 operations a multiply-add, half of the square, times 3 with the backward.
  const square = layers * batch * (context * context) * channels * 2 * 2 * 0.5 * 3;
  return 6 * weights * rows + square;
}
