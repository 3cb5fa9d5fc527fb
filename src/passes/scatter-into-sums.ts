import { opRow } from "../mil/ops/index.ts";
import type { Operand } from "../mil/program.ts";
import { sameType } from "../mil/types.ts";
import { bothWays, operandOf, scalarConstant, uniformConstant } from "../mil/match.ts";
import { rewriting } from "./rewrite.ts";
import type { RewriteContext } from "./rewrite.ts";

function isZeros(operand: Operand | undefined, { makerOf }: RewriteContext): boolean {
  if (uniformConstant(operand) === 0) return true;
  const fill = makerOf(operand, "fill");
  if (fill === undefined) return false;
  return !fill.inputs.has("value") || scalarConstant(operandOf(fill, "value")) === 0;
}

function addsUp(operand: Operand | undefined): boolean {
  // Without the setting scatters add.
  if (operand === undefined) return true;
  const literal = operand.kind === "literal" ? operand : operand.constant;
  return literal?.data.kind === "strings" && literal.data.strings[0] === "add";
}

/** a + scatter(zeros, updates) is scatter(a, updates): no zeros, and one pass less over the tensor. */
export const scatterIntoSums = rewriting("scatter into sums", (operation, context) => {
  if (operation.type !== "add") return undefined;
  const [result] = operation.outputs;
  for (const [other, sum] of bothWays(operation)) {
    const scatter = context.makerOf(sum);
    const target = opRow(scatter?.type ?? "")?.addsTo;
    if (scatter === undefined || target === undefined || !context.isReadOnce(sum)) continue;
    if (!addsUp(operandOf(scatter, "mode")) || !isZeros(operandOf(scatter, target), context))
      continue;
    if (result === undefined || !sameType(other.type, result.type)) continue;
    if (!sameType(sum.type, result.type)) continue;
    const [value] = context.emit.append({
      ...scatter,
      inputs: new Map([...scatter.inputs, [target, other]]),
    });
    return value;
  }
  return undefined;
});
