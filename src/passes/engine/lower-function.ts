import { OpCall } from "../../mil/op-call.ts";
import { opRow } from "../../mil/ops/index.ts";
import type { MilFunction, Operation, Value } from "../../mil/program.ts";
import { elementCount, staticShape } from "../../mil/types.ts";
import type { Chip, Driver } from "../../chip/chip.ts";
import { UNSUPPORTED_OPS } from "../../chip/legality/unsupported-ops.ts";
import { removeDeadCode } from "../dead-code.ts";
import { Lowering } from "./lowering.ts";
import type { EngineProgram } from "./ports.ts";
import { LOWERING_RULES } from "./rules.ts";
import { tuneProgram } from "./tune-program.ts";

/**
 * A function for the engine: fp16 throughout, ops it has, axes it allows; integer inputs become one-hot rows
 * that the host makes, and reductions to a single number are summed by the host.
 * Throws `NotLowered` (a `PassError`) where an op has no way round: such a function stays on the host.
 */
export function lowerFunction(fn: MilFunction, chip: Chip, driver: Driver): EngineProgram {
  const lowering = new Lowering(fn, chip, driver);
  const makers = new Map<Value, Operation>();
  for (const operation of fn.operations) {
    for (const output of operation.outputs) makers.set(output, operation);
    if (operation.type !== "const" && !isHostSum(fn, operation))
      lowerOperation(lowering, operation);
  }
  for (const output of fn.outputs) {
    const maker = makers.get(output);
    if (maker !== undefined && isHostSum(fn, maker)) {
      const call = callOf(lowering, maker);
      lowering.summedOutput(output, lowering.whole(lowering.lookup(call, "x")));
    } else {
      lowering.output(output, lowering.get(output));
    }
  }
  const program = lowering.finish();
  const live = { ...program, function: removeDeadCode(program.function) };
  return Object.freeze(tuneProgram(live, chip, driver));
}

/** A float sum to one number that leaves the function: fp16 is too coarse for it. */
function isHostSum(fn: MilFunction, operation: Operation): boolean {
  const [output] = operation.outputs;
  if (operation.type !== "reduce_sum" || output?.type.kind !== "tensor") return false;
  if (elementCount(staticShape(output.type)) !== 1 || !fn.outputs.includes(output)) return false;
  return !fn.operations.some(({ inputs }) => [...inputs.values()].includes(output));
}

function callOf(lowering: Lowering, operation: Operation): OpCall {
  const row = opRow(operation.type);
  if (row === undefined) throw lowering.refuse(`nothing is known of ${operation.type}`);
  return new OpCall(operation, row);
}

function lowerOperation(lowering: Lowering, operation: Operation): void {
  const call = callOf(lowering, operation);
  const rule = Object.hasOwn(LOWERING_RULES, operation.type)
    ? LOWERING_RULES[operation.type]
    : undefined;
  const [only] = operation.outputs;
  const lowered = rule?.(lowering, call, operation);
  if (lowered !== undefined && only !== undefined) {
    lowering.set(only, lowered);
    return;
  }
  if (UNSUPPORTED_OPS[operation.type] !== undefined) {
    throw lowering.refuse(`${operation.type}: ${UNSUPPORTED_OPS[operation.type] ?? ""}`);
  }
  lowering.copy(operation).forEach((value, index) => {
    const output = operation.outputs[index];
    if (output !== undefined) lowering.set(output, lowering.plain(value));
  });
}
