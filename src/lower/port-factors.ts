import { replaceOperands } from "../mil/traverse.ts";
import { isValue } from "../mil/program.ts";
import type { MilFunction, Operand, Operation, Value } from "../mil/program.ts";
import { valuesReadBy } from "../mil/traverse.ts";
import { isTransient } from "../plan/plan.ts";
import type { Plan } from "../plan/plan.ts";
import { operandOf, scalarConstant } from "../mil/match.ts";
import type { EngineProgram } from "./ports.ts";

/**
 * Powers of two that results are multiplied with last, as a scaled product's are, done by the host as it turns them into
 * fp32: it loses nothing there, and the engine saves an op over the whole result. `isHosts` says for which results of the
 * plan's function that holds: those that the engine itself does not read as they stand.
 */
export function factorsAtPorts(
  program: EngineProgram,
  isHosts: (result: string) => boolean,
): EngineProgram {
  let { function: fn } = program;
  const outputs = program.outputs.map((port) => {
    const { name, to, conversion } = port;
    if (conversion.kind !== "write" || conversion.factor !== undefined || !isHosts(to)) return port;
    const found = withoutLastFactor(fn, name);
    if (found === undefined) return port;
    fn = found.function;
    return { ...port, conversion: { ...conversion, factor: found.factor } };
  });
  return fn === program.function ? program : Object.freeze({ ...program, function: fn, outputs });
}

/** Results that every dispatch of a program writes to buffers of fp32 that outlive its section. */
export function hostsResults(plan: Plan, program: string): (result: string) => boolean {
  const dispatches = [...plan.sections.values()]
    .flat()
    .filter((dispatch) => dispatch.program === program);
  return (result) =>
    dispatches.length > 0 &&
    dispatches.every(({ outputs }) => {
      const spec = plan.buffers.get(outputs.get(result)?.buffer ?? "");
      return spec !== undefined && !isTransient(spec.role) && spec.type.dataType === "fp32";
    });
}

function withoutLastFactor(
  fn: MilFunction,
  name: string,
): { readonly function: MilFunction; readonly factor: number } | undefined {
  const result = fn.outputs.find((output) => output.name === name);
  const last = fn.operations.find(({ outputs }) => outputs[0] === result);
  if (result === undefined || last?.type !== "mul") return undefined;
  const factor = scalarConstant(operandOf(last, "y"));
  const product = operandOf(last, "x");
  if (factor === undefined || !Number.isInteger(Math.log2(factor))) return undefined;
  if (product === undefined || !isValue(product) || !isMade(fn, product)) return undefined;
  const isReadElsewhere = fn.operations.some((operation) =>
    [...valuesReadBy(operation)].includes(result),
  );
  if (isReadElsewhere || fn.outputs.includes(product)) return undefined;
  const renamed: Value = Object.freeze({ ...product, name });
  const swap = (operand: Operand): Operand => (operand === product ? renamed : operand);
  const operations = fn.operations.flatMap((operation): readonly Operation[] =>
    operation === last
      ? []
      : [
          Object.freeze({
            ...replaceOperands(operation, swap),
            outputs: operation.outputs.map((output) => (output === product ? renamed : output)),
          }),
        ],
  );
  const outputs = fn.outputs.map((output) => (output === result ? renamed : output));
  return { function: Object.freeze({ ...fn, operations, outputs }), factor };
}

function isMade(fn: MilFunction, value: Value): boolean {
  return !fn.inputs.includes(value) && value.constant === undefined;
}
