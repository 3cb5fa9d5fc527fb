import { MilError } from "./errors.ts";
import { namesIn, plainOperation } from "./program.ts";
import type { Literal, MilFunction, Operation, Value } from "./program.ts";
import { renameValues } from "./traverse.ts";

export interface FunctionParts {
  readonly name: string;
  readonly opset: string;
  readonly inputs: readonly Value[];
  /** In an order in which every value is made before it is read. */
  readonly operations: readonly Operation[];
  /** Results by the name they must have. One value may stand under several names. */
  readonly outputs: readonly (readonly [name: string, value: Value])[];
  readonly attributes?: ReadonlyMap<string, Literal>;
}

/**
 * A function from ops that come from several places: inputs and results keep the names asked for, all other
 * values are renamed where names collide. A result that is an input, or that stands under a second name,
 * is passed through `identity`. Throws `MilError` when two inputs or two results have one name.
 */
export function assembleFunction(parts: FunctionParts): MilFunction {
  const names = new Set<string>();
  const claim = (name: string, what: string): void => {
    if (names.has(name)) {
      throw new MilError("mil.assemble.name", `two ${what} of "${parts.name}" are named "${name}"`);
    }
    names.add(name);
  };
  for (const input of parts.inputs) claim(input.name, "inputs");
  const isInput = new Set(parts.inputs);
  const renamed = new Map<Value, Value>();
  const copies: Operation[] = [];
  const results: Value[] = [];
  for (const [name, value] of parts.outputs) {
    if (isInput.has(value) && value.name === name) {
      results.push(value);
      continue;
    }
    claim(name, "inputs or results");
    const result = value.name === name ? value : Object.freeze({ ...value, name });
    if (isInput.has(value) || renamed.has(value)) {
      const { constant: _, ...plain } = result;
      const copy = Object.freeze(plain);
      const source = renamed.get(value) ?? value;
      copies.push(plainOperation("identity", { x: source }, [copy]));
      results.push(copy);
    } else {
      renamed.set(value, result);
      results.push(result);
    }
  }
  for (const { blocks } of parts.operations) for (const block of blocks) namesIn(block, names);
  const unique = uniqueNames(names);
  for (const operation of parts.operations) {
    for (const output of operation.outputs) {
      if (renamed.has(output)) continue;
      const name = unique(output.name);
      renamed.set(output, name === output.name ? output : Object.freeze({ ...output, name }));
    }
  }
  const operations = parts.operations.map((operation) => renameValues(operation, renamed));
  return Object.freeze({
    name: parts.name,
    opset: parts.opset,
    inputs: Object.freeze([...parts.inputs]),
    operations: Object.freeze([...operations, ...copies]),
    outputs: Object.freeze(results),
    attributes: parts.attributes ?? new Map<string, Literal>(),
  });
}

/** Gives each name out once, then with the first free number behind it. */
function uniqueNames(taken: Set<string>): (base: string) => string {
  const counters = new Map<string, number>();
  return (base) => {
    let name = base;
    let count = counters.get(base) ?? 0;
    while (taken.has(name)) name = `${base}_${count++}`;
    counters.set(base, count);
    taken.add(name);
    return name;
  };
}
