import type { ELEMENTWISE_BINARY } from "../../mil/ops/elementwise-binary.ts";
import type { OPS, OpName } from "../../mil/ops/index.ts";
import type { Operand } from "../../mil/program.ts";
import { literalNumbers } from "../../mil/literal.ts";
import { elementCount } from "../../mil/types.ts";
import type { Import, ImportSite } from "./site.ts";

/** Ops of one operand and no settings. */
type Unary = {
  [Name in OpName]: keyof (typeof OPS)[Name]["parameters"] extends "x" ? Name : never;
}[OpName];
type Binary = keyof typeof ELEMENTWISE_BINARY;

/** A MIL op of the same meaning. */
const unary =
  (type: Unary): Import =>
  (site) =>
    site.op(type, { x: site.input(0) });

/** Small integers are computed as int32 and wrapped afterwards. */
const arithmetic =
  (type: Binary): Import =>
  (site) => {
    const result = site.binary(type, site.widened(site.input(0)), site.widened(site.input(1)));
    return site.cast(result, site.type(0));
  };

const comparison =
  (type: Binary): Import =>
  (site) =>
    site.binary(type, site.widened(site.input(0)), site.widened(site.input(1)));

const logical =
  (type: Binary): Import =>
  (site) =>
    site.binary(type, site.input(0), site.input(1));

/** Any number of operands, joined from the left. */
const variadic =
  (type: Binary): Import =>
  (site) =>
    joined(site, type);

function joined(site: ImportSite, type: Binary): Operand {
  const [first, ...rest] = site.inputs().map((operand) => site.widened(operand));
  if (first === undefined) throw site.fail("it has no inputs");
  const result = rest.reduce((x, y) => site.binary(type, x, y), first);
  return site.cast(result, site.type(0));
}

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
  return site.add(site.op("relu", { x }), site.mul(site.binary("minimum", x, 0), slope));
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
    limit === undefined ? value : site.binary(type, value, site.widened(limit));
  const raised = bounded(site.widened(x), "maximum", low);
  return site.cast(bounded(raised, "minimum", high), site.type(0));
};

/** The remainder: with the sign of the divisor, or under `fmod` with that of the dividend. */
const remainder: Import = (site) => {
  const x = site.widened(site.input(0));
  const y = site.widened(site.input(1));
  if (!site.flag("fmod", false)) return site.cast(site.binary("mod", x, y), site.type(0));
  const magnitude = (value: Operand): Operand => site.binary("maximum", value, site.mul(value, -1));
  const rest = site.binary("mod", magnitude(x), magnitude(y));
  return site.cast(site.mul(rest, site.op("sign", { x })), site.type(0));
};

const softmaxAxis = (site: ImportSite): number => site.ownAxis(site.opset < 13 ? 1 : -1);

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
  const u = site.add(y, 1);
  const rest = site.sub(u, 1);
  const isTiny = site.binary("equal", rest, 0);
  const divisor = site.select(isTiny, 1, rest);
  const logarithm = site.op("log", { x: u, epsilon: 0 });
  return site.select(isTiny, y, site.mul(logarithm, site.binary("real_div", y, divisor)));
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
  Neg: (site) => site.mul(site.input(0), site.scalar(site.type(0), -1)),
  Reciprocal: (site) => site.binary("real_div", site.scalar(site.type(0), 1), site.input(0)),
  Not: (site) => site.op("logical_not", { x: site.input(0) }),
  IsNaN: (site) => site.binary("not_equal", site.input(0), site.input(0)),
  IsInf: (site) => {
    const x = site.input(0);
    const [low, high] = [site.flag("detect_negative", true), site.flag("detect_positive", true)];
    const infinity = (sign: number): Operand =>
      site.binary("equal", x, site.scalar(site.type(0), sign * Infinity));
    if (low && high) return site.binary("logical_or", infinity(-1), infinity(1));
    if (low || high) return infinity(low ? -1 : 1);
    return site.constant("bool", site.shape(0), new Float64Array(elementCount(site.shape(0))));
  },
  /** log(x + sqrt(x^2 + 1)), for magnitudes, since the sum of a large negative number loses all digits. */
  Asinh: (site) => {
    const x = site.input(0);
    const magnitude = site.op("abs", { x });
    const root = site.op("sqrt", { x: site.add(site.mul(magnitude, magnitude), 1) });
    // log(1 + y) of small y = x + x^2 / (root + 1) keeps the digits of x itself.
    const y = site.add(
      magnitude,
      site.binary("real_div", site.mul(magnitude, magnitude), site.add(root, 1)),
    );
    const positive = logOfOnePlus(site, y);
    // Beyond the square's range log(2x) is the same number.
    const isLarge = site.binary("greater", magnitude, site.type(0) === "fp16" ? 128 : 1e9);
    const large = site.add(site.op("log", { x: magnitude, epsilon: 0 }), Math.LN2);
    const value = site.select(isLarge, large, positive);
    return site.select(site.binary("less", x, 0), site.mul(value, -1), value);
  },
  Acosh: (site) => {
    const x = site.input(0);
    const y = site.sub(x, 1);
    const root = site.op("sqrt", { x: site.mul(y, site.add(x, 1)) });
    const isLarge = site.binary("greater", x, site.type(0) === "fp16" ? 128 : 1e9);
    const large = site.add(site.op("log", { x, epsilon: 0 }), Math.LN2);
    return site.select(isLarge, large, logOfOnePlus(site, site.add(y, root)));
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
    const x = site.asFloat(0);
    const [lambda, bias] = [site.float("lambd", 0.5), site.float("bias", 0)];
    const below = site.select(site.binary("less", x, -lambda), site.add(x, bias), 0);
    const shrunk = site.select(site.binary("greater", x, lambda), site.sub(x, bias), below);
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
  Mean: (site) => site.scaled(joined(site, "add"), 1 / site.node.input.length),
  Pow: (site) => site.binary("pow", site.input(0), site.cast(site.input(1), site.type(0))),
  Mod: remainder,
  Where: (site) => {
    const keeps = site.isFloat(1) || site.type(1) === "bool";
    const [a, b] = [1, 2].map((index) =>
      keeps ? site.input(index) : site.widened(site.input(index)),
    );
    if (a === undefined || b === undefined) throw site.fail("it has three inputs");
    return site.cast(site.select(site.input(0), a, b), site.type(1));
  },
  Clip: clip,
  Elu: (site) => site.op("elu", { x: site.input(0), alpha: site.float("alpha", 1) }),
  Selu: (site) => {
    const alpha = site.float("alpha", 1.67326319217681884765625);
    return site.scaled(
      site.op("elu", { x: site.input(0), alpha }),
      site.float("gamma", 1.05070102214813232421875),
    );
  },
  Celu: (site) => {
    const x = site.input(0);
    const alpha = site.float("alpha", 1);
    const negative = site.binary("minimum", site.scaled(x, 1 / alpha), 0);
    const grown = site.sub(site.op("exp", { x: negative }), 1);
    return site.add(site.op("relu", { x }), site.scaled(grown, alpha));
  },
  LeakyRelu: (site) =>
    site.op("leaky_relu", { x: site.input(0), alpha: site.float("alpha", 0.01) }),
  ThresholdedRelu: (site) => {
    const x = site.input(0);
    const cond = site.binary("greater", x, site.float("alpha", 1));
    return site.select(cond, x, site.scalar(site.type(0), 0));
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
    return site.mul(x, site.op("sigmoid_hard", { x, alpha: 1 / 6, beta: 0.5 }));
  },
  Swish: (site) => swish(site, site.float("alpha", 1)),
  Mish: (site) => {
    const x = site.input(0);
    return site.mul(x, site.op("tanh", { x: site.op("softplus", { x }) }));
  },
  Gelu: gelu,
  /** ONNX Runtime's own operators. */
  QuickGelu: (site) => swish(site, site.float("alpha", 1.702)),
  FastGelu: (site) => {
    const x = site.has(1) ? site.add(site.input(0), site.input(1)) : site.input(0);
    return site.op("gelu", { x, mode: "TANH_APPROXIMATION" });
  },
  BiasGelu: (site) =>
    site.op("gelu", {
      x: site.add(site.input(0), site.input(1)),
      mode: "EXACT",
    }),

  Softmax: (site) => alongLastAxes(site, (x, axis) => site.op("softmax", { x, axis })),
  LogSoftmax: (site) =>
    alongLastAxes(site, (x, axis) => {
      const sum = site.op("reduce_log_sum_exp", { x, axes: [axis], keep_dims: true });
      return site.sub(x, sum);
    }),
} as const satisfies Record<string, Import>;

function swish(site: ImportSite, alpha: number): Operand {
  const x = site.input(0);
  if (alpha === 1) return site.op("silu", { x });
  return site.mul(x, site.op("sigmoid", { x: site.scaled(x, alpha) }));
}
