import { knownShape } from "./match.ts";
import { rewriting } from "./rewrite.ts";

/** Reductions that leave one number as it is. */
const NEUTRAL: ReadonlySet<string> = new Set([
  "reduce_sum",
  "reduce_mean",
  "reduce_max",
  "reduce_min",
  "reduce_prod",
]);

/** Reducing axes of size 1 is a reshape; only axes of other sizes need to be named. */
export const simplifyReductions = rewriting("simplify reductions", (operation, { emit, call }) => {
  if (!NEUTRAL.has(operation.type)) return undefined;
  const [result] = operation.outputs;
  const x = call.operand("x");
  const shape = knownShape(x);
  const target = knownShape(result);
  if (shape === undefined || target === undefined) return undefined;
  const isTrivial = call.axes("axes", shape.length).every((axis) => shape[axis] === 1);
  return isTrivial ? emit.op("reshape", { x, shape: target }) : undefined;
});
