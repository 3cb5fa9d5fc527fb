import { add, mul, reduceToShape, shapeOf, sub, tensorDataType, where } from "../emit.ts";
import type { GradientTable } from "../rule.ts";

export const ATTENTION_RULES = {
  // P = softmax(S), S = scale Q K' + mask, Y = P V; the gradient of S is P (G V' - sum(P (G V'))), and that
  // sum over the sources is the sum of G Y over the channels, of which there are fewer.
  scaled_dot_product_attention: ({ emit, gradient, operand, output, call, wants }) => {
    const query = operand("query");
    const key = operand("key");
    const value = operand("value");
    const scale = 1 / Math.sqrt(shapeOf(query).at(-1) ?? 1);
    const products = emit.op("matmul", { x: query, y: key, transpose_y: true });
    let scores = mul(emit, products, scale);
    if (call.has("attn_mask")) {
      const mask = operand("attn_mask");
      const hidden = tensorDataType(scores) === "fp16" ? -30_000 : -1e30;
      scores =
        tensorDataType(mask) === "bool"
          ? where(emit, mask, scores, hidden)
          : add(emit, scores, mask);
    }
    const weights = emit.op("softmax", { x: scores, axis: -1 });
    const toWeights = emit.op("matmul", { x: gradient, y: value, transpose_y: true });
    const level = emit.op("reduce_sum", {
      x: mul(emit, gradient, output),
      axes: [shapeOf(output).length - 1],
      keep_dims: true,
    });
    const toScores = mul(emit, weights, sub(emit, toWeights, level));
    const toProducts = mul(emit, toScores, scale);
    return {
      query: wants("query") ? emit.op("matmul", { x: toProducts, y: key }) : undefined,
      key: wants("key")
        ? emit.op("matmul", { x: toProducts, y: query, transpose_x: true })
        : undefined,
      value: wants("value")
        ? emit.op("matmul", { x: weights, y: gradient, transpose_x: true })
        : undefined,
      attn_mask: wants("attn_mask")
        ? reduceToShape(emit, toScores, shapeOf(operand("attn_mask")))
        : undefined,
    };
  },
} as const satisfies Partial<GradientTable>;
