import { operandOf } from "../mil/match.ts";
import { literalOf } from "../mil/program.ts";
import type { Operation, Value } from "../mil/program.ts";
import { sameShape } from "../mil/types.ts";
import { mul, reshapeTo, shapeOf } from "./emit.ts";
import type { GradientContext } from "./rule.ts";

/**
 * The sum over the last axis of softmax's result P times its gradient, where P only weighs rows: Y = P V.
 * P's gradient is then G V', and sum((G V') P) over the columns of P is sum(G Y) over those of V. Attention
 * has fewer channels than positions, so this saves two passes over the scores. Nothing where P is used otherwise.
 */
export function weightedSum(context: GradientContext<never>): Value | undefined {
  const { emit, output, gradient } = context;
  const weights = followReshapes(output, context);
  const product = onlyReader(weights, context);
  if (product?.type !== "matmul" || operandOf(product, "x") !== weights) return undefined;
  const [result] = product.outputs;
  const values = operandOf(product, "y");
  const back = writerBeforeReshapes(gradient, context);
  if (result === undefined || values === undefined || back?.type !== "matmul") return undefined;
  const [backResult] = back.outputs;
  const resultGradient = operandOf(back, "x");
  const isTransposed = flag(product, "transpose_y");
  const isGradientOfProduct =
    operandOf(back, "y") === values &&
    flag(back, "transpose_y") !== isTransposed &&
    !flag(back, "transpose_x") &&
    !flag(product, "transpose_x") &&
    resultGradient !== undefined &&
    sameShape(shapeOf(resultGradient), shapeOf(result)) &&
    backResult !== undefined &&
    sameShape(shapeOf(backResult), shapeOf(weights));
  if (!isGradientOfProduct) return undefined;
  const shape = shapeOf(output);
  if ((shapeOf(result).at(-1) ?? 1) > (shape.at(-1) ?? 1)) return undefined;
  const axis = shapeOf(result).length - 1;
  const sum = emit.op("reduce_sum", {
    x: mul(emit, resultGradient, result),
    axes: [axis],
    keep_dims: true,
  });
  return reshapeTo(emit, sum, [...shape.slice(0, -1), 1]);
}

/** The value behind reshapes that leave the rows of the last axis whole and have no other reader. */
function followReshapes(value: Value, context: GradientContext<never>): Value {
  const reader = onlyReader(value, context);
  const [result] = reader?.outputs ?? [];
  if (reader?.type !== "reshape" || result === undefined) return value;
  return shapeOf(result).at(-1) === shapeOf(value).at(-1) ? followReshapes(result, context) : value;
}

function onlyReader(value: Value, { readersOf }: GradientContext<never>): Operation | undefined {
  const readers = readersOf(value);
  return readers.length === 1 ? readers[0] : undefined;
}

function writerBeforeReshapes(
  value: Value,
  context: GradientContext<never>,
): Operation | undefined {
  const writer = context.writerOf(value);
  if (writer?.type !== "reshape") return writer;
  const source = operandOf(writer, "x");
  return source?.kind === "value" ? writerBeforeReshapes(source, context) : undefined;
}

function flag(operation: Operation, name: string): boolean {
  const operand = operandOf(operation, name);
  const literal = operand === undefined ? undefined : literalOf(operand);
  return literal?.data.kind === "numbers" && Number(literal.data.numbers[0]) !== 0;
}
