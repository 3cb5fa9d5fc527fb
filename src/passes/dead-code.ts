import type { MilFunction, Value } from "../mil/program.ts";
import { isPure, valuesReadBy } from "../mil/traverse.ts";

/** Drops ops whose results nobody reads. Ops that may do more than compute stay. */
export function removeDeadCode(fn: MilFunction): MilFunction {
  const read = new Set<Value>(fn.outputs);
  const live = fn.operations.toReversed().filter((operation) => {
    const isNeeded =
      operation.outputs.some((output) => read.has(output)) ||
      (operation.type !== "const" && !isPure(operation));
    if (isNeeded) for (const value of valuesReadBy(operation)) read.add(value);
    return isNeeded;
  });
  return live.length === fn.operations.length
    ? fn
    : Object.freeze({ ...fn, operations: Object.freeze(live.toReversed()) });
}
