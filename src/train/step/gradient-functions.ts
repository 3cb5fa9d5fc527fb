import { FunctionBuilder } from "../../mil/builder.ts";
import { scalarLiteral, stringLiteral } from "../../mil/literal.ts";
import { namedValue, plainOperation } from "../../mil/program.ts";
import type { MilFunction, Operand, Operation, Value } from "../../mil/program.ts";
import { replaceOperands } from "../../mil/traverse.ts";
import { staticShape, tensorType } from "../../mil/types.ts";
import type { TensorType } from "../../mil/types.ts";
import type { WeightSpec } from "../../model/weights.ts";
import { TrainError } from "../errors.ts";

/**
 * The sum of squares of all gradients of a stage, fp32 []; inputs are named as the weights' parameters, fp32 or fp16.
 */
export function sumOfSquares(
  name: string,
  gradients: readonly Pick<WeightSpec, "parameter" | "type">[],
): MilFunction {
  const f = new FunctionBuilder(name);
  let sum: Value | undefined;
  for (const { parameter, type } of gradients) {
    const x = singles(f, f.input(parameter, type));
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

/** fp32 of an input that may be fp16. */
export function singles(f: FunctionBuilder, x: Value): Value {
  const isHalf = x.type.kind === "tensor" && x.type.dataType === "fp16";
  return isHalf ? f.op("cast", { x, dtype: "fp32" }) : x;
}

/** A function some of whose results are rounded to fp16, under their names. */
export function withHalfOutputs(fn: MilFunction, names: readonly string[]): MilFunction {
  const singlesOf = new Map<Operand, Value>(
    fn.outputs.flatMap((output) =>
      names.includes(output.name)
        ? [[output, Object.freeze({ ...output, name: `${output.name}_single` })]]
        : [],
    ),
  );
  if (singlesOf.size === 0) return fn;
  const swap = (operand: Operand): Operand => singlesOf.get(operand) ?? operand;
  const casts: Operation[] = [];
  const outputs = fn.outputs.map((output) => {
    const x = singlesOf.get(output);
    if (x?.type.kind !== "tensor") return output;
    const type = tensorType("fp16", staticShape(x.type));
    const half = namedValue(output.name, type);
    casts.push(plainOperation("cast", { x, dtype: stringLiteral("fp16") }, [half]));
    return half;
  });
  const operations = fn.operations.map((operation) =>
    Object.freeze({
      ...replaceOperands(operation, swap),
      outputs: operation.outputs.map((output) => singlesOf.get(output) ?? output),
    }),
  );
  return Object.freeze({ ...fn, operations: [...operations, ...casts], outputs });
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
