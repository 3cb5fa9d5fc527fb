import { operandOf, scalarConstant } from "../../mil/match.ts";
import type { Operand, Operation } from "../../mil/program.ts";
import { staticShape } from "../../mil/types.ts";
import { computeTypeOf } from "../element-types.ts";

/** The operands of a sum or product: one, and the other. */
export const SIDES = [
  ["x", "y"],
  ["y", "x"],
] as const;

export function shapeOf(operand: Operand): readonly number[] {
  return operand.type.kind === "tensor" ? staticShape(operand.type) : [];
}

/** Whether a value is fp32 while it is computed with. */
export function isFloat32(operand: Operand): boolean {
  return operand.type.kind === "tensor" && computeTypeOf(operand.type.dataType) === "fp32";
}

/** A bool setting that is false where it is left out. */
export function flagOf(operation: Operation, name: string): boolean {
  return scalarConstant(operandOf(operation, name)) === 1;
}
