import type { Operand, Value } from "../../mil/program.ts";
import {
  broadcastTo,
  countOver,
  div,
  mul,
  reshapeTo,
  shapeOf,
  sub,
  tensorDataType,
  where,
} from "../emit.ts";
import { ZERO_GRADIENT } from "../rule.ts";
import type { GradientContext, GradientRule, GradientTable } from "../rule.ts";

type Reduction = GradientContext<"x" | "axes" | "keep_dims">;

/** A reduction's parts with the reduced axes kept at size 1, so that they broadcast over x. */
function keptAxes({ emit, gradient, output, operand, call }: Reduction) {
  const x = operand("x");
  const shape = shapeOf(x);
  const axes = call.axes("axes", shape.length);
  const kept = shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
  return {
    x,
    shape,
    axes,
    gradient: reshapeTo(emit, gradient, kept),
    output: (): Value => reshapeTo(emit, output, kept),
  };
}

/** x's gradient from the kept parts, where every element has a slope of its own. */
function reduction(
  derivative: (
    context: Reduction,
    gradient: Value,
    x: Operand,
    output: () => Value,
    axes: readonly number[],
  ) => Value,
): GradientRule<"x" | "axes" | "keep_dims"> {
  return (context) => {
    const { x, axes, gradient, output } = keptAxes(context);
    return { x: derivative(context, gradient, x, output, axes) };
  };
}

/** The extreme elements take the gradient in equal shares. */
const extremum = reduction(({ emit }, gradient, x, output, axes) => {
  const hits = emit.op("cast", {
    x: emit.op("equal", { x, y: output() }),
    dtype: tensorDataType(x),
  });
  const count = emit.op("reduce_sum", { x: hits, axes, keep_dims: true });
  return mul(emit, hits, div(emit, gradient, count));
});

export const REDUCTION_RULES = {
  reduce_argmax: ZERO_GRADIENT,
  reduce_argmin: ZERO_GRADIENT,
  reduce_l1_norm: reduction(({ emit }, gradient, x) => mul(emit, gradient, emit.op("sign", { x }))),
  // The norm of zeros has the slope 0, as elsewhere in the field.
  reduce_l2_norm: reduction(({ emit }, gradient, x, output) => {
    const norm = output();
    const safe = where(emit, emit.op("greater", { x: norm, y: 0 }), norm, 1);
    return mul(emit, x, div(emit, gradient, safe));
  }),
  reduce_log_sum: (context) => {
    const { x, shape, axes, gradient } = keptAxes(context);
    const { emit } = context;
    const sum = emit.op("reduce_sum", { x, axes, keep_dims: true });
    return { x: broadcastTo(emit, div(emit, gradient, sum), shape) };
  },
  reduce_log_sum_exp: reduction(({ emit }, gradient, x, output, axes) => {
    const [axis, ...others] = axes;
    const share =
      axis !== undefined && others.length === 0
        ? emit.op("softmax", { x, axis })
        : emit.op("exp", { x: sub(emit, x, output()) });
    return mul(emit, gradient, share);
  }),
  reduce_max: extremum,
  reduce_mean: (context) => {
    const { shape, axes, gradient } = keptAxes(context);
    const share = mul(context.emit, gradient, 1 / countOver(shape, axes));
    return { x: broadcastTo(context.emit, share, shape) };
  },
  reduce_min: extremum,
  // The product of the others: of the non-zero ones, where at most this element is zero.
  reduce_prod: reduction(({ emit }, gradient, x, _, axes) => {
    const zero = emit.op("equal", { x, y: 0 });
    const isZero = emit.op("cast", { x: zero, dtype: tensorDataType(x) });
    const safe = where(emit, zero, 1, x);
    const rest = emit.op("reduce_prod", { x: safe, axes, keep_dims: true });
    const zeros = emit.op("reduce_sum", { x: isZero, axes, keep_dims: true });
    const otherZeros = sub(emit, zeros, isZero);
    const others = where(emit, emit.op("equal", { x: otherZeros, y: 0 }), div(emit, rest, safe), 0);
    return mul(emit, gradient, others);
  }),
  reduce_sum: (context) => {
    const { shape, gradient } = keptAxes(context);
    return { x: broadcastTo(context.emit, gradient, shape) };
  },
  reduce_sum_square: reduction(({ emit }, gradient, x) => mul(emit, x, mul(emit, gradient, 2))),
} as const satisfies Partial<GradientTable>;
