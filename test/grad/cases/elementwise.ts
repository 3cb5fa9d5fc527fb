import type { OpName } from "../../../src/mil/ops/index.ts";
import type { CaseBuilder } from "../../helpers/finite-differences.ts";
import type { DrawCase } from "./case.ts";

type BinaryName = "add" | "sub" | "mul" | "real_div" | "mod" | "maximum" | "minimum" | "pow";
type UnaryName =
  | "abs"
  | "acos"
  | "asin"
  | "atan"
  | "atanh"
  | "cos"
  | "cosh"
  | "erf"
  | "exp"
  | "exp2"
  | "sin"
  | "sinh"
  | "sqrt"
  | "square"
  | "tan"
  | "tanh"
  | "inverse"
  | "log"
  | "rsqrt"
  | "identity"
  | "relu"
  | "relu6"
  | "sigmoid"
  | "silu"
  | "softplus"
  | "softsign";

/** Both operands broadcast to a common shape; sometimes one is a constant of the program. */
function binary(type: BinaryName, low = -2, high = 2): DrawCase {
  return (c) => {
    const shape = c.shape();
    const x = c.float("x", c.broadcastable(shape), low, high);
    const y = c.float("y", c.broadcastable(shape), low, high);
    return [c.f.op(type, { x, y })];
  };
}

function unary(type: UnaryName, low = -2, high = 2): DrawCase {
  return (c) => [c.f.op(type, { x: c.float("x", c.shape(), low, high) })];
}

type AlphaName = "elu" | "leaky_relu" | "thresholded_relu" | "threshold";
function withAlpha(type: AlphaName): DrawCase {
  return (c) => [c.f.op(type, { x: c.float("x", c.shape(1)), alpha: 0.1 + c.random.uniform() })];
}

type AlphaBetaName = "clamped_relu" | "linear_activation" | "scaled_tanh" | "sigmoid_hard" | "clip";
function withAlphaAndBeta(type: AlphaBetaName, beta: (c: CaseBuilder) => number): DrawCase {
  return (c) => [
    c.f.op(type, {
      x: c.float("x", c.shape(1)),
      alpha: 0.1 + 0.4 * c.random.uniform(),
      beta: beta(c),
    }),
  ];
}

const upToOne = (c: CaseBuilder): number => 0.5 + 0.5 * c.random.uniform();

export const ELEMENTWISE_CASES: Partial<Record<OpName, DrawCase>> = {
  add: binary("add"),
  sub: binary("sub"),
  mul: binary("mul"),
  real_div: binary("real_div", 0.5, 2),
  mod: binary("mod", 0.3, 4),
  maximum: binary("maximum"),
  minimum: binary("minimum"),
  pow: (c) => {
    if (c.chance(0.4)) return binary("pow", 0.3, 2)(c);
    const x = c.float("x", c.shape(), -2, 2);
    return [c.f.op("pow", { x, y: c.pick([1, 2, 3]) })];
  },
  select: (c) => {
    const shape = c.shape();
    const cond = c.bools("cond", c.broadcastable(shape));
    const a = c.float("a", c.broadcastable(shape));
    const b = c.float("b", c.broadcastable(shape));
    return [c.f.op("select", { cond, a, b })];
  },
  abs: unary("abs"),
  acos: unary("acos", -0.8, 0.8),
  asin: unary("asin", -0.8, 0.8),
  atan: unary("atan"),
  atanh: unary("atanh", -0.8, 0.8),
  cos: unary("cos"),
  cosh: unary("cosh"),
  erf: unary("erf"),
  exp: unary("exp"),
  exp2: unary("exp2"),
  sin: unary("sin"),
  sinh: unary("sinh"),
  sqrt: unary("sqrt", 0.2, 3),
  square: unary("square"),
  tan: unary("tan", -1, 1),
  tanh: unary("tanh"),
  inverse: (c) => {
    const x = c.float("x", c.shape(), 0.4, 3);
    return [c.f.op("inverse", c.chance() ? { x } : { x, epsilon: 0.1 })];
  },
  log: (c) => {
    const x = c.float("x", c.shape(), 0.3, 3);
    return [c.f.op("log", c.chance() ? { x } : { x, epsilon: 0.1 })];
  },
  rsqrt: (c) => {
    const x = c.float("x", c.shape(), 0.3, 3);
    return [c.f.op("rsqrt", c.chance() ? { x } : { x, epsilon: 0.1 })];
  },
  clip: withAlphaAndBeta("clip", upToOne),
  threshold: withAlpha("threshold"),
  cast: (c) => {
    const half = c.f.op("cast", { x: c.float("x", c.shape()), dtype: "fp16" });
    return [c.f.op("cast", { x: c.f.op("square", { x: half }), dtype: "fp32" })];
  },
  identity: unary("identity"),
  relu: unary("relu"),
  relu6: unary("relu6", -3, 9),
  sigmoid: unary("sigmoid"),
  silu: unary("silu", -4, 4),
  softplus: unary("softplus"),
  softsign: unary("softsign"),
  gelu: (c) => [
    c.f.op("gelu", {
      x: c.float("x", c.shape(), -3, 3),
      mode: c.pick(["EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"]),
    }),
  ],
  clamped_relu: withAlphaAndBeta("clamped_relu", upToOne),
  elu: withAlpha("elu"),
  leaky_relu: withAlpha("leaky_relu"),
  linear_activation: withAlphaAndBeta("linear_activation", upToOne),
  scaled_tanh: withAlphaAndBeta("scaled_tanh", upToOne),
  sigmoid_hard: withAlphaAndBeta("sigmoid_hard", upToOne),
  thresholded_relu: withAlpha("thresholded_relu"),
  prelu: (c) => {
    const shape = c.shape(3, 4);
    const alpha = c.float("alpha", [shape[1] ?? 1]);
    return [c.f.op("prelu", { x: c.float("x", shape), alpha })];
  },
  softplus_parametric: (c) => {
    const shape = c.shape(3, 4);
    const alpha = c.float("alpha", [shape[1] ?? 1]);
    const beta = c.float("beta", [shape[1] ?? 1]);
    return [c.f.op("softplus_parametric", { x: c.float("x", shape), alpha, beta })];
  },
  softmax: (c) => {
    const shape = c.shape(1);
    return [c.f.op("softmax", { x: c.float("x", shape), axis: c.axis(shape.length) })];
  },
};
