import type { FunctionBuilder } from "../../mil/builder.ts";
import type { Operand, Value } from "../../mil/program.ts";
import { isFloat } from "../../mil/types.ts";
import { add, between, div, mul, negate, square, sub, tensorDataType, where } from "../emit.ts";
import { unary, ZERO_GRADIENT } from "../rule.ts";
import type { GradientTable } from "../rule.ts";

const oneMinusSquare = (e: FunctionBuilder, x: Operand): Value => sub(e, 1, square(e, x));

/** 1 / sqrt(x) to the last bit: the op adds an epsilon of its own unless told not to. */
const inverseRoot = (e: FunctionBuilder, x: Operand): Value => div(e, 1, e.op("sqrt", { x }));

export const ELEMENTWISE_UNARY_RULES = {
  abs: unary((e, g, x) => mul(e, g, e.op("sign", { x }))),
  acos: unary((e, g, x) => negate(e, mul(e, g, inverseRoot(e, oneMinusSquare(e, x))))),
  asin: unary((e, g, x) => mul(e, g, inverseRoot(e, oneMinusSquare(e, x)))),
  atan: unary((e, g, x) => div(e, g, add(e, square(e, x), 1))),
  atanh: unary((e, g, x) => div(e, g, oneMinusSquare(e, x))),
  ceil: ZERO_GRADIENT,
  cos: unary((e, g, x) => negate(e, mul(e, g, e.op("sin", { x })))),
  cosh: unary((e, g, x) => mul(e, g, e.op("sinh", { x }))),
  erf: unary((e, g, x) => {
    const bell = e.op("exp", { x: negate(e, square(e, x)) });
    return mul(e, g, mul(e, bell, 2 / Math.sqrt(Math.PI)));
  }),
  exp: unary((e, g, _, y) => mul(e, g, y)),
  exp2: unary((e, g, _, y) => mul(e, g, mul(e, y, Math.LN2))),
  floor: ZERO_GRADIENT,
  logical_not: ZERO_GRADIENT,
  round: ZERO_GRADIENT,
  sign: ZERO_GRADIENT,
  sin: unary((e, g, x) => mul(e, g, e.op("cos", { x }))),
  sinh: unary((e, g, x) => mul(e, g, e.op("cosh", { x }))),
  sqrt: unary((e, g, _, y) => div(e, mul(e, g, 0.5), y)),
  square: unary((e, g, x) => mul(e, mul(e, g, 2), x)),
  tan: unary((e, g, _, y) => mul(e, g, add(e, square(e, y), 1))),
  tanh: unary((e, g, _, y) => mul(e, g, oneMinusSquare(e, y))),
  inverse: unary((e, g, _, y) => negate(e, mul(e, g, square(e, y)))),
  log: unary((e, g, x, _, call) => {
    const epsilon = call.floatOf("epsilon", tensorDataType(x));
    // An epsilon below every normal number changes nothing but log(0).
    return div(e, g, epsilon > 1e-37 ? add(e, x, epsilon) : x);
  }),
  rsqrt: unary((e, g, _, y) => mul(e, mul(e, g, -0.5), mul(e, y, square(e, y)))),
  clip: unary((e, g, x, _, call) =>
    where(e, between(e, x, call.float("alpha"), call.float("beta")), g, 0),
  ),
  threshold: unary((e, g, x, _, call) =>
    where(e, e.op("greater", { x, y: call.float("alpha") }), g, 0),
  ),
  cast: ({ emit, gradient, operand }) => {
    const dataType = tensorDataType(operand("x"));
    return { x: isFloat(dataType) ? emit.op("cast", { x: gradient, dtype: dataType }) : undefined };
  },
  identity: ({ gradient }) => ({ x: gradient }),
} as const satisfies Partial<GradientTable>;
