import { OperationKeys } from "../mil/operation-key.ts";
import type { Value } from "../mil/program.ts";
import { isPure } from "../mil/traverse.ts";
import { rewritingOnce } from "./rewrite.ts";

/** An op that computes what an earlier one does is that one. */
export const shareCommonSubexpressions = rewritingOnce("share common subexpressions", () => {
  const keys = new OperationKeys();
  const known = new Map<string, readonly Value[]>();
  return (operation, { isOutput }) => {
    if (operation.blocks.length > 0) return undefined;
    if (operation.type !== "const" && !isPure(operation)) return undefined;
    const key = keys.keyOf(operation);
    const earlier = known.get(key);
    if (earlier === undefined) {
      known.set(key, operation.outputs);
      return undefined;
    }
    // Two results of the function need two values.
    const bothGiven = operation.outputs.some(
      (output, index) => isOutput(output) && isOutput(earlier[index] ?? output),
    );
    return bothGiven ? undefined : earlier;
  };
});
