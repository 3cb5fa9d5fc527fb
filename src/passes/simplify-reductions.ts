import { opRow } from "../mil/ops/index.ts";
import { knownShape } from "../mil/match.ts";
import { rewriting } from "./rewrite.ts";

/** Reducing axes of size 1 is a reshape; only axes of other sizes need to be named. */
export const simplifyReductions = rewriting("simplify reductions", (operation, { emit, call }) => {
  if (opRow(operation.type)?.keepsSingle !== true) return undefined;
  const [result] = operation.outputs;
  const x = call.operand("x");
  const shape = knownShape(x);
  const target = knownShape(result);
  if (shape === undefined || target === undefined) return undefined;
  const isTrivial = call.axes("axes", shape.length).every((axis) => shape[axis] === 1);
  return isTrivial ? emit.op("reshape", { x, shape: target }) : undefined;
});
