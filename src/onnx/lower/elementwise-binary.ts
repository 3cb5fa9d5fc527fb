import { isFloat } from "../../mil/types.ts";
import { computeTypeOf } from "../element-types.ts";
import type { Lowering, LoweringSite } from "./site.ts";

/** ONNX's op of the same meaning and broadcasting. */
const same =
  (opType: string): Lowering =>
  (site) =>
    site.node(opType, [site.value("x"), site.value("y")]);

/** Comparisons of bools are made on integers, which all of them have kernels for. */
const comparison =
  (opType: string): Lowering =>
  (site) => {
    const isBool = site.type("x") === "bool";
    const operands = [site.value("x"), site.value("y")].map((value) =>
      isBool ? site.cast(value, "int32") : value,
    );
    return site.node(opType, operands);
  };

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
  (site) => {
    const isBool = site.type("x") === "bool";
    const operands = [site.value("x"), site.value("y")].map((value) =>
      isBool ? value : site.cast(value, "bool"),
    );
    return site.node(opType, operands);
  };

export const LOWER_ELEMENTWISE_BINARY = {
  add: same("Add"),
  sub: same("Sub"),
  mul: same("Mul"),
  real_div: same("Div"),
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
  maximum: same("Max"),
  minimum: same("Min"),
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
