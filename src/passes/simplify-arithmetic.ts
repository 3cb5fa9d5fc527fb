import type { Operand, Operation, Value } from "../mil/program.ts";
import { sameType } from "../mil/types.ts";
import {
  asResult,
  bothWays,
  isFloatTensor,
  operandOf,
  rankOf,
  scalarConstant,
  uniformConstant,
} from "../mil/match.ts";
import { rewriting } from "./rewrite.ts";
import type { RewriteContext } from "./rewrite.ts";

type Simplification = (operation: Operation, context: RewriteContext) => Value | undefined;

/** What is multiplied by -1, and read nowhere else. */
function negated(operand: Operand, { makerOf, isReadOnce }: RewriteContext): Operand | undefined {
  if (!isReadOnce(operand)) return undefined;
  for (const [x, factor] of bothWays(makerOf(operand, "mul"))) {
    if (uniformConstant(factor) === -1 && sameType(x.type, operand.type)) return x;
  }
  return undefined;
}

const add: Simplification = (operation, context) => {
  for (const [x, y] of bothWays(operation)) {
    // A neutral element may also have broadcast the other.
    const same = uniformConstant(y) === 0 ? asResult(operation, x) : undefined;
    if (same !== undefined) return same;
    const positive = negated(y, context);
    if (positive !== undefined) return context.emit.op("sub", { x, y: positive });
  }
  return undefined;
};

const sub: Simplification = (operation, context) => {
  const x = operandOf(operation, "x");
  const y = operandOf(operation, "y");
  if (x === undefined || y === undefined) return undefined;
  if (uniformConstant(y) === 0) return asResult(operation, x);
  const positive = negated(y, context);
  return positive === undefined ? undefined : context.emit.op("add", { x, y: positive });
};

/** x times one number, which may also be written as a quotient. */
function scaled(operation: Operation | undefined): readonly [Operand, number] | undefined {
  if (operation?.type === "real_div") {
    const divisor = scalarConstant(operandOf(operation, "y"));
    const x = operandOf(operation, "x");
    return x !== undefined && divisor !== undefined && divisor !== 0 ? [x, 1 / divisor] : undefined;
  }
  if (operation?.type !== "mul") return undefined;
  for (const [x, factor] of bothWays(operation)) {
    const number = scalarConstant(factor);
    if (number !== undefined && scalarConstant(x) === undefined) return [x, number];
  }
  return undefined;
}

/** x a b is x (a b), where x a is needed for nothing else. */
function foldScale(
  operation: Operation,
  { emit, makerOf, isReadOnce }: RewriteContext,
): Value | undefined {
  const outer = scaled(operation);
  if (outer === undefined || !isReadOnce(outer[0])) return undefined;
  const inner = scaled(makerOf(outer[0]));
  const [result] = operation.outputs;
  if (inner === undefined || result === undefined || !isFloatTensor(result)) return undefined;
  const [x] = inner;
  const factor = inner[1] * outer[1];
  // The factors must neither stretch the shape nor overflow into another number.
  if (rankOf(x) !== rankOf(result) || !isOrdinary(factor)) return undefined;
  return emit.op("mul", { x, y: factor });
}

const isOrdinary = (factor: number): boolean =>
  Number.isFinite(factor) && Math.abs(factor) > 1e-4 && Math.abs(factor) < 3e4;

const mul: Simplification = (operation, context) => {
  for (const [x, y] of bothWays(operation)) {
    const same = uniformConstant(y) === 1 ? asResult(operation, x) : undefined;
    if (same !== undefined) return same;
  }
  return foldScale(operation, context);
};

const realDiv: Simplification = (operation, context) => {
  const x = operandOf(operation, "x");
  const divisor = scalarConstant(operandOf(operation, "y"));
  if (x === undefined) return undefined;
  const isNone = uniformConstant(operandOf(operation, "y")) === 1;
  const same = isNone ? asResult(operation, x) : undefined;
  if (same !== undefined) return same;
  const [result] = operation.outputs;
  const folded = foldScale(operation, context);
  if (folded !== undefined) return folded;
  // Division by a power of two is a product, to the bit.
  if (divisor === undefined || !isFloatTensor(result) || rankOf(x) !== rankOf(result ?? x))
    return undefined;
  const inverse = 1 / divisor;
  const isExact = Number.isInteger(Math.log2(Math.abs(divisor))) && isOrdinary(inverse);
  return isExact ? context.emit.op("mul", { x, y: inverse }) : undefined;
};

const pow: Simplification = (operation, { emit }) => {
  const x = operandOf(operation, "x");
  const exponent = uniformConstant(operandOf(operation, "y"));
  if (x === undefined || exponent === undefined || asResult(operation, x) === undefined)
    return undefined;
  switch (exponent) {
    case 1:
      return x.kind === "value" ? x : undefined;
    case 2:
      return emit.op("mul", { x, y: x });
    case 3:
      return emit.op("mul", { x, y: emit.op("mul", { x, y: x }) });
    case 0.5:
      return emit.op("sqrt", { x });
    default:
      return undefined;
  }
};

const SIMPLIFICATIONS: Readonly<Record<string, Simplification>> = {
  add,
  sub,
  mul,
  real_div: realDiv,
  pow,
};

/** x + 0, x - 0, x * 1, x / 1, x + -y, x - -y, (x a) b, x / 2^n and small powers. */
export const simplifyArithmetic = rewriting("simplify arithmetic", (operation, context) =>
  Object.hasOwn(SIMPLIFICATIONS, operation.type)
    ? SIMPLIFICATIONS[operation.type]?.(operation, context)
    : undefined,
);
