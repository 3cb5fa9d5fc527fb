import { OpCall } from "../mil/op-call.ts";
import { opRow } from "../mil/ops/index.ts";
import { scalarLiteral } from "../mil/literal.ts";
import type { Argument, Operand, Operation, Value } from "../mil/program.ts";
import { isOperandList } from "../mil/program.ts";
import { sameType } from "../mil/types.ts";
import type { MilType } from "../mil/types.ts";
import { knownShape, operandOf, scalarConstant } from "../mil/match.ts";
import { rewriting } from "./rewrite.ts";
import type { RewriteContext } from "./rewrite.ts";

/** What a `tile` of axes of size 1, or a `fill`, repeats. */
function beforeBroadcast(operand: Operand, { makerOf }: RewriteContext): Operand | undefined {
  const maker = makerOf(operand);
  if (maker?.type === "tile") {
    const source = operandOf(maker, "x");
    const [from, to] = [knownShape(source), knownShape(operand)];
    if (source === undefined || from === undefined || to === undefined) return undefined;
    const isBroadcast = from.every((size, axis) => size === 1 || size === to[axis]);
    return isBroadcast ? source : undefined;
  }
  if (maker?.type === "fill" && operand.type.kind === "tensor") {
    const number = maker.inputs.has("value") ? scalarConstant(operandOf(maker, "value")) : 0;
    return number === undefined ? undefined : scalarLiteral(operand.type.dataType, number);
  }
  return undefined;
}

/**
 * Operands that were spread out for an op that broadcasts anyway are read as they were, and what is computed
 * from spread-out operands alone is spread out afterwards.
 */
export const dropBroadcasts = rewriting("drop broadcasts", (operation, context) => {
  const [result] = operation.outputs;
  if (result === undefined) return undefined;
  const row = opRow(operation.type);
  if (row?.pointwise === true) return spreadLater(operation, context, result);
  if (row?.broadcasts !== true) return undefined;
  for (const [name, argument] of operation.inputs) {
    if (isOperandList(argument)) continue;
    const source = beforeBroadcast(argument, context);
    if (source === undefined) continue;
    const inputs = new Map<string, Argument>([...operation.inputs, [name, source]]);
    if (![...inputs.values()].some((input) => "kind" in input && input.kind === "value")) continue;
    // The other operands must still spread the result out to its shape.
    const type = inferredType({ ...operation, inputs });
    if (type === undefined || !sameType(type, result.type)) continue;
    const [value] = context.emit.append({ ...operation, inputs });
    return value;
  }
  return spreadLater(operation, context, result);
});

function inferredType(operation: Operation): MilType | undefined {
  const row = opRow(operation.type);
  return row?.infer(new OpCall(operation, row))[0];
}

/** f(tile(x)) is tile(f(x)). */
function spreadLater(
  operation: Operation,
  context: RewriteContext,
  result: Value,
): Value | undefined {
  const inputs = new Map(operation.inputs);
  let isSpread = false;
  for (const [name, argument] of operation.inputs) {
    if (isOperandList(argument)) return undefined;
    const isTiled = context.makerOf(argument, "tile") !== undefined;
    const source = isTiled ? beforeBroadcast(argument, context) : undefined;
    if (source === undefined) continue;
    inputs.set(name, source);
    isSpread = true;
  }
  if (!isSpread) return undefined;
  const type = inferredType({ ...operation, inputs });
  const target = knownShape(result);
  if (type?.kind !== "tensor" || target === undefined || type.shape.length !== target.length)
    return undefined;
  const isSmaller = type.shape.every((size, axis) => size === 1 || size === target[axis]);
  if (!isSmaller || sameType(type, result.type)) return undefined;
  const [value] = context.emit.append({ ...operation, inputs });
  if (value === undefined) return undefined;
  const reps = target.map((size, axis) => (type.shape[axis] === size ? 1 : size));
  return context.emit.op("tile", { x: value, reps });
}
