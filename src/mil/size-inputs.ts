import { opRow } from "./ops/index.ts";
import { isValue, operandsIn } from "./program.ts";
import type { MilFunction, Operand, Operation, Value } from "./program.ts";
import { makersOf, valuesReadBy } from "./traverse.ts";

/**
 * Names of the inputs whose numbers decide sizes that the function leaves open: what `fill`, `tile`, `slice_by_index`,
 * `range_1d` and the like take for shapes, bounds and counts, traced back. Empty where all sizes are known, or follow
 * from something else.
 */
export function sizeInputs(fn: MilFunction): ReadonlySet<string> {
  const makers = makersOf(fn);
  const seen = new Set<Value>();
  const pending: Value[] = fn.operations
    .filter(({ outputs }) => outputs.some(isOpen))
    .flatMap((operation) => settingsOf(operation).filter(isValue));
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    if (seen.has(value)) continue;
    seen.add(value);
    const maker = makers.get(value);
    // The sizes of a tensor do not depend on its numbers.
    if (maker !== undefined && maker.type !== "shape") pending.push(...valuesReadBy(maker));
  }
  return new Set(fn.inputs.filter((input) => seen.has(input)).map(({ name }) => name));
}

const isOpen = ({ type }: Value): boolean => type.kind === "tensor" && type.shape.includes("?");

/** Operands that are no data: whole numbers, shapes, bounds. */
function settingsOf(operation: Operation): readonly Operand[] {
  const parameters = opRow(operation.type)?.parameters ?? {};
  return [...operation.inputs].flatMap(([name, argument]) => {
    const kind = parameters[name]?.kind;
    if (kind === undefined || kind === "tensor" || kind === "tensors") return [];
    return operandsIn(argument);
  });
}
