import { filled, int32s, reshapeTo, shapeOf, tensorDataType } from "../emit.ts";
import { ZERO_GRADIENT } from "../rule.ts";
import type { GradientRule, GradientTable } from "../rule.ts";

/** The same numbers under another shape. */
const reshaped: GradientRule<"x"> = ({ emit, gradient, shape }) => ({
  x: reshapeTo(emit, gradient, shape("x")),
});

export const TENSOR_TRANSFORMATION_RULES = {
  reshape: reshaped,
  expand_dims: reshaped,
  squeeze: reshaped,
  flatten2d: reshaped,
  transpose: ({ emit, gradient, call, shape }) => {
    const rank = shape("x").length;
    const perm = call.ints("perm").map((axis) => call.normalizeAxis(axis, rank));
    return {
      x: emit.op("transpose", { x: gradient, perm: perm.map((_, axis) => perm.indexOf(axis)) }),
    };
  },
  reverse: ({ emit, gradient, call, shape }) => ({
    x: emit.op("reverse", { x: gradient, axes: call.axes("axes", shape("x").length) }),
  }),
  reverse_sequence: ({ emit, gradient, operand, call }) => ({
    x: emit.op("reverse_sequence", {
      x: gradient,
      lengths: operand("lengths"),
      seq_axis: call.int("seq_axis"),
      batch_axis: call.int("batch_axis"),
    }),
  }),
  // Windows overlap: every element collects what the windows it stands in hand back.
  sliding_windows: ({ emit, gradient, operand, call, shape }) => {
    const from = shape("x");
    const axis = call.axis("axis", from.length);
    const [windows = 1, size = 1] = shapeOf(gradient).slice(axis);
    const stride = call.int("stride");
    const places = Array.from(
      { length: windows * size },
      (_, index) => Math.floor(index / size) * stride + (index % size),
    );
    const flat = from.with(axis, places.length);
    return {
      x: emit.op("scatter", {
        data: filled(emit, tensorDataType(operand("x")), from, 0),
        indices: int32s(places, [places.length]),
        updates: reshapeTo(emit, gradient, flat),
        axis,
        mode: "add",
      }),
    };
  },
  shape: ZERO_GRADIENT,
} as const satisfies Partial<GradientTable>;
