import type { Value } from "../mil/program.ts";
import type { Activation } from "./config.ts";
import type { StageBuilder } from "./stage-builder.ts";

/** x [N, in] times a weight [out, in], with a bias [out] where the stage has one. */
export function linear(stage: StageBuilder, x: Value, layer: string): Value {
  const bias = `${layer}_bias`;
  const product = stage.op(
    "matmul",
    { x, y: stage.weight(`${layer}_weight`), transpose_y: true },
    stage.hasWeight(bias) ? `${layer}_product` : layer,
  );
  return stage.hasWeight(bias)
    ? stage.op("add", { x: product, y: stage.weight(bias) }, layer)
    : product;
}

/** x [N, in] times a weight [in, out] plus a bias [out]: gpt2's Conv1D. */
export function transposedLinear(stage: StageBuilder, x: Value, layer: string): Value {
  const y = stage.weight(`${layer}_weight`);
  const product = stage.op("matmul", { x, y }, `${layer}_product`);
  return stage.op("add", { x: product, y: stage.weight(`${layer}_bias`) }, layer);
}

function lastAxis(x: Value): number {
  return x.type.kind === "tensor" ? x.type.shape.length - 1 : 0;
}

/** x / sqrt(mean(x^2) + epsilon) * (weight + offset) over the last axis; `offset` is 1 in Gemma's families. */
export function rmsNorm(
  stage: StageBuilder,
  x: Value,
  layer: string,
  epsilon: number,
  offset = 0,
): Value {
  const square = stage.op("mul", { x, y: x }, `${layer}_square`);
  const mean = stage.op(
    "reduce_mean",
    { x: square, axes: [lastAxis(x)], keep_dims: true },
    `${layer}_mean_square`,
  );
  const scale = stage.op("rsqrt", { x: mean, epsilon }, `${layer}_scale`);
  const normal = stage.op("mul", { x, y: scale }, `${layer}_normal`);
  const weight = stage.weight(`${layer}_weight`);
  const y = offset === 0 ? weight : stage.op("add", { x: weight, y: offset }, `${layer}_factor`);
  return stage.op("mul", { x: normal, y }, layer);
}

/** Mean 0 and variance 1 over the last axis, then weight and bias. */
export function layerNorm(stage: StageBuilder, x: Value, layer: string, epsilon: number): Value {
  const normal = stage.op("layer_norm", { x, axes: [lastAxis(x)], epsilon }, `${layer}_normal`);
  const scaled = stage.op(
    "mul",
    { x: normal, y: stage.weight(`${layer}_weight`) },
    `${layer}_scaled`,
  );
  return stage.op("add", { x: scaled, y: stage.weight(`${layer}_bias`) }, layer);
}

/** An activation of the feed-forward part. */
export function activated(
  stage: StageBuilder,
  x: Value,
  activation: Activation,
  name?: string,
): Value {
  switch (activation) {
    case "silu":
      return stage.op("silu", { x }, name);
    case "relu":
      return stage.op("relu", { x }, name);
    case "gelu":
      return stage.op("gelu", { x, mode: "EXACT" }, name);
    case "gelu_tanh":
      return stage.op("gelu", { x, mode: "TANH_APPROXIMATION" }, name);
  }
}
