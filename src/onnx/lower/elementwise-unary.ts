import { isDataType, isFloat } from "../../mil/types.ts";
import { computeTypeOf } from "../element-types.ts";
import type { Lowering } from "./site.ts";

const same =
  (opType: string): Lowering =>
  (site) =>
    site.node(opType, [site.value("x")]);

/** x + epsilon, where epsilon as x's type holds it is not 0. */
const shifted: (site: Parameters<Lowering>[0]) => string = (site) => {
  const epsilon = site.call.floatOf("epsilon", site.type("x"));
  const x = site.value("x");
  return epsilon === 0 ? x : site.node("Add", [x, site.scalar(epsilon)]);
};

export const LOWER_ELEMENTWISE_UNARY = {
  abs: same("Abs"),
  acos: same("Acos"),
  asin: same("Asin"),
  atan: same("Atan"),
  atanh: same("Atanh"),
  ceil: same("Ceil"),
  cos: same("Cos"),
  cosh: same("Cosh"),
  erf: same("Erf"),
  exp: same("Exp"),
  exp2: (site) => site.node("Pow", [site.scalar(2), site.value("x")]),
  floor: same("Floor"),
  logical_not: (site) => {
    const x = site.value("x");
    return site.node("Not", [site.type("x") === "bool" ? x : site.cast(x, "bool")]);
  },
  round: same("Round"),
  sign: same("Sign"),
  sin: same("Sin"),
  sinh: same("Sinh"),
  sqrt: same("Sqrt"),
  square: (site) => site.node("Mul", [site.value("x"), site.value("x")]),
  tan: same("Tan"),
  tanh: same("Tanh"),
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
