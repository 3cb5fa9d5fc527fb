import type { FunctionBuilder } from "../../mil/builder.ts";
import type { Operand, Value } from "../../mil/program.ts";
import { add, div, mul, reshapeTo, asValue, shapeOf, square, sub, where } from "../emit.ts";
import type { GradientRule, GradientTable } from "../rule.ts";
import { weightedSum } from "../weighted-sum.ts";

function unary(
  derivative: (e: FunctionBuilder, g: Value, x: Operand, y: Value) => Value,
): GradientRule<"x"> {
  return ({ emit, gradient, operand, output }) => ({
    x: derivative(emit, gradient, operand("x"), output),
  });
}

const sigmoid = (e: FunctionBuilder, x: Operand): Value => e.op("sigmoid", { x });
const notNegative = (e: FunctionBuilder, x: Operand): Value => e.op("greater_equal", { x, y: 0 });

function between(e: FunctionBuilder, x: Operand, low: number, high: number): Value {
  return e.op("logical_and", {
    x: e.op("greater", { x, y: low }),
    y: e.op("less", { x, y: high }),
  });
}

/** Slopes of the three curves called gelu. */
const GELU_SLOPES: Readonly<Record<string, (e: FunctionBuilder, x: Operand, y: Value) => Value>> = {
  // P(x) + x p(x), with P and p the normal distribution and its density.
  EXACT: (e, x) => {
    const distribution = mul(e, add(e, e.op("erf", { x: mul(e, x, Math.SQRT1_2) }), 1), 0.5);
    const density = mul(
      e,
      e.op("exp", { x: mul(e, square(e, x), -0.5) }),
      1 / Math.sqrt(2 * Math.PI),
    );
    return add(e, distribution, mul(e, x, density));
  },
  // x s with s = sigmoid(v), v = x (b + c x^2), which is (1 + tanh(v / 2)) / 2 with fewer steps:
  // s + x s (1 - s) (b + 3 c x^2).
  TANH_APPROXIMATION: (e, x, y) => {
    const b = 2 * Math.sqrt(2 / Math.PI);
    const c = 0.044715 * b;
    const squared = square(e, x);
    const s = sigmoid(e, mul(e, x, add(e, mul(e, squared, c), b)));
    const steepness = add(e, mul(e, squared, 3 * c), b);
    return add(e, s, mul(e, mul(e, y, sub(e, 1, s)), steepness));
  },
  // y = x s with s = sigmoid(1.702 x): s + 1.702 y (1 - s).
  SIGMOID_APPROXIMATION: (e, x, y) => {
    const s = sigmoid(e, mul(e, x, 1.702));
    return add(e, s, mul(e, mul(e, y, 1.702), sub(e, 1, s)));
  },
};

/** Numbers of one channel each, in the shape that broadcasts over `x` (channels are axis 1). */
function alongChannels(e: FunctionBuilder, numbers: Operand, x: Operand): Value {
  const shape = shapeOf(x).map((size, axis) => (axis === 1 ? size : 1));
  return reshapeTo(e, asValue(e, numbers), shape);
}

function sumOverAllButChannels(e: FunctionBuilder, x: Value): Value {
  const axes = shapeOf(x)
    .map((_, axis) => axis)
    .filter((axis) => axis !== 1);
  return axes.length === 0 ? x : e.op("reduce_sum", { x, axes, keep_dims: false });
}

export const ACTIVATION_RULES = {
  relu: unary((e, g, _, y) => where(e, e.op("greater", { x: y, y: 0 }), g, 0)),
  relu6: unary((e, g, _, y) => where(e, between(e, y, 0, 6), g, 0)),
  sigmoid: unary((e, g, _, y) => mul(e, g, mul(e, y, sub(e, 1, y)))),
  // s + y (1 - s), with s = sigmoid(x) and y = x s.
  silu: unary((e, g, x, y) => {
    const s = sigmoid(e, x);
    return mul(e, g, add(e, s, mul(e, y, sub(e, 1, s))));
  }),
  softplus: unary((e, g, x) => mul(e, g, sigmoid(e, x))),
  softsign: unary((e, g, x) => div(e, g, square(e, add(e, e.op("abs", { x }), 1)))),
  gelu: ({ emit, gradient, operand, output, call }) => {
    const mode = call.string("mode");
    const slope = GELU_SLOPES[mode];
    if (slope === undefined) throw call.fail(`mode "${mode}" has no derivative`);
    return { x: mul(emit, gradient, slope(emit, operand("x"), output)) };
  },
  clamped_relu: ({ emit, gradient, operand, output, call }) => {
    const leaking = where(
      emit,
      notNegative(emit, operand("x")),
      gradient,
      mul(emit, gradient, call.float("alpha")),
    );
    const below = emit.op("less", { x: output, y: call.float("beta") });
    return { x: where(emit, below, leaking, 0) };
  },
  elu: ({ emit, gradient, operand, output, call }) => ({
    x: where(
      emit,
      notNegative(emit, operand("x")),
      gradient,
      mul(emit, gradient, add(emit, output, call.float("alpha"))),
    ),
  }),
  leaky_relu: ({ emit, gradient, operand, call }) => ({
    x: where(
      emit,
      notNegative(emit, operand("x")),
      gradient,
      mul(emit, gradient, call.float("alpha")),
    ),
  }),
  linear_activation: ({ emit, gradient, call }) => ({
    x: mul(emit, gradient, call.float("alpha")),
  }),
  scaled_tanh: ({ emit, gradient, operand, call }) => {
    const beta = call.float("beta");
    const t = emit.op("tanh", { x: mul(emit, operand("x"), beta) });
    const slope = mul(emit, sub(emit, 1, square(emit, t)), call.float("alpha") * beta);
    return { x: mul(emit, gradient, slope) };
  },
  sigmoid_hard: ({ emit, gradient, output, call }) => ({
    x: where(emit, between(emit, output, 0, 1), mul(emit, gradient, call.float("alpha")), 0),
  }),
  thresholded_relu: ({ emit, gradient, operand, call }) => ({
    x: where(
      emit,
      emit.op("greater_equal", { x: operand("x"), y: call.float("alpha") }),
      gradient,
      0,
    ),
  }),
  prelu: ({ emit, gradient, operand }) => {
    const x = operand("x");
    const positive = notNegative(emit, x);
    const alpha = alongChannels(emit, operand("alpha"), x);
    return {
      x: where(emit, positive, gradient, mul(emit, gradient, alpha)),
      alpha: sumOverAllButChannels(emit, where(emit, positive, 0, mul(emit, gradient, x))),
    };
  },
  // alpha softplus(beta x)
  softplus_parametric: ({ emit, gradient, operand }) => {
    const x = operand("x");
    const alpha = alongChannels(emit, operand("alpha"), x);
    const beta = alongChannels(emit, operand("beta"), x);
    const inner = mul(emit, x, beta);
    const slope = mul(emit, mul(emit, gradient, alpha), sigmoid(emit, inner));
    const curve = emit.op("softplus", { x: inner });
    return {
      x: mul(emit, slope, beta),
      alpha: sumOverAllButChannels(emit, mul(emit, gradient, curve)),
      beta: sumOverAllButChannels(emit, mul(emit, slope, x)),
    };
  },
  // y (g - sum(g y))
  softmax: (context) => {
    const { emit, gradient, output, call } = context;
    const rank = shapeOf(output).length;
    const axis = call.axis("axis", rank);
    const sum =
      (axis === rank - 1 ? weightedSum(context) : undefined) ??
      emit.op("reduce_sum", { x: mul(emit, gradient, output), axes: [axis], keep_dims: true });
    return { x: mul(emit, output, sub(emit, gradient, sum)) };
  },
} as const satisfies Partial<GradientTable>;
