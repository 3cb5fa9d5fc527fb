import { operandOf } from "../passes/match.ts";
import { rewriting } from "../passes/rewrite.ts";
import type { Pass } from "../passes/rewrite.ts";

/**
 * silu as x / (1 + exp(-x)). The engine's own table is fitted: off by up to 1.5e-2 and not 0 at 0, where activations
 * begin; by exp and a division 7e-4 was measured on M5 Max, and no disputed table decides about training.
 */
export const writeSilu: Pass = rewriting("write silu", (operation, { emit }) => {
  const x = operandOf(operation, "x");
  if (operation.type !== "silu" || x === undefined) return undefined;
  const power = emit.op("exp", { x: emit.op("mul", { x, y: -1 }) });
  return emit.op("real_div", { x, y: emit.op("add", { x: power, y: 1 }) });
});
