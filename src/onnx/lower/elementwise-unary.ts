import { isDataType, isFloat } from "../../mil/types.ts";
import { computeTypeOf } from "../element-types.ts";
import { sameAs } from "./site.ts";
import type { Lowering } from "./site.ts";

/** x + epsilon, where epsilon as x's type holds it is not 0. */
const shifted: (site: Parameters<Lowering>[0]) => string = (site) => {
  const epsilon = site.call.floatOf("epsilon", site.type("x"));
  const x = site.value("x");
  return epsilon === 0 ? x : site.node("Add", [x, site.scalar(epsilon)]);
};

export const LOWER_ELEMENTWISE_UNARY = {
  abs: sameAs("Abs", "x"),
  acos: sameAs("Acos", "x"),
  asin: sameAs("Asin", "x"),
  atan: sameAs("Atan", "x"),
  atanh: sameAs("Atanh", "x"),
  ceil: sameAs("Ceil", "x"),
  cos: sameAs("Cos", "x"),
  cosh: sameAs("Cosh", "x"),
  erf: sameAs("Erf", "x"),
  exp: sameAs("Exp", "x"),
  exp2: (site) => site.node("Pow", [site.scalar(2), site.value("x")]),
  floor: sameAs("Floor", "x"),
  logical_not: (site) => {
    const x = site.value("x");
    return site.node("Not", [site.type("x") === "bool" ? x : site.cast(x, "bool")]);
  },
  round: sameAs("Round", "x"),
  sign: sameAs("Sign", "x"),
  sin: sameAs("Sin", "x"),
  sinh: sameAs("Sinh", "x"),
  sqrt: sameAs("Sqrt", "x"),
  square: (site) => site.node("Mul", [site.value("x"), site.value("x")]),
  tan: sameAs("Tan", "x"),
  tanh: sameAs("Tanh", "x"),
  inverse: (site) => site.node("Reciprocal", [shifted(site)]),
  log: (site) => site.node("Log", [shifted(site)]),
  rsqrt: (site) => site.node("Reciprocal", [site.node("Sqrt", [shifted(site)])]),
  clip: (site) =>
    site.node("Clip", [site.value("x"), site.scalarOf("alpha"), site.scalarOf("beta")]),
  threshold: (site) => site.node("Max", [site.value("x"), site.scalarOf("alpha")]),
  cast: (site) => {
    const x = site.value("x");
    const from = site.type("x");
    const to = site.call.string("dtype");
    if (!isDataType(to)) throw site.fail(`there is no element type "${to}"`);
    if (to === from) return x;
    // A cast to a narrower type rounds or wraps there and then, unlike results inside a program.
    const narrowed = computeTypeOf(to) === to ? x : site.cast(narrowable(site, x), to);
    if (computeTypeOf(to) !== to) return site.cast(narrowed, computeTypeOf(to));
    return computeTypeOf(from) === to ? x : site.cast(x, to);
  },
  identity: (site) => site.value("x"),
} as const satisfies Record<string, Lowering>;

/** Floats become small integers through int32, so that they wrap instead of saturating. */
function narrowable(site: Parameters<Lowering>[0], x: string): string {
  const to = site.call.string("dtype");
  if (!isDataType(to) || isFloat(to) || !isFloat(site.type("x"))) return x;
  return site.cast(x, computeTypeOf(to));
}
