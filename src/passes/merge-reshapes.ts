import { opRow } from "../mil/ops/index.ts";
import type { Operation } from "../mil/program.ts";
import { asResult, knownShape, operandOf } from "../mil/match.ts";
import { rewriting } from "./rewrite.ts";

/** The same numbers, in the same order, under another shape; an identity names an input that is returned. */
const isReshape = ({ type }: Operation): boolean =>
  type !== "identity" && opRow(type)?.kind === "view";

/** A reshape of a reshape is one reshape, and one that changes nothing is none. */
export const mergeReshapes = rewriting("merge reshapes", (operation, { emit, makerOf }) => {
  if (!isReshape(operation)) return undefined;
  const x = operandOf(operation, "x");
  const shape = knownShape(operation.outputs[0]);
  if (shape === undefined) return undefined;
  const same = asResult(operation, x);
  if (same !== undefined) return same;
  const inner = makerOf(x);
  const source = inner !== undefined && isReshape(inner) ? operandOf(inner, "x") : undefined;
  if (source === undefined || knownShape(source) === undefined) return undefined;
  return asResult(operation, source) ?? emit.op("reshape", { x: source, shape });
});
