import type { OpName } from "../../mil/ops/index.ts";
import type { Operand } from "../../mil/program.ts";
import { literalNumbers } from "../../mil/literal.ts";
import { elementCount } from "../../mil/types.ts";
import { add, binary, mul, select, sub } from "./forms.ts";
import type { Import, ImportSite } from "./site.ts";

type Unary = Extract<
  OpName,
  | "abs"
  | "acos"
  | "asin"
  | "atan"
  | "atanh"
  | "ceil"
  | "cos"
  | "cosh"
  | "erf"
  | "exp"
  | "floor"
  | "round"
  | "sign"
  | "sin"
  | "sinh"
  | "sqrt"
  | "tan"
  | "tanh"
  | "relu"
  | "sigmoid"
  | "softplus"
  | "softsign"
>;

/** A MIL op of the same meaning. */
const unary =
  (type: Unary): Import =>
  (site) =>
    site.op(type, { x: site.input(0) });

type Arithmetic = Extract<OpName, "add" | "sub" | "mul" | "real_div" | "maximum" | "minimum">;

/** Small integers are computed as int32 and wrapped afterwards. */
const arithmetic =
  (type: Arithmetic): Import =>
  (site) => {
    const [x, y] = [site.widened(site.input(0)), site.widened(site.input(1))];
    return site.cast(site.op(type, { x, y }), site.type(0));
  };

type Comparison = Extract<
  OpName,
  "equal" | "not_equal" | "less" | "less_equal" | "greater" | "greater_equal"
>;

const comparison =
  (type: Comparison): Import =>
  (site) =>
    site.op(type, { x: site.widened(site.input(0)), y: site.widened(site.input(1)) });

type Logical = Extract<OpName, "logical_and" | "logical_or" | "logical_xor">;

const logical =
  (type: Logical): Import =>
  (site) =>
    site.op(type, { x: site.input(0), y: site.input(1) });

type Joining = "add" | "maximum" | "minimum";

/** Any number of operands, joined from the left. */
const variadic =
  (type: Joining): Import =>
  (site) =>
    joined(site, type);

function joined(site: ImportSite, type: Joining): Operand {
  const [first, ...rest] = site.inputs().map((operand) => site.widened(operand));
  if (first === undefined) throw site.fail("it has no inputs");
  const result = rest.reduce((x, y) => site.op(type, { x, y }), first);
  return site.cast(result, site.type(0));
}

const scaled = (site: ImportSite, x: Operand, factor: number): Operand =>
  factor === 1 ? x : site.op("mul", { x, y: factor });

/** x where it is 0 or more, `slope` times x elsewhere; slope broadcasts from the right. */
const parametricRelu: Import = (site) => {
  const x = site.input(0);
  const slope = site.input(1);
  const shape = site.shape(0);
  const slopeShape = site.shape(1);
  const known = site.known(slope);
  const channels = shape[1] ?? 1;
  // Old models give a vector of one slope a channel, which no broadcasting rule covers.
  const isVector = slopeShape.length === 1 && shape.at(-1) !== channels;
  const isPerChannel =
    shape.length >= 3 &&
    elementCount(slopeShape) === channels &&
    (isVector || slopeShape[slopeShape.length - (shape.length - 1)] === channels);
  if (
    known !== undefined &&
    (isPerChannel || elementCount(slopeShape) === 1) &&
    shape.length >= 3
  ) {
    const numbers = literalNumbers(known);
    const alpha = Array.from({ length: channels }, (_, c) => numbers[c] ?? numbers[0] ?? 0);
    return site.op("prelu", { x, alpha: site.constant(site.typeOf(slope), [channels], alpha) });
  }
  const negative = site.op("minimum", { x, y: 0 });
  const scaledNegative = site.op("mul", { x: negative, y: slope });
  return site.op("add", { x: site.op("relu", { x }), y: scaledNegative });
};

const clip: Import = (site) => {
  const x = site.input(0);
  const bound = (index: number, name: string): Operand | undefined => {
    if (site.has(index)) return site.input(index);
    return site.hasAttribute(name) ? site.scalar(site.type(0), site.float(name, 0)) : undefined;
  };
  const low = bound(1, "min");
  const high = bound(2, "max");
  if (site.isFloat(0) && low !== undefined && high !== undefined) {
    const [from, to] = [low, high].map((operand) => site.known(operand));
    if (from !== undefined && to !== undefined) {
      const alpha = literalNumbers(from)[0] ?? 0;
      const beta = literalNumbers(to)[0] ?? 0;
      return alpha === 0 && beta === 6
        ? site.op("relu6", { x })
        : site.op("clip", { x, alpha, beta });
    }
  }
  const bounded = (value: Operand, type: "maximum" | "minimum", limit: Operand | undefined) =>
    limit === undefined ? value : site.op(type, { x: value, y: site.widened(limit) });
  const raised = bounded(site.widened(x), "maximum", low);
  return site.cast(bounded(raised, "minimum", high), site.type(0));
};

/** The remainder: with the sign of the divisor, or under `fmod` with that of the dividend. */
const remainder: Import = (site) => {
  const x = site.widened(site.input(0));
  const y = site.widened(site.input(1));
  if (!site.flag("fmod", false)) return site.cast(site.op("mod", { x, y }), site.type(0));
  const magnitude = (value: Operand): Operand =>
    site.op("maximum", { x: value, y: site.op("mul", { x: value, y: -1 }) });
  const rest = site.op("mod", { x: magnitude(x), y: magnitude(y) });
  return site.cast(site.op("mul", { x: rest, y: site.op("sign", { x }) }), site.type(0));
};

const softmaxAxis = (site: ImportSite): number =>
  site.axis(site.int("axis", site.opset < 13 ? 1 : -1), site.shape(0).length);

/** Until operator set 13 all axes from `axis` on were one. */
function alongLastAxes(site: ImportSite, apply: (x: Operand, axis: number) => Operand): Operand {
  const shape = site.shape(0);
  const axis = softmaxAxis(site);
  if (site.opset >= 13 || axis === shape.length - 1) return apply(site.input(0), axis);
  const flat = site.reshape(site.input(0), [
    elementCount(shape.slice(0, axis)),
    elementCount(shape.slice(axis)),
  ]);
  return site.reshape(apply(flat, 1), shape);
}

/** log(1 + y) with the digits of a small y: u = 1 + y is rounded, and log(u) y / (u - 1) puts it right. */
function logOfOnePlus(site: ImportSite, y: Operand): Operand {
  const u = add(site, y, 1);
  const rest = sub(site, u, 1);
  const isTiny = site.op("equal", { x: rest, y: 0 });
  const divisor = select(site, isTiny, 1, rest);
  const logarithm = site.op("log", { x: u, epsilon: 0 });
  return select(site, isTiny, y, mul(site, logarithm, binary(site, "real_div", y, divisor)));
}

/** Only in training does it drop anything, and then what it drops is random. */
const dropout: Import = (site) => {
  const isTraining =
    site.opset < 7
      ? !site.flag("is_test", false)
      : site.opset >= 12 && site.has(2) && site.number(2, 0) !== 0;
  const ratio =
    site.opset >= 12 ? (isTraining ? site.number(1, 0.5) : 0) : site.float("ratio", 0.5);
  if (isTraining && ratio !== 0) {
    throw site.fail(
      `in training mode it drops a random part of ${ratio}, which no two runtimes share`,
      "Export the model for inference.",
    );
  }
  const x = site.input(0);
  const shape = site.shape(0);
  const ones = new Float64Array(elementCount(shape)).fill(1);
  // Until operator set 10 the mask was of the data's type.
  return [x, site.constant(site.opset < 10 ? site.type(0) : "bool", shape, ones)];
};

const gelu: Import = (site) =>
  site.op("gelu", {
    x: site.input(0),
    mode: site.text("approximate", "none") === "tanh" ? "TANH_APPROXIMATION" : "EXACT",
  });

export const IMPORT_ELEMENTWISE = {
  Abs: unary("abs"),
  Acos: unary("acos"),
  Asin: unary("asin"),
  Atan: unary("atan"),
  Atanh: unary("atanh"),
  Ceil: unary("ceil"),
  Cos: unary("cos"),
  Cosh: unary("cosh"),
  Erf: unary("erf"),
  Exp: unary("exp"),
  Floor: unary("floor"),
  /** MIL's own default adds a little to its input, so that 0 does not become -inf. */
  Log: (site) => site.op("log", { x: site.input(0), epsilon: 0 }),
  Round: unary("round"),
  Sign: unary("sign"),
  Sin: unary("sin"),
  Sinh: unary("sinh"),
  Sqrt: unary("sqrt"),
  Tan: unary("tan"),
  Tanh: unary("tanh"),
  Relu: unary("relu"),
  Sigmoid: unary("sigmoid"),
  Softplus: unary("softplus"),
  Softsign: unary("softsign"),
  Neg: (site) => site.op("mul", { x: site.input(0), y: site.scalar(site.type(0), -1) }),
  Reciprocal: (site) => site.op("real_div", { x: site.scalar(site.type(0), 1), y: site.input(0) }),
  Not: (site) => site.op("logical_not", { x: site.input(0) }),
  IsNaN: (site) => site.op("not_equal", { x: site.input(0), y: site.input(0) }),
  IsInf: (site) => {
    const x = site.input(0);
    const [low, high] = [site.flag("detect_negative", true), site.flag("detect_positive", true)];
    const infinity = (sign: number): Operand =>
      site.op("equal", { x, y: site.scalar(site.type(0), sign * Infinity) });
    if (low && high) return site.op("logical_or", { x: infinity(-1), y: infinity(1) });
    if (low || high) return infinity(low ? -1 : 1);
    return site.constant("bool", site.shape(0), new Float64Array(elementCount(site.shape(0))));
  },
  /** log(x + sqrt(x^2 + 1)), for magnitudes, since the sum of a large negative number loses all digits. */
  Asinh: (site) => {
    const x = site.input(0);
    const magnitude = site.op("abs", { x });
    const root = site.op("sqrt", { x: add(site, mul(site, magnitude, magnitude), 1) });
    // log(1 + y) of small y = x + x^2 / (root + 1) keeps the digits of x itself.
    const y = add(
      site,
      magnitude,
      binary(site, "real_div", mul(site, magnitude, magnitude), add(site, root, 1)),
    );
    const positive = logOfOnePlus(site, y);
    // Beyond the square's range log(2x) is the same number.
    const isLarge = site.op("greater", { x: magnitude, y: site.type(0) === "fp16" ? 128 : 1e9 });
    const large = add(site, site.op("log", { x: magnitude, epsilon: 0 }), Math.LN2);
    const value = select(site, isLarge, large, positive);
    return select(site, site.op("less", { x, y: 0 }), mul(site, value, -1), value);
  },
  Acosh: (site) => {
    const x = site.input(0);
    const y = sub(site, x, 1);
    const root = site.op("sqrt", { x: mul(site, y, add(site, x, 1)) });
    const isLarge = site.op("greater", { x, y: site.type(0) === "fp16" ? 128 : 1e9 });
    const large = add(site, site.op("log", { x, epsilon: 0 }), Math.LN2);
    return select(site, isLarge, large, logOfOnePlus(site, add(site, y, root)));
  },
  Hardmax: (site) =>
    alongLastAxes(site, (x, axis) => {
      const shape = site.shapeOf(x);
      const largest = site.op("reduce_argmax", { x, axis, keep_dims: false });
      const hot = site.op("one_hot", {
        indices: largest,
        one_hot_vector_size: shape[axis] ?? 1,
        axis,
        on_value: site.scalar(site.typeOf(x), 1),
        off_value: site.scalar(site.typeOf(x), 0),
      });
      return site.reshape(hot, shape);
    }),
  Shrink: (site) => {
    const given = site.input(0);
    const x = site.isFloat(0) ? given : site.cast(given, "fp32");
    const [lambda, bias] = [site.float("lambd", 0.5), site.float("bias", 0)];
    const below = select(site, site.op("less", { x, y: -lambda }), add(site, x, bias), 0);
    const shrunk = select(site, site.op("greater", { x, y: lambda }), sub(site, x, bias), below);
    return site.cast(shrunk, site.type(0));
  },
  Identity: (site) => site.input(0),
  Dropout: dropout,
  Add: arithmetic("add"),
  Sub: arithmetic("sub"),
  Mul: arithmetic("mul"),
  /** Quotients of integers are cut towards zero in both languages. */
  Div: arithmetic("real_div"),
  Equal: comparison("equal"),
  Less: comparison("less"),
  LessOrEqual: comparison("less_equal"),
  Greater: comparison("greater"),
  GreaterOrEqual: comparison("greater_equal"),
  And: logical("logical_and"),
  Or: logical("logical_or"),
  Xor: logical("logical_xor"),
  Max: variadic("maximum"),
  Min: variadic("minimum"),
  Sum: variadic("add"),
  Mean: (site) => scaled(site, joined(site, "add"), 1 / site.node.input.length),
  Pow: (site) => site.op("pow", { x: site.input(0), y: site.cast(site.input(1), site.type(0)) }),
  Mod: remainder,
  Where: (site) => {
    const keeps = site.isFloat(1) || site.type(1) === "bool";
    const [a, b] = [1, 2].map((index) =>
      keeps ? site.input(index) : site.widened(site.input(index)),
    );
    if (a === undefined || b === undefined) throw site.fail("it has three inputs");
    return site.cast(site.op("select", { cond: site.input(0), a, b }), site.type(1));
  },
  Clip: clip,
  Elu: (site) => site.op("elu", { x: site.input(0), alpha: site.float("alpha", 1) }),
  Selu: (site) => {
    const alpha = site.float("alpha", 1.67326319217681884765625);
    return scaled(
      site,
      site.op("elu", { x: site.input(0), alpha }),
      site.float("gamma", 1.05070102214813232421875),
    );
  },
  Celu: (site) => {
    const x = site.input(0);
    const alpha = site.float("alpha", 1);
    const negative = site.op("minimum", { x: scaled(site, x, 1 / alpha), y: 0 });
    const grown = site.op("sub", { x: site.op("exp", { x: negative }), y: 1 });
    return site.op("add", { x: site.op("relu", { x }), y: scaled(site, grown, alpha) });
  },
  LeakyRelu: (site) =>
    site.op("leaky_relu", { x: site.input(0), alpha: site.float("alpha", 0.01) }),
  ThresholdedRelu: (site) => {
    const x = site.input(0);
    const cond = site.op("greater", { x, y: site.float("alpha", 1) });
    return site.op("select", { cond, a: x, b: site.scalar(site.type(0), 0) });
  },
  PRelu: parametricRelu,
  HardSigmoid: (site) =>
    site.op("sigmoid_hard", {
      x: site.input(0),
      alpha: site.float("alpha", 0.2),
      beta: site.float("beta", 0.5),
    }),
  HardSwish: (site) => {
    const x = site.input(0);
    return site.op("mul", { x, y: site.op("sigmoid_hard", { x, alpha: 1 / 6, beta: 0.5 }) });
  },
  Swish: (site) => swish(site, site.float("alpha", 1)),
  Mish: (site) => {
    const x = site.input(0);
    return site.op("mul", { x, y: site.op("tanh", { x: site.op("softplus", { x }) }) });
  },
  Gelu: gelu,
  /** ONNX Runtime's own operators. */
  QuickGelu: (site) => swish(site, site.float("alpha", 1.702)),
  FastGelu: (site) => {
    const x = site.has(1) ? site.op("add", { x: site.input(0), y: site.input(1) }) : site.input(0);
    return site.op("gelu", { x, mode: "TANH_APPROXIMATION" });
  },
  BiasGelu: (site) =>
    site.op("gelu", {
      x: site.op("add", { x: site.input(0), y: site.input(1) }),
      mode: "EXACT",
    }),

  Softmax: (site) => alongLastAxes(site, (x, axis) => site.op("softmax", { x, axis })),
  LogSoftmax: (site) =>
    alongLastAxes(site, (x, axis) => {
      const sum = site.op("reduce_log_sum_exp", { x, axes: [axis], keep_dims: true });
      return site.op("sub", { x, y: sum });
    }),
} as const satisfies Record<string, Import>;

function swish(site: ImportSite, alpha: number): Operand {
  const x = site.input(0);
  if (alpha === 1) return site.op("silu", { x });
  return site.op("mul", { x, y: site.op("sigmoid", { x: scaled(site, x, alpha) }) });
}
