import type { OpName } from "../../mil/ops/index.ts";
import type { Operand } from "../../mil/program.ts";
import { literalNumbers } from "../../mil/literal.ts";
import { elementCount } from "../../mil/types.ts";
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
  | "log"
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

type Binary = Extract<
  OpName,
  | "add"
  | "sub"
  | "mul"
  | "real_div"
  | "maximum"
  | "minimum"
  | "equal"
  | "less"
  | "less_equal"
  | "greater"
  | "greater_equal"
  | "logical_and"
  | "logical_or"
  | "logical_xor"
>;

const binary =
  (type: Binary): Import =>
  (site) =>
    site.op(type, { x: site.input(0), y: site.input(1) });

/** Any number of operands, joined from the left. */
const variadic =
  (type: "add" | "maximum" | "minimum"): Import =>
  (site) =>
    joined(site, type);

function joined(site: ImportSite, type: "add" | "maximum" | "minimum"): Operand {
  const [first, ...rest] = site.inputs();
  if (first === undefined) throw site.fail("it has no inputs");
  return rest.reduce((x, y) => site.op(type, { x, y }), first);
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
  const isPerChannel =
    shape.length >= 3 &&
    elementCount(slopeShape) === channels &&
    slopeShape[slopeShape.length - (shape.length - 1)] === channels;
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
  const raised = low === undefined ? x : site.op("maximum", { x, y: low });
  return high === undefined ? raised : site.op("minimum", { x: raised, y: high });
};

/** The remainder: with the sign of the divisor, or under `fmod` with that of the dividend. */
const remainder: Import = (site) => {
  const x = site.input(0);
  const y = site.input(1);
  if (!site.flag("fmod", false)) return site.op("mod", { x, y });
  const rest = site.op("mod", { x: site.op("abs", { x }), y: site.op("abs", { x: y }) });
  return site.op("mul", { x: rest, y: site.op("sign", { x }) });
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
  Log: unary("log"),
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
  Identity: (site) => site.input(0),
  /** Only in training does it drop anything. */
  Dropout: (site) => site.input(0),

  Add: binary("add"),
  Sub: binary("sub"),
  Mul: binary("mul"),
  /** Quotients of integers are cut towards zero in both languages. */
  Div: binary("real_div"),
  Equal: binary("equal"),
  Less: binary("less"),
  LessOrEqual: binary("less_equal"),
  Greater: binary("greater"),
  GreaterOrEqual: binary("greater_equal"),
  And: binary("logical_and"),
  Or: binary("logical_or"),
  Xor: binary("logical_xor"),
  Max: variadic("maximum"),
  Min: variadic("minimum"),
  Sum: variadic("add"),
  Mean: (site) => scaled(site, joined(site, "add"), 1 / site.node.input.length),
  Pow: (site) => site.op("pow", { x: site.input(0), y: site.cast(site.input(1), site.type(0)) }),
  Mod: remainder,
  Where: (site) => site.op("select", { cond: site.input(0), a: site.input(1), b: site.input(2) }),
  Clip: clip,
  Cast: (site) => {
    const x = site.input(0);
    const to = site.elementType("to", 1);
    return to === "bool" && site.type(0) !== "bool"
      ? site.op("not_equal", { x, y: site.scalar(site.type(0), 0) })
      : site.cast(x, to);
  },
  CastLike: (site) => site.cast(site.input(0), site.type(1)),

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
