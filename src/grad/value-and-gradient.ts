import { assembleFunction } from "../mil/assemble.ts";
import type { MilFunction } from "../mil/program.ts";
import { reverseSweep } from "./reverse.ts";
import type { GradientRequest } from "./reverse.ts";

/**
 * One function that computes a function's outputs and, from their gradients `d_<output>` (extra inputs),
 * those of its inputs, `d_<input>` (extra outputs).
 *
 * Throws `GradError` for names that do not exist or are no floats, for ops without a derivative on the way,
 * and for tensors of unknown sizes.
 */
export function valueAndGradient(fn: MilFunction, request: GradientRequest): MilFunction {
  const sweep = reverseSweep(fn, request);
  return assembleFunction({
    name: `${fn.name}_and_gradient`,
    opset: fn.opset,
    inputs: [...fn.inputs, ...sweep.seeds],
    operations: [...fn.operations, ...sweep.operations],
    outputs: [...fn.outputs.map((output) => [output.name, output] as const), ...sweep.gradients],
  });
}
