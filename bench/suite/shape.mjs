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
const FLAGS = { family: "gpt2", recompute: "auto", tied: "yes", plan: "processor", blas: "auto" };

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
 * Floating-point operations of a training step that nobody can do without: 6 a weight of a product and a token (forward,
 * and backward by weights and by inputs), 4 a weight that is frozen (nothing is derived by it), and of causal attention
 * the half of the square that is not masked. What an adapter adds is counted as trained. Tables that are looked up count
 * nothing, the head counts as the product that it is; what is computed twice to save memory counts once.
 */
export function stepFlops(shape) {
  const { layers, heads, kv_heads, channels, ffn, vocab, batch, context, lora = 0 } = shape;
  const kv = (channels / heads) * kv_heads;
  // [inputs, outputs] of a layer's products.
  const products =
    shape.family === "gpt2"
      ? [
          [channels, 3 * channels],
          [channels, channels],
          [channels, ffn],
          [ffn, channels],
        ]
      : [
          ...[
            [channels, channels],
            [channels, kv],
            [channels, kv],
            [channels, channels],
          ],
          ...[
            [channels, ffn],
            [channels, ffn],
            [ffn, channels],
          ],
        ];
  const sum = (of) => layers * products.reduce((total, [from, to]) => total + of(from, to), 0);
  const weights = sum((from, to) => from * to) + vocab * channels;
  const adapter = sum((from, to) => lora * (from + to));
  const rows = batch * context;
  // Scores and mixing, 2 operations a multiply-add, half of the square, times 3 with the backward.
  const square = layers * batch * (context * context) * channels * 2 * 2 * 0.5 * 3;
  return ((lora === 0 ? 6 : 4) * weights + 6 * adapter) * rows + square;
}
