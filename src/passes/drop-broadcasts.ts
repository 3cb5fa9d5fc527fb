import { OpCall } from "../mil/op-call.ts";
import { opRow } from "../mil/ops/index.ts";
import { scalarLiteral } from "../mil/literal.ts";
import type { Argument, Operand, Operation } from "../mil/program.ts";
import { isOperandList } from "../mil/program.ts";
import { sameType } from "../mil/types.ts";
import type { MilType } from "../mil/types.ts";
import { knownShape, operandOf, scalarConstant } from "./match.ts";
import { rewriting } from "./rewrite.ts";
import type { RewriteContext } from "./rewrite.ts";

/** Ops that broadcast their operands themselves. */
const BROADCASTING: ReadonlySet<string> = new Set([
  "add",
  "sub",
  "mul",
  "real_div",
  "floor_div",
  "mod",
  "pow",
  "maximum",
  "minimum",
  "equal",
  "not_equal",
  "less",
  "less_equal",
  "greater",
  "greater_equal",
  "logical_and",
  "logical_or",
  "logical_xor",
  "select",
]);

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

/** Operands that were spread out for an op that broadcasts anyway are read as they were. */
export const dropBroadcasts = rewriting("drop broadcasts", (operation, context) => {
  if (!BROADCASTING.has(operation.type)) return undefined;
  const [result] = operation.outputs;
  if (result === undefined) return undefined;
  for (const [name, argument] of operation.inputs) {
    if (isOperandList(argument)) continue;
    const source = beforeBroadcast(argument, context);
    if (source === undefined) continue;
    const inputs = new Map<string, Argument>([...operation.inputs, [name, source]]);
    if (![...inputs.values()].some((input) => "kind" in input && input.kind === "value")) continue;
    // The other operands must still spread the result out to its shape.
    if (!stillFits({ ...operation, inputs }, result.type)) continue;
    const [value] = context.emit.append({ ...operation, inputs });
    return value;
  }
  return undefined;
});

function stillFits(operation: Operation, type: MilType): boolean {
  const row = opRow(operation.type);
  if (row === undefined) return false;
  const [inferred] = row.infer(new OpCall(operation, row));
  return inferred !== undefined && sameType(inferred, type);
}
