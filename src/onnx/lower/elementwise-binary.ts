import { isFloat } from "../../mil/types.ts";
import type { DataType } from "../../mil/types.ts";
import { computeTypeOf } from "../element-types.ts";
import { sameAs } from "./site.ts";
import type { Lowering, LoweringSite } from "./site.ts";

const operandsAs = (site: LoweringSite, type: DataType): readonly string[] =>
  [site.value("x"), site.value("y")].map((value) => site.cast(value, type));

/** Comparisons of bools are made on integers, which all of them have kernels for. */
const comparison =
  (opType: string): Lowering =>
  (site) =>
    site.type("x") === "bool"
      ? site.node(opType, operandsAs(site, "int32"))
      : sameAs(opType, "x", "y")(site);

/** The remainder with the sign of the divisor; ONNX has it for integers only. */
const modulo: Lowering = (site) => {
  const x = site.value("x");
  const y = site.value("y");
  if (!isFloat(site.type("x"))) return site.node("Mod", [x, y]);
  const rest = site.node("Mod", [x, y], { fmod: 1n });
  const zero = site.scalar(0);
  const signsDiffer = site.node("Xor", [
    site.node("Less", [rest, zero]),
    site.node("Less", [y, zero]),
  ]);
  const isRest = site.node("Not", [site.node("Equal", [rest, zero])]);
  return site.node("Where", [
    site.node("And", [isRest, signsDiffer]),
    site.node("Add", [rest, y]),
    rest,
  ]);
};

const logical =
  (opType: string): Lowering =>
  (site) =>
    site.type("x") === "bool"
      ? sameAs(opType, "x", "y")(site)
      : site.node(opType, operandsAs(site, "bool"));

export const LOWER_ELEMENTWISE_BINARY = {
  add: sameAs("Add", "x", "y"),
  sub: sameAs("Sub", "x", "y"),
  mul: sameAs("Mul", "x", "y"),
  real_div: sameAs("Div", "x", "y"),
  floor_div: (site) => {
    const x = site.value("x");
    const y = site.value("y");
    const isReal = isFloat(site.type("x"));
    const rest = modulo(site);
    const quotient = site.node("Div", [
      site.node("Sub", [x, typeof rest === "string" ? rest : (rest[0] ?? x)]),
      y,
    ]);
    return isReal ? site.node("Round", [quotient]) : quotient;
  },
  mod: modulo,
  maximum: sameAs("Max", "x", "y"),
  minimum: sameAs("Min", "x", "y"),
  pow: (site) => {
    const power = site.node("Pow", [powerOperand(site, "x"), powerOperand(site, "y")]);
    return computeTypeOf(site.type("x")) === "bool" ? site.cast(power, "bool") : power;
  },
  equal: comparison("Equal"),
  not_equal: (site) => site.node("Not", [site.node("Equal", [site.value("x"), site.value("y")])]),
  less: comparison("Less"),
  less_equal: comparison("LessOrEqual"),
  greater: comparison("Greater"),
  greater_equal: comparison("GreaterOrEqual"),
  logical_and: logical("And"),
  logical_or: logical("Or"),
  logical_xor: logical("Xor"),
} as const satisfies Record<string, Lowering>;

/** WebGPU's kernel of powers fails where both operands are broadcast. */
function powerOperand(site: LoweringSite, name: "x" | "y"): string {
  const shape = site.resultShape();
  const isBroadcast = site.shape(name).join() !== shape.join();
  return site.isForDevice && isBroadcast ? site.expand(site.value(name), shape) : site.value(name);
}
