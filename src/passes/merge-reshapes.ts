import { sameType } from "../mil/types.ts";
import { knownShape, operandOf } from "./match.ts";
import { rewriting } from "./rewrite.ts";

/** Ops that give the same numbers, in the same order, another shape. */
const RESHAPES: ReadonlySet<string> = new Set(["reshape", "expand_dims", "squeeze", "flatten2d"]);

/** A reshape of a reshape is one reshape, and one that changes nothing is none. */
export const mergeReshapes = rewriting("merge reshapes", (operation, { emit, makerOf }) => {
  if (!RESHAPES.has(operation.type)) return undefined;
  const [result] = operation.outputs;
  const x = operandOf(operation, "x");
  const shape = knownShape(result);
  if (result === undefined || x === undefined || shape === undefined) return undefined;
  if (x.kind === "value" && sameType(x.type, result.type)) return x;
  const inner = makerOf(x);
  const source =
    inner !== undefined && RESHAPES.has(inner.type) ? operandOf(inner, "x") : undefined;
  if (source === undefined || knownShape(source) === undefined) return undefined;
  if (source.kind === "value" && sameType(source.type, result.type)) return source;
  return emit.op("reshape", { x: source, shape });
});
