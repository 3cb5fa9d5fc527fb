import { elementCount } from "../mil/types.ts";
import { isValue } from "../mil/program.ts";
import type { Operand, Operation } from "../mil/program.ts";
import { bothWays, knownShape, operandOf } from "../mil/match.ts";
import { rewriting } from "../passes/rewrite.ts";
import type { Pass, RewriteContext } from "../passes/rewrite.ts";

/**
 * Shares of a softmax times a number a row, as (e * a) * b with a and b of a row each, as e * (a * b): one op less over
 * all columns. Only where e is an exponential below 1: elsewhere a * b may vanish among fp16's smallest numbers where
 * (e * a) * b would not; here it loses what the largest share loses by its own rounding.
 */
export const mergeRowFactors: Pass = rewriting("merge row factors", (operation, context) => {
  if (operation.type !== "mul") return undefined;
  for (const [scaled, outer] of bothWays(operation)) {
    const inner = context.makerOf(scaled, "mul");
    if (inner === undefined || !context.isReadOnce(scaled)) continue;
    for (const [shares, factor] of bothWays(inner)) {
      if (!isShare(shares, context) || !isRow(factor, shares) || !isRow(outer, shares)) continue;
      if (knownShape(factor)?.join() !== knownShape(outer)?.join()) continue;
      const row = context.emit.op("mul", { x: factor, y: outer });
      return context.emit.op("mul", { x: shares, y: row });
    }
  }
  return undefined;
});

/** exp(x - m), where m is a largest number. */
function isShare(operand: Operand, { makerOf }: RewriteContext): boolean {
  const difference = makerOf(operandOf(makerOf(operand, "exp"), "x"), "sub");
  const largest: Operation | undefined = makerOf(operandOf(difference, "y"));
  return largest?.type === "maximum" || largest?.type === "reduce_max";
}

/** One number a row of something larger. */
function isRow(operand: Operand, whole: Operand): boolean {
  const shape = knownShape(operand);
  const other = knownShape(whole);
  return (
    isValue(operand) &&
    shape !== undefined &&
    other !== undefined &&
    shape.at(-1) === 1 &&
    elementCount(shape) < elementCount(other)
  );
}
