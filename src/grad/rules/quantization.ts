import { alongAxes, mul, shapeOf, sub, sumOverOthers, tensorDataType } from "../emit.ts";
import type { GradientTable } from "../rule.ts";

export const QUANTIZATION_RULES = {
  // y = scale (x - zero point), of which only the scale is a float; it may run along one axis.
  dequantize: ({ emit, gradient, operand, call }) => {
    const dataType = tensorDataType(operand("scale"));
    const shape = shapeOf(gradient);
    const axis = call.has("axis") ? call.axis("axis", shape.length) : -1;
    const isVector = shapeOf(operand("scale")).length === 1;
    let steps = emit.op("cast", { x: operand("input"), dtype: dataType });
    if (call.has("zero_point")) {
      const zero = emit.op("cast", { x: operand("zero_point"), dtype: dataType });
      const isNumber = shapeOf(zero).length === 0;
      steps = sub(emit, steps, isNumber ? zero : alongAxes(emit, zero, shape, [axis]));
    }
    return { scale: sumOverOthers(emit, mul(emit, gradient, steps), isVector ? [axis] : []) };
  },
} as const satisfies Partial<GradientTable>;
