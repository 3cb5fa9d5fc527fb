import type { FunctionBuilder } from "../../mil/builder.ts";
import type { Operand, Value } from "../../mil/program.ts";
import {
  add,
  alongAxes,
  between,
  div,
  mul,
  shapeOf,
  square,
  sub,
  sumOverOthers,
  where,
} from "../emit.ts";
import { unary } from "../rule.ts";
import type { GradientTable } from "../rule.ts";
import { weightedSum } from "../weighted-sum.ts";

const sigmoid = (e: FunctionBuilder, x: Operand): Value => e.op("sigmoid", { x });
const notNegative = (e: FunctionBuilder, x: Operand): Value => e.op("greater_equal", { x, y: 0 });

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

/** Settings of prelu and softplus_parametric hold one number a channel. */
const CHANNELS = [1];

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
  gelu: unary((e, g, x, y, call) => {
    const mode = call.string("mode");
    const slope = GELU_SLOPES[mode];
    if (slope === undefined) throw call.fail(`mode "${mode}" has no derivative`);
    return mul(e, g, slope(e, x, y));
  }),
  clamped_relu: unary((e, g, x, y, call) => {
    const leaking = where(e, notNegative(e, x), g, mul(e, g, call.float("alpha")));
    return where(e, e.op("less", { x: y, y: call.float("beta") }), leaking, 0);
  }),
  elu: unary((e, g, x, y, call) =>
    where(e, notNegative(e, x), g, mul(e, g, add(e, y, call.float("alpha")))),
  ),
  leaky_relu: unary((e, g, x, _, call) =>
    where(e, notNegative(e, x), g, mul(e, g, call.float("alpha"))),
  ),
  linear_activation: unary((e, g, _, __, call) => mul(e, g, call.float("alpha"))),
  scaled_tanh: unary((e, g, x, _, call) => {
    const beta = call.float("beta");
    const t = e.op("tanh", { x: mul(e, x, beta) });
    return mul(e, g, mul(e, sub(e, 1, square(e, t)), call.float("alpha") * beta));
  }),
  sigmoid_hard: unary((e, g, _, y, call) =>
    where(e, between(e, y, 0, 1), mul(e, g, call.float("alpha")), 0),
  ),
  thresholded_relu: unary((e, g, x, _, call) =>
    where(e, e.op("greater_equal", { x, y: call.float("alpha") }), g, 0),
  ),
  prelu: ({ emit, gradient, operand }) => {
    const x = operand("x");
    const positive = notNegative(emit, x);
    const alpha = alongAxes(emit, operand("alpha"), shapeOf(x), CHANNELS);
    return {
      x: where(emit, positive, gradient, mul(emit, gradient, alpha)),
      alpha: sumOverOthers(emit, where(emit, positive, 0, mul(emit, gradient, x)), CHANNELS),
    };
  },
  // alpha softplus(beta x)
  softplus_parametric: ({ emit, gradient, operand }) => {
    const x = operand("x");
    const alpha = alongAxes(emit, operand("alpha"), shapeOf(x), CHANNELS);
    const beta = alongAxes(emit, operand("beta"), shapeOf(x), CHANNELS);
    const inner = mul(emit, x, beta);
    const slope = mul(emit, mul(emit, gradient, alpha), sigmoid(emit, inner));
    const curve = emit.op("softplus", { x: inner });
    return {
      x: mul(emit, slope, beta),
      alpha: sumOverOthers(emit, mul(emit, gradient, curve), CHANNELS),
      beta: sumOverOthers(emit, mul(emit, slope, x), CHANNELS),
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
