import { floats, positive, scalar, whole } from "./operator-case.ts";
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
];
