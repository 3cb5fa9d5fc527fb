import { sameType } from "../mil/types.ts";
import { operandOf, uniformConstant } from "../mil/match.ts";
import { rewriting } from "./rewrite.ts";

/** `identity`, and `select` with a condition that is one constant, are their operand. */
export const removeIdentities = rewriting("remove identities", (operation, context) => {
  const [result] = operation.outputs;
  if (result === undefined) return undefined;
  if (operation.type === "select") {
    const condition = uniformConstant(operandOf(operation, "cond"));
    if (condition === undefined) return undefined;
    const chosen = operandOf(operation, condition === 0 ? "b" : "a");
    // The branch must have the result's shape by itself.
    if (chosen?.kind !== "value" || !sameType(chosen.type, result.type)) return undefined;
    return chosen;
  }
  if (operation.type !== "identity") return undefined;
  const x = operandOf(operation, "x");
  if (x?.kind !== "value") return undefined;
  // A result that is an input, or another result, needs the copy.
  if (context.isOutput(result) && (context.isInput(x) || context.isOutput(x))) return undefined;
  return x;
});
