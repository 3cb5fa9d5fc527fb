import { literalOf } from "../../mil/program.ts";
import type { Operand, Operation } from "../../mil/program.ts";
import { sameType } from "../../mil/types.ts";
import { LOWER_GATHER_SCATTER } from "../lower/gather-scatter.ts";
import { operandOf } from "../../mil/match.ts";
import { SIDES } from "./operands.ts";
import type { FindFusion, Uses } from "./match.ts";

const MODES: ReadonlySet<string> = new Set(["add", "sub"]);

/** Whether a tensor holds nothing but zeros: a literal, or what `fill` makes. */
function isZeros(operand: Operand | undefined, uses: Uses): boolean {
  if (operand === undefined) return false;
  const literal = literalOf(operand);
  if (literal !== undefined) {
    return (
      literal.data.kind === "numbers" && literal.data.numbers.every((value) => Number(value) === 0)
    );
  }
  const fill = uses.maker(operand, "fill") ?? uses.maker(operand, "fill_like");
  if (fill === undefined) return false;
  const value = operandOf(fill, "value");
  return value === undefined || isZeros(value, uses);
}

function isSum(scatter: Operation): boolean {
  const mode = operandOf(scatter, "mode");
  if (mode === undefined) return true;
  const literal = literalOf(mode);
  return literal?.data.kind === "strings" && MODES.has(literal.data.strings[0] ?? "");
}

/** Updates scattered into zeros, then added to a tensor: scattered into that tensor. */
export const addScattered: FindFusion = (root, uses) => {
  for (const [name, otherName] of SIDES) {
    const scattered = operandOf(root, name);
    const target = operandOf(root, otherName);
    const scatter =
      uses.maker(scattered, "scatter_along_axis") ??
      uses.maker(scattered, "scatter") ??
      uses.maker(scattered, "scatter_nd");
    const [sum] = root.outputs;
    if (scatter === undefined || target === undefined || sum === undefined) continue;
    if (!isSum(scatter) || !isZeros(operandOf(scatter, "data"), uses)) continue;
    if (!sameType(target.type, sum.type)) continue;
    const type = scatter.type as "scatter_along_axis" | "scatter" | "scatter_nd";
    const onto: Operation = { ...scatter, inputs: new Map(scatter.inputs).set("data", target) };
    return {
      inner: [scatter],
      emit: (site, give) => {
        const inner = site.at(onto);
        give(sum, LOWER_GATHER_SCATTER[type](inner));
      },
    };
  }
  return undefined;
};
