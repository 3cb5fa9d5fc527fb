import { div, mul, negate, sub, uniformNumber, where } from "../emit.ts";
import { ZERO_GRADIENT } from "../rule.ts";
import type { GradientRule, GradientTable } from "../rule.ts";

/** The larger (smaller) operand takes the gradient; equal ones share it. */
function extremum(wins: "greater" | "less"): GradientRule<"x" | "y"> {
  return ({ emit, gradient, operand }) => {
    const x = operand("x");
    const y = operand("y");
    const half = where(emit, emit.op("equal", { x, y }), mul(emit, gradient, 0.5), 0);
    return {
      x: where(emit, emit.op(wins, { x, y }), gradient, half),
      y: where(emit, emit.op(wins, { x: y, y: x }), gradient, half),
    };
  };
}

export const ELEMENTWISE_BINARY_RULES = {
  add: ({ gradient }) => ({ x: gradient, y: gradient }),
  sub: ({ emit, gradient, wants }) => ({
    x: gradient,
    y: wants("y") ? negate(emit, gradient) : undefined,
  }),
  mul: ({ emit, gradient, operand, wants }) => {
    const x = operand("x");
    const y = operand("y");
    // A square: one product instead of two equal ones and their sum.
    if (x === y) return { x: mul(emit, mul(emit, gradient, 2), x) };
    return {
      x: wants("x") ? mul(emit, gradient, y) : undefined,
      y: wants("y") ? mul(emit, gradient, x) : undefined,
    };
  },
  real_div: ({ emit, gradient, operand, output, wants }) => {
    const quotient = div(emit, gradient, operand("y"));
    return { x: quotient, y: wants("y") ? negate(emit, mul(emit, quotient, output)) : undefined };
  },
  floor_div: ZERO_GRADIENT,
  // x - y floor(x / y)
  mod: ({ emit, gradient, operand, wants }) => ({
    x: gradient,
    y: wants("y")
      ? negate(
          emit,
          mul(emit, gradient, emit.op("floor_div", { x: operand("x"), y: operand("y") })),
        )
      : undefined,
  }),
  maximum: extremum("greater"),
  minimum: extremum("less"),
  pow: ({ emit, gradient, operand, output, wants }) => {
    const x = operand("x");
    const y = operand("y");
    const exponent = uniformNumber(y);
    const slope =
      exponent === 2
        ? mul(emit, x, 2)
        : exponent === undefined
          ? mul(emit, y, emit.op("pow", { x, y: sub(emit, y, 1) }))
          : mul(emit, emit.op("pow", { x, y: exponent - 1 }), exponent);
    if (!wants("y")) return { x: mul(emit, gradient, slope) };
    // The logarithm of a base that is not positive counts as 0, as elsewhere in the field.
    const positive = emit.op("greater", { x, y: 0 });
    const logarithm = emit.op("log", { x: where(emit, positive, x, 1) });
    return {
      x: mul(emit, gradient, slope),
      y: mul(emit, gradient, mul(emit, output, logarithm)),
    };
  },
  select: ({ emit, gradient, operand, wants }) => ({
    a: wants("a") ? where(emit, operand("cond"), gradient, 0) : undefined,
    b: wants("b") ? where(emit, operand("cond"), 0, gradient) : undefined,
  }),
  equal: ZERO_GRADIENT,
  not_equal: ZERO_GRADIENT,
  less: ZERO_GRADIENT,
  less_equal: ZERO_GRADIENT,
  greater: ZERO_GRADIENT,
  greater_equal: ZERO_GRADIENT,
  logical_and: ZERO_GRADIENT,
  logical_or: ZERO_GRADIENT,
  logical_xor: ZERO_GRADIENT,
} as const satisfies Partial<GradientTable>;
