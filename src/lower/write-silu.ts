import type { Operand } from "../mil/program.ts";
import { bothWays, operandOf, scalarConstant } from "../mil/match.ts";
import { rewriting } from "../passes/rewrite.ts";
import type { Pass, RewriteContext } from "../passes/rewrite.ts";

/**
 * silu as x / (1 + exp(-x)). The engine's own table is fitted: off by up to 1.5e-2 and not 0 at 0, where activations
 * begin; by exp and a division 7e-4 was measured on M5 Max, and no disputed table decides about training.
 */
const writeValue: Pass = rewriting("write silu", (operation, { emit }) => {
  const x = operandOf(operation, "x");
  if (operation.type !== "silu" || x === undefined) return undefined;
  const power = emit.op("exp", { x: emit.op("mul", { x, y: -1 }) });
  return emit.op("real_div", { x, y: emit.op("add", { x: power, y: 1 }) });
});

/**
 * Its slope, s + y (1 - s) with s the engine's sigmoid and y = x s, by the same divisor: (1 + x - y) / (1 + exp(-x)). No
 * table either, and an op less.
 */
const writeSlope: Pass = rewriting("write silu's slope", (operation, context) => {
  if (operation.type !== "add") return undefined;
  const { emit, makerOf } = context;
  for (const [share, rest] of bothWays(operation)) {
    const sigmoid = makerOf(share, "sigmoid");
    const x = operandOf(sigmoid, "x");
    if (x === undefined) continue;
    for (const [y, other] of bothWays(makerOf(rest, "mul"))) {
      const division = makerOf(y, "real_div");
      const divisor = operandOf(division, "y");
      if (operandOf(division, "x") !== x || !isDivisor(divisor, x, context)) continue;
      const remainder = makerOf(other, "sub");
      if (scalarConstant(operandOf(remainder, "x")) !== 1 || operandOf(remainder, "y") !== share)
        continue;
      const above = emit.op("add", { x: emit.op("sub", { x, y }), y: 1 });
      return emit.op("real_div", { x: above, y: divisor });
    }
  }
  return undefined;
});

/** 1 + exp(-x) */
function isDivisor(
  operand: Operand | undefined,
  x: Operand,
  { makerOf }: RewriteContext,
): operand is Operand {
  const total = makerOf(operand, "add");
  const negative = makerOf(operandOf(makerOf(operandOf(total, "x"), "exp"), "x"), "mul");
  return (
    scalarConstant(operandOf(total, "y")) === 1 &&
    operandOf(negative, "x") === x &&
    scalarConstant(operandOf(negative, "y")) === -1
  );
}

/** silu and its derivative without the engine's tables. */
export const writeSilu: Pass = (fn) => writeSlope(writeValue(fn));
