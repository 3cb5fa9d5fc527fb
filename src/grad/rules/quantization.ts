import { asValue, mul, reshapeTo, shapeOf, sub, tensorDataType } from "../emit.ts";
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
      const spread = shape.map((size, other) => (other === axis ? size : 1));
      const along =
        shapeOf(zero).length === 0 ? zero : reshapeTo(emit, asValue(emit, zero), spread);
      steps = sub(emit, steps, along);
    }
    const product = mul(emit, gradient, steps);
    const axes = shape.map((_, other) => other).filter((other) => !isVector || other !== axis);
    return {
      scale:
        axes.length === 0 ? product : emit.op("reduce_sum", { x: product, axes, keep_dims: false }),
    };
  },
} as const satisfies Partial<GradientTable>;
