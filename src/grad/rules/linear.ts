import type { FunctionBuilder } from "../../mil/builder.ts";
import type { Operand, Value } from "../../mil/program.ts";
import { elementCount } from "../../mil/types.ts";
import { asValue, reduceToShape, reshapeTo, shapeOf } from "../emit.ts";
import type { GradientTable } from "../rule.ts";

function product(
  e: FunctionBuilder,
  x: Operand,
  y: Operand,
  transposeX: boolean,
  transposeY: boolean,
): Value {
  return e.op("matmul", {
    x,
    y,
    ...(transposeX && { transpose_x: true }),
    ...(transposeY && { transpose_y: true }),
  });
}

/** All leading axes as one: [..., R, C] becomes [... R, C]. */
function asMatrix(e: FunctionBuilder, x: Value): Value {
  const shape = shapeOf(x);
  const columns = shape.at(-1) ?? 1;
  return reshapeTo(e, x, [elementCount(shape.slice(0, -1)), columns]);
}

/**
 * y's gradient where y is one matrix for a whole stack of x: the sum over the stack is part of one product of
 * flattened matrices.
 */
function sharedMatrixGradient(
  e: FunctionBuilder,
  x: Value,
  gradient: Value,
  transposed: boolean,
): Value {
  const left = asMatrix(e, x);
  const right = asMatrix(e, gradient);
  return transposed ? product(e, right, left, true, false) : product(e, left, right, true, false);
}

export const LINEAR_RULES = {
  matmul: ({ emit, gradient, operand, call, wants }) => {
    const transposeX = call.bool("transpose_x");
    const transposeY = call.bool("transpose_y");
    const xShape = shapeOf(operand("x"));
    const yShape = shapeOf(operand("y"));
    // A vector is one row on the left and one column on the right.
    const xMatrix = xShape.length === 1 ? [1, ...xShape] : xShape;
    const yMatrix = yShape.length === 1 ? [...yShape, 1] : yShape;
    const x = reshapeTo(emit, asValue(emit, operand("x")), xMatrix);
    const y = reshapeTo(emit, asValue(emit, operand("y")), yMatrix);
    const resultShape = [...shapeOf(gradient)];
    if (yShape.length === 1) resultShape.push(1);
    if (xShape.length === 1) resultShape.splice(-1, 0, 1);
    const g = reshapeTo(emit, gradient, resultShape);

    const yIsShared =
      elementCount(yMatrix.slice(0, -2)) === 1 && elementCount(xMatrix.slice(0, -2)) > 1;
    const xGradient = (): Value =>
      transposeX ? product(emit, y, g, transposeY, true) : product(emit, g, y, false, !transposeY);
    const yGradient = (): Value => {
      // Axes of 1 before the matrix count for nothing in the sum.
      if (yIsShared && !transposeX)
        return reshapeTo(emit, sharedMatrixGradient(emit, x, g, transposeY), yMatrix);
      return transposeY
        ? product(emit, g, x, true, transposeX)
        : product(emit, x, g, !transposeX, false);
    };
    const shaped = (value: Value, matrix: readonly number[], shape: readonly number[]): Value =>
      reshapeTo(emit, reduceToShape(emit, value, matrix), shape);
    return {
      x: wants("x") ? shaped(xGradient(), xMatrix, xShape) : undefined,
      y: wants("y") ? shaped(yGradient(), yMatrix, yShape) : undefined,
    };
  },

  // x [..., I], weight [O, I], bias [O]
  linear: ({ emit, gradient, operand, wants }) => ({
    x: wants("x") ? product(emit, gradient, operand("weight"), false, false) : undefined,
    weight: wants("weight")
      ? sharedMatrixGradient(emit, asValue(emit, operand("x")), gradient, true)
      : undefined,
    bias: wants("bias") ? gradient : undefined,
  }),
} as const satisfies Partial<GradientTable>;
