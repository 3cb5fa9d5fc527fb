import { FunctionBuilder } from "../../mil/builder.ts";
import { scalarLiteral } from "../../mil/literal.ts";
import type { MilFunction, Value } from "../../mil/program.ts";
import { tensorType } from "../../mil/types.ts";
import type { TensorType } from "../../mil/types.ts";
import type { WeightSpec } from "../../model/weights.ts";
import { TrainError } from "../errors.ts";

/** The sum of squares of all gradients of a stage, fp32 []; inputs are named as the weights' parameters. */
export function sumOfSquares(name: string, weights: readonly WeightSpec[]): MilFunction {
  const f = new FunctionBuilder(name);
  let sum: Value | undefined;
  for (const { parameter, type } of weights) {
    const x = f.input(parameter, type);
    const part = f.op("reduce_sum_square", {
      x,
      axes: type.shape.map((_, axis) => axis),
      keep_dims: false,
    });
    sum = sum === undefined ? part : f.op("add", { x: sum, y: part });
  }
  if (sum === undefined)
    throw new TrainError("train.plan.weights", `"${name}" has no weights to sum over`);
  return f.finish({ sum });
}

/**
 * The gradient of a table of which rows were gathered: rows of `gradient` [N, C] added at rows `indices`
 * int32 [N] of zeros [V, C].
 */
export function embeddingGradient(
  vocabularySize: number,
  channelCount: number,
  rowCount: number,
): MilFunction {
  const f = new FunctionBuilder("embedding_gradient");
  const indices = f.input("indices", tensorType("int32", [rowCount]));
  const updates = f.input("gradient", tensorType("fp32", [rowCount, channelCount]));
  const data = f.op("fill", {
    shape: [vocabularySize, channelCount],
    value: scalarLiteral("fp32", 0),
  });
  return f.finish({
    table_gradient: f.op("scatter", { data, indices, updates, axis: 0, mode: "add" }),
  });
}

/** `gradient` [N, C] times a number. */
export function scaledRows(type: TensorType, scale: number): MilFunction {
  const f = new FunctionBuilder("embedding_scale");
  const gradient = f.input("gradient", type);
  return f.finish({ scaled: f.op("mul", { x: gradient, y: scale }) });
}
