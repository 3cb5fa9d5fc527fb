import { assembleFunction } from "../mil/assemble.ts";
import { namedValue } from "../mil/program.ts";
import type { MilFunction, Operation, Value } from "../mil/program.ts";
import { makersOf, replaceOperands, valuesReadBy } from "../mil/traverse.ts";
import type { ReverseSweep } from "./reverse.ts";

export interface DerivativeFunctions {
  readonly forward: MilFunction;
  readonly backward: MilFunction;
  /** Results of `forward` that `backward` takes besides inputs and gradients. */
  readonly taps: readonly string[];
}

/** Values of the function that its derivative's ops read or hand out, inputs included. */
export function valuesNeeded(fn: MilFunction, sweep: ReverseSweep): ReadonlySet<Value> {
  const own = new Set<Value>(fn.inputs);
  for (const operation of fn.operations) for (const output of operation.outputs) own.add(output);
  const needed = new Set<Value>();
  for (const operation of sweep.operations) {
    for (const value of valuesReadBy(operation)) if (own.has(value)) needed.add(value);
  }
  for (const [, value] of sweep.gradients) if (own.has(value)) needed.add(value);
  return needed;
}

/**
 * Cuts a derivative into two functions: the forward one hands out the kept values, the backward one takes
 * them and computes what else it needs anew, each value once and just before its first use.
 */
export function partition(
  fn: MilFunction,
  sweep: ReverseSweep,
  kept: ReadonlySet<Value>,
): DerivativeFunctions {
  const makers = makersOf(fn);
  const position = new Map(fn.operations.map((operation, index) => [operation, index]));
  const taken = new Set([
    ...fn.inputs.map(({ name }) => name),
    ...fn.outputs.map(({ name }) => name),
    ...sweep.seeds.map(({ name }) => name),
    ...sweep.gradients.map(([name]) => name),
  ]);
  const inputs = new Set<Value>();
  const taps = new Map<Value, string>();
  const done = new Set<Operation>();
  const operations: Operation[] = [];

  /** Emits what must be computed anew before `values` can be read, in the order of the function. */
  const provide = (values: Iterable<Value>): void => {
    const missing = new Set<Operation>();
    const stack = [...values];
    for (let value = stack.pop(); value !== undefined; value = stack.pop()) {
      const maker = makers.get(value);
      if (maker === undefined) {
        if (fn.inputs.includes(value)) inputs.add(value);
      } else if (kept.has(value)) {
        if (!taps.has(value)) taps.set(value, tapName(value.name, taken));
      } else if (!done.has(maker) && !missing.has(maker)) {
        missing.add(maker);
        stack.push(...valuesReadBy(maker));
      }
    }
    const ordered = [...missing].toSorted(
      (a, b) => (position.get(a) ?? 0) - (position.get(b) ?? 0),
    );
    for (const operation of ordered) {
      done.add(operation);
      operations.push(operation);
    }
  };
  for (const operation of sweep.operations) {
    provide(valuesReadBy(operation));
    operations.push(operation);
  }
  provide(sweep.gradients.map(([, value]) => value));

  const tapsInOrder = [...taps].toSorted(
    ([a], [b]) => orderOf(a, makers, position) - orderOf(b, makers, position),
  );
  const tapInputs = new Map(
    tapsInOrder.map(([value, name]): readonly [Value, Value] => [
      value,
      namedValue(name, value.type),
    ]),
  );
  return {
    forward: assembleFunction({
      ...fn,
      outputs: [
        ...fn.outputs.map((output) => [output.name, output] as const),
        ...tapsInOrder.map(([value, name]) => [name, value] as const),
      ],
    }),
    backward: assembleFunction({
      name: `${fn.name}_backward`,
      opset: fn.opset,
      inputs: [
        ...fn.inputs.filter((input) => inputs.has(input)),
        ...tapInputs.values(),
        ...sweep.seeds,
      ],
      operations: operations.map((operation) => readTaps(operation, tapInputs)),
      outputs: sweep.gradients.map(([name, value]) => [name, tapInputs.get(value) ?? value]),
    }),
    taps: tapsInOrder.map(([, name]) => name),
  };
}

function orderOf(
  value: Value,
  makers: ReadonlyMap<Value, Operation>,
  position: ReadonlyMap<Operation, number>,
): number {
  const maker = makers.get(value);
  return maker === undefined ? -1 : (position.get(maker) ?? 0) + maker.outputs.indexOf(value) / 1e6;
}

/** The value's own name, or one derived from it where an input, a result or a gradient has that name. */
function tapName(base: string, taken: Set<string>): string {
  let name = taken.has(base) ? `${base}_tap` : base;
  for (let count = 2; taken.has(name); count++) name = `${base}_tap_${count}`;
  taken.add(name);
  return name;
}

/** An op whose results may be taken as taps in part: the others are still its own. */
function readTaps(operation: Operation, taps: ReadonlyMap<Value, Value>): Operation {
  return replaceOperands(operation, (operand) =>
    operand.kind === "value" ? (taps.get(operand) ?? operand) : operand,
  );
}
