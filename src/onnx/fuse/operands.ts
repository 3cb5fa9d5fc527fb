import type { Operand, Operation } from "../../mil/program.ts";
import { literalOf } from "../../mil/program.ts";
import { staticShape } from "../../mil/types.ts";
import { computeTypeOf } from "../element-types.ts";

/** The operands of a sum or product: one, and the other. */
export const SIDES = [
  ["x", "y"],
  ["y", "x"],
] as const;

/** An op's operand by parameter name; nothing for lists and absent parameters. */
export function operandOf(operation: Operation, name: string): Operand | undefined {
  const argument = operation.inputs.get(name);
  return argument !== undefined && "kind" in argument ? argument : undefined;
}

export function shapeOf(operand: Operand): readonly number[] {
  return operand.type.kind === "tensor" ? staticShape(operand.type) : [];
}

/** Whether a value is fp32 while it is computed with. */
export function isFloat32(operand: Operand): boolean {
  return operand.type.kind === "tensor" && computeTypeOf(operand.type.dataType) === "fp32";
}

/** A bool setting that is false where it is left out. */
export function flagOf(operation: Operation, name: string): boolean {
  return numberOf(operandOf(operation, name)) === 1;
}

/** A constant of one element. */
export function numberOf(operand: Operand | undefined): number | undefined {
  const literal = operand === undefined ? undefined : literalOf(operand);
  if (literal?.data.kind !== "numbers" || literal.data.numbers.length !== 1) return undefined;
  return Number(literal.data.numbers[0]);
}
