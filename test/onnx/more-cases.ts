import { floats, int64, positive, scalar, whole } from "./operator-case.ts";
import type { Case } from "./operator-case.ts";

/** Whole numbers of every bit, negative ones too. */
const wide = [0, 1, -1, 2 ** 31 - 1, -(2 ** 31), 123456789, -987654321, 85];
const int32s = (...values: readonly number[]) => ({
  type: "int32" as const,
  shape: [values.length],
  values,
});

/** Operators that became importable for the sake of foreign models, against ONNX Runtime. */
export const MORE_CASES: readonly Case[] = [
  ...["BitwiseAnd", "BitwiseOr", "BitwiseXor"].map((op): Case => ({
    op,
    inputs: [int32s(...wide), int32s(...wide.toReversed())],
    results: ["int32"],
  })),
  { op: "BitwiseNot", inputs: [int32s(...wide)], results: ["int32"] },
  { op: "BitwiseNot", what: "unsigned", inputs: [whole("uint8", [9], 0, 255)], results: ["uint8"] },
  ...[0, 1].map((center): Case => ({
    op: "NonMaxSuppression",
    what: center === 0 ? "any two opposite corners" : "middles and sizes",
    inputs: [
      // Unit boxes near a line, some of them turned over, so that neighbours overlap by various parts.
      {
        type: "fp32",
        shape: [2, 6, 4],
        values: Array.from({ length: 12 }, (_, box) => {
          const at = box * 0.375;
          if (center === 1) return [at, 0.5, 1, 1];
          return box % 3 === 1 ? [at + 1, 1, at, 0] : [at, 0, at + 1, 1];
        }).flat(),
      },
      {
        type: "fp32",
        shape: [2, 2, 6],
        values: Array.from({ length: 24 }, (_, index) => ((index * 7) % 24) / 24),
      },
    ],
    constants: [
      int64(4),
      { type: "fp32", shape: [1], values: [0.4] },
      { type: "fp32", shape: [1], values: [0.125] },
    ],
    attributes: { center_point_box: BigInt(center) },
    results: ["int64"],
  })),
  {
    op: "NonMaxSuppression",
    what: "without thresholds",
    inputs: [floats(1, 5, 4), floats(1, 1, 5)],
    constants: [int64(9)],
    results: ["int64"],
  },
  { op: "NonZero", inputs: [whole("int32", [3, 4], 0, 1)], results: ["int64"] },
  {
    op: "Compress",
    inputs: [floats(3, 4)],
    constants: [{ type: "bool", shape: [3], values: [0, 1, 1] }],
    attributes: { axis: -1n },
  },
  ...["LEFT", "RIGHT"].map((direction): Case => ({
    op: "BitShift",
    what: direction,
    inputs: [whole("uint8", [4, 5], 0, 255), whole("uint8", [4, 5], 0, 7)],
    attributes: { direction },
    results: ["uint8"],
  })),
  { op: "IsInf", inputs: [floats(2, 3)], results: ["bool"], opset: 17 },
  {
    op: "IsInf",
    what: "negative ones",
    inputs: [{ type: "fp32", shape: [4], values: [Infinity, -Infinity, 1, NaN] }],
    attributes: { detect_positive: 0n },
    results: ["bool"],
  },
  {
    op: "Asinh",
    inputs: [{ type: "fp32", shape: [6], values: [-3e10, -2, -1e-5, 0, 1e-3, 5e12] }],
  },
  { op: "Acosh", inputs: [{ type: "fp32", shape: [4], values: [1, 1.0001, 3, 5e12] }] },
  { op: "Hardmax", inputs: [{ type: "fp32", shape: [2, 3], values: [3, 3, 1, -1, -4, -1] }] },
  { op: "Hardmax", what: "old form", inputs: [floats(2, 3, 2)], opset: 11 },
  { op: "Shrink", inputs: [floats(3, 4)], attributes: { lambd: 0.7, bias: 0.25 } },
  {
    op: "NegativeLogLikelihoodLoss",
    inputs: [floats(3, 5, 2), whole("int64", [3, 2], 0, 4)],
    constants: [positive(5)],
    attributes: { ignore_index: 2n },
  },
  {
    op: "NegativeLogLikelihoodLoss",
    what: "one by one",
    inputs: [floats(3, 5), whole("int64", [3], 0, 4)],
    attributes: { reduction: "none" },
  },
  {
    op: "SoftmaxCrossEntropyLoss",
    inputs: [floats(3, 5), whole("int64", [3], 0, 4)],
    results: ["fp32", "fp32"],
  },
  {
    op: "SoftmaxCrossEntropyLoss",
    what: "summed, weighted",
    inputs: [floats(2, 4, 3), whole("int64", [2, 3], 0, 3)],
    constants: [positive(4)],
    attributes: { reduction: "sum", ignore_index: 1n },
  },
  {
    op: "Attention",
    what: "causal, grouped heads",
    inputs: [floats(2, 4, 24), floats(2, 6, 12), floats(2, 6, 12)],
    attributes: { q_num_heads: 4n, kv_num_heads: 2n, is_causal: 1n },
    opset: 23,
  },
  {
    op: "Attention",
    what: "mask and softcap",
    inputs: [floats(1, 2, 3, 8), floats(1, 2, 5, 8), floats(1, 2, 5, 6), floats(3, 5)],
    attributes: { softcap: 1.5, scale: 0.3 },
    opset: 23,
  },
  {
    op: "RotaryEmbedding",
    inputs: [floats(2, 3, 4, 8), floats(10, 4), floats(10, 4), whole("int64", [2, 4], 0, 9)],
    opset: 23,
  },
  {
    op: "RotaryEmbedding",
    what: "interleaved, a part, no positions",
    inputs: [floats(2, 4, 24), floats(2, 4, 2), floats(2, 4, 2)],
    attributes: { interleaved: 1n, rotary_embedding_dim: 4n, num_heads: 3n },
    opset: 23,
  },
  {
    op: "LayerNormalization",
    what: "mean and inverse deviation",
    inputs: [floats(2, 3, 4)],
    constants: [positive(3, 4), floats(3, 4)],
    attributes: { axis: 1n },
    results: ["fp32", "fp32", "fp32"],
  },
  {
    op: "BatchNormalization",
    what: "in training",
    inputs: [floats(3, 2, 4)],
    constants: [positive(2), floats(2), floats(2), positive(2)],
    attributes: { training_mode: 1n },
    results: ["fp32", "fp32", "fp32"],
  },
  {
    op: "QuantizeLinear",
    what: "16 bits",
    inputs: [floats(2, 5)],
    constants: [scalar("fp32", 0.0001), { type: "int16", shape: [], values: [100] }],
    results: ["int16"],
    opset: 21,
  },
  {
    op: "QuantizeLinear",
    what: "blocks",
    inputs: [floats(2, 6)],
    constants: [positive(2, 3), { type: "int8", shape: [2, 3], values: [1, 2, 3, 4, 5, 6] }],
    attributes: { block_size: 2n },
    results: ["int8"],
    opset: 21,
  },
  {
    op: "DequantizeLinear",
    what: "blocks",
    inputs: [whole("int8", [6, 2], -128, 127)],
    constants: [positive(2, 2), { type: "int8", shape: [2, 2], values: [1, 5, -7, 9] }],
    attributes: { axis: 0n, block_size: 3n },
    opset: 21,
  },
  {
    op: "OneHot",
    what: "values at run time",
    inputs: [whole("int64", [5], -3, 2)],
    constants: [scalar("int64", 3), { type: "fp32", shape: [2], values: [-1, 4] }],
  },
  {
    op: "ArgMax",
    what: "the last of equal ones",
    inputs: [{ type: "fp32", shape: [2, 4], values: [1, 3, 3, 0, 2, 2, 2, 1] }],
    attributes: { axis: 1n, select_last_index: 1n },
    results: ["int64"],
  },
  { op: "Dropout", what: "its mask", inputs: [floats(2, 3)], results: ["fp32", "bool"] },
  ...["RNN", "GRU", "LSTM"].flatMap((op): Case[] => {
    const gates = op === "RNN" ? 1 : op === "GRU" ? 3 : 4;
    const states = op === "LSTM" ? 2 : 1;
    const results = Array.from({ length: 1 + states }, () => "fp32" as const);
    return [
      {
        op,
        what: "constant weights",
        inputs: [floats(3, 2, 4)],
        constants: [floats(1, gates * 5, 4), floats(1, gates * 5, 5), floats(1, 2 * gates * 5)],
        attributes: { hidden_size: 5n },
        results,
      },
      {
        op,
        what: "two directions, lengths, states",
        inputs: [floats(4, 2, 3), floats(2, gates * 3, 3), floats(2, gates * 3, 3)],
        constants: [
          floats(2, 2 * gates * 3),
          { type: "int32", shape: [2], values: [4, 2] },
          ...Array.from({ length: states }, () => floats(2, 2, 3)),
        ],
        attributes: { hidden_size: 3n, direction: "bidirectional" },
        results,
      },
    ];
  }),
  {
    op: "GRU",
    what: "linear before reset",
    inputs: [floats(3, 2, 4), floats(1, 6, 4), floats(1, 6, 2)],
    constants: [floats(1, 12)],
    attributes: { hidden_size: 2n, linear_before_reset: 1n, direction: "reverse" },
    results: ["fp32", "fp32"],
  },
  {
    op: "LSTM",
    what: "peepholes, clipped",
    inputs: [floats(3, 2, 4), floats(1, 8, 4), floats(1, 8, 2)],
    constants: [floats(1, 16), undefined, undefined, undefined, floats(1, 6)],
    attributes: { hidden_size: 2n, clip: 0.5 },
    results: ["fp32", "fp32", "fp32"],
  },
  ...["bilinear", "nearest", "bicubic"].flatMap((mode) =>
    ["zeros", "border", "reflection"].map((padding): Case => ({
      op: "GridSample",
      what: `${mode}, ${padding}`,
      inputs: [floats(2, 2, 4, 5), floats(2, 3, 3, 2)],
      attributes: { mode, padding_mode: padding, align_corners: mode === "nearest" ? 1n : 0n },
      opset: 16,
    })),
  ),
  ...["linear", "cubic"].flatMap((mode) =>
    ["align_corners", "asymmetric", "half_pixel", "pytorch_half_pixel"].map(
      (coordinates): Case => ({
        op: "Resize",
        what: `${mode}, ${coordinates}, by factors`,
        inputs: [floats(1, 2, 5, 6)],
        // Factors that lead to fractions of an element: ONNX's own tests count them where ONNX Runtime does not.
        constants: [
          undefined,
          {
            type: "fp32",
            shape: [4],
            values: coordinates === "align_corners" ? [1, 1, 2, 0.5] : [1, 1, 1.7, 0.6],
          },
        ],
        attributes: { mode, coordinate_transformation_mode: coordinates },
        opset: 18,
      }),
    ),
  ),
  ...["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"].map((rounding): Case => ({
    op: "Resize",
    what: `nearest, ${rounding}`,
    inputs: [floats(1, 1, 5, 6)],
    constants: [undefined, undefined, int64(1, 1, 8, 3)],
    attributes: { nearest_mode: rounding },
    opset: 18,
  })),
  {
    op: "Resize",
    what: "with antialiasing",
    inputs: [floats(1, 1, 8, 9)],
    constants: [undefined, undefined, int64(1, 1, 3, 4)],
    attributes: { mode: "linear", antialias: 1n },
    opset: 18,
  },
];
