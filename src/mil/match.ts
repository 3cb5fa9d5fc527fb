import { literalNumbers } from "./literal.ts";
import { isOperandList, literalOf } from "./program.ts";
import type { Operand, Operation, Value } from "./program.ts";
import { isFloat, sameType } from "./types.ts";

/** A parameter's operand; nothing where it is left out or a list. */
export function operandOf(operation: Operation | undefined, name: string): Operand | undefined {
  const argument = operation?.inputs.get(name);
  return argument === undefined || isOperandList(argument) ? undefined : argument;
}

/** Sizes of a tensor, nothing where one is unknown. */
export function knownShape(operand: Operand | undefined): readonly number[] | undefined {
  if (operand?.type.kind !== "tensor") return undefined;
  const sizes = operand.type.shape.filter((size) => size !== "?");
  return sizes.length === operand.type.shape.length ? sizes : undefined;
}

/** How many axes a tensor has. */
export function rankOf(operand: Operand): number {
  return operand.type.kind === "tensor" ? operand.type.shape.length : 0;
}

/** An operand that can stand for an op's first result: a value that has its type by itself. */
export function asResult(operation: Operation, operand: Operand | undefined): Value | undefined {
  const [result] = operation.outputs;
  return operand?.kind === "value" && result !== undefined && sameType(operand.type, result.type)
    ? operand
    : undefined;
}

export function isFloatTensor(operand: Operand | undefined): boolean {
  return operand?.type.kind === "tensor" && isFloat(operand.type.dataType);
}

/** The number a small constant holds everywhere; nothing for others. */
export function uniformConstant(operand: Operand | undefined): number | undefined {
  const literal = operand === undefined ? undefined : literalOf(operand);
  if (literal?.data.kind !== "numbers" || literal.data.numbers.length > 4096) return undefined;
  const [first, ...rest] = literalNumbers(literal);
  return first !== undefined && rest.every((number) => number === first) ? first : undefined;
}

/** The number of a constant with one element, whatever its rank. */
export function scalarConstant(operand: Operand | undefined): number | undefined {
  const literal = operand === undefined ? undefined : literalOf(operand);
  if (literal?.data.kind !== "numbers" || literal.data.numbers.length !== 1) return undefined;
  return Number(literal.data.numbers[0]);
}

/** The operands of a commutative op, the one that passes the test first. */
export function* bothWays(
  operation: Operation | undefined,
): Generator<readonly [Operand, Operand]> {
  const x = operandOf(operation, "x");
  const y = operandOf(operation, "y");
  if (x === undefined || y === undefined) return;
  yield [x, y];
  if (x !== y) yield [y, x];
}
