import type { Value } from "../mil/program.ts";
import type { StageBuilder } from "./stage-builder.ts";

/** x [N, in] times a weight [out, in], with a bias [out] where the stage has one. */
export function linear(stage: StageBuilder, x: Value, layer: string): Value {
  const product = stage.op("matmul", {
    x,
    y: stage.weight(`${layer}_weight`),
    transpose_y: true,
  });
  const bias = `${layer}_bias`;
  return stage.hasWeight(bias) ? stage.op("add", { x: product, y: stage.weight(bias) }) : product;
}

/** x [N, in] times a weight [in, out] plus a bias [out]: gpt2's Conv1D. */
export function transposedLinear(stage: StageBuilder, x: Value, layer: string): Value {
  const product = stage.op("matmul", { x, y: stage.weight(`${layer}_weight`) });
  return stage.op("add", { x: product, y: stage.weight(`${layer}_bias`) });
}

function lastAxis(x: Value): number {
  return x.type.kind === "tensor" ? x.type.shape.length - 1 : 0;
}

/** x / sqrt(mean(x^2) + epsilon) * weight over the last axis. */
export function rmsNorm(stage: StageBuilder, x: Value, layer: string, epsilon: number): Value {
  const square = stage.op("mul", { x, y: x });
  const mean = stage.op("reduce_mean", { x: square, axes: [lastAxis(x)], keep_dims: true });
  const scale = stage.op("rsqrt", { x: mean, epsilon });
  const normal = stage.op("mul", { x, y: scale });
  return stage.op("mul", { x: normal, y: stage.weight(`${layer}_weight`) });
}

/** Mean 0 and variance 1 over the last axis, then weight and bias. */
export function layerNorm(stage: StageBuilder, x: Value, layer: string, epsilon: number): Value {
  const normal = stage.op("layer_norm", { x, axes: [lastAxis(x)], epsilon });
  const scaled = stage.op("mul", { x: normal, y: stage.weight(`${layer}_weight`) });
  return stage.op("add", { x: scaled, y: stage.weight(`${layer}_bias`) });
}
