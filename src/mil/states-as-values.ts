import { operandOf } from "./match.ts";
import { assembleFunction } from "./assemble.ts";
import { MilError } from "./errors.ts";
import { constantOperation, namedValue, operandsOf } from "./program.ts";
import type { MilFunction, Operand, Operation, Value } from "./program.ts";
import { replaceOperands } from "./traverse.ts";
import { formatType } from "./types.ts";

/** A state of a function, and the names under which it comes in and goes out. */
export interface StateValue {
  readonly input: string;
  readonly output: string;
}

/** A function without states: each is an input and a result. */
export interface StatelessFunction {
  readonly fn: MilFunction;
  readonly states: readonly StateValue[];
}

/** The name of the result that holds a state's new contents. */
const NEXT = "_next";

/**
 * The function with every state as a tensor input of the same name and, behind its own results, the contents after
 * the run under `<name>_next`: what engines and formats without states can run. A function without states is
 * returned as it is. Throws `MilError` where a state is written inside a nested block, or used in another way than
 * being read and written.
 */
export function statesAsValues(fn: MilFunction): StatelessFunction {
  const contents = new Map<Operand, Value>();
  const inputs = fn.inputs.map((input): Value => {
    if (input.type.kind !== "state") return input;
    const value: Value = Object.freeze({ ...input, type: input.type.wrapped });
    contents.set(input, value);
    return value;
  });
  if (contents.size === 0) return { fn, states: [] };
  const replaced = new Map<Operand, Value>();
  const current = (operand: Operand): Operand => replaced.get(operand) ?? operand;
  const operations: Operation[] = [];
  for (const original of fn.operations) {
    const operation = replaceOperands(original, current);
    if (operation.type === "read_state") {
      const [output] = operation.outputs;
      if (output !== undefined) replaced.set(output, stateOf(fn, operation, contents));
      continue;
    }
    if (operation.type === "write_state") {
      stateOf(fn, operation, contents);
      const data = operandOf(operation, "data");
      const state = operandOf(operation, "input");
      if (state !== undefined && data !== undefined) contents.set(state, valueOf(data, operations));
      continue;
    }
    if (usesState(operation)) {
      throw new MilError(
        "mil.states.use",
        `function "${fn.name}", ${operation.type}: a state can only be read and written, outside nested blocks`,
      );
    }
    operations.push(operation);
  }
  const taken = new Set([...fn.inputs, ...fn.outputs].map(({ name }) => name));
  const states = fn.inputs
    .filter((input) => contents.has(input))
    .map((input) => {
      let output = `${input.name}${NEXT}`;
      while (taken.has(output)) output = `${output}${NEXT}`;
      taken.add(output);
      return { state: input, input: input.name, output };
    });
  const result = (value: Value): Value => {
    const swapped = current(value);
    return swapped.kind === "value" ? swapped : value;
  };
  return {
    fn: assembleFunction({
      ...fn,
      inputs,
      operations,
      outputs: [
        ...fn.outputs.map((output) => [output.name, result(output)] as const),
        ...states.map(({ state, output }) => [output, contents.get(state) ?? state] as const),
      ],
    }),
    states: states.map(({ input, output }) => ({ input, output })),
  };
}

function stateOf(
  fn: MilFunction,
  operation: Operation,
  contents: ReadonlyMap<Operand, Value>,
): Value {
  const state = operandOf(operation, "input");
  const value = state === undefined ? undefined : contents.get(state);
  if (value === undefined) {
    const given = state === undefined ? "nothing" : formatType(state.type);
    throw new MilError(
      "mil.states.input",
      `function "${fn.name}", ${operation.type}: input must be a state of the function, not ${given}`,
    );
  }
  return value;
}

/** An operand as a value: a literal gets a `const` op. */
function valueOf(operand: Operand, operations: Operation[]): Value {
  if (operand.kind === "value") return operand;
  const value = namedValue("state_contents", operand.type, operand);
  operations.push(constantOperation(value, operand));
  return value;
}

function usesState(operation: Operation): boolean {
  return (
    [...operandsOf(operation)].some(({ type }) => type.kind === "state") ||
    operation.blocks.some((block) => block.operations.some(usesState))
  );
}
