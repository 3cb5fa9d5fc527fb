import { opRow } from "../mil/ops/index.ts";
import type { Operation } from "../mil/program.ts";
import { sameType } from "../mil/types.ts";
import { knownShape, operandOf } from "./match.ts";
import { rewriting } from "./rewrite.ts";

/** The same numbers, in the same order, under another shape; an identity names an input that is returned. */
const isReshape = ({ type }: Operation): boolean =>
  type !== "identity" && opRow(type)?.kind === "view";

/** A reshape of a reshape is one reshape, and one that changes nothing is none. */
export const mergeReshapes = rewriting("merge reshapes", (operation, { emit, makerOf }) => {
  if (!isReshape(operation)) return undefined;
  const [result] = operation.outputs;
  const x = operandOf(operation, "x");
  const shape = knownShape(result);
  if (result === undefined || x === undefined || shape === undefined) return undefined;
  if (x.kind === "value" && sameType(x.type, result.type)) return x;
  const inner = makerOf(x);
  const source = inner !== undefined && isReshape(inner) ? operandOf(inner, "x") : undefined;
  if (source === undefined || knownShape(source) === undefined) return undefined;
  if (source.kind === "value" && sameType(source.type, result.type)) return source;
  return emit.op("reshape", { x: source, shape });
});
