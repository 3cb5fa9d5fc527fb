import { FunctionBuilder } from "../mil/builder.ts";
import type { MilFunction, Value } from "../mil/program.ts";
import type { TensorType } from "../mil/types.ts";
import type { HostKernel } from "./plan.ts";

/** A weight that stays in a file. */
export interface StreamedWeight {
  /** What its input and its output are named after. */
  readonly parameter: string;
  readonly type: TensorType;
}

/** The name of its input; the output has the parameter's. */
export const streamedName = ({ parameter }: Pick<StreamedWeight, "parameter">): string =>
  `${parameter}_in_file`;

/** Weights from a file into memory, as they are: what a host kernel does before a dispatch that computes on them. */
export function streamProgram(
  name: string,
  weights: readonly StreamedWeight[],
): { readonly function: MilFunction; readonly kernel: HostKernel } {
  const f = new FunctionBuilder(name);
  const outputs: Record<string, Value> = {};
  for (const weight of weights)
    outputs[weight.parameter] = f.op("identity", {
      x: f.input(streamedName(weight), weight.type),
    });
  const named = weights.map((weight) => ({
    source: streamedName(weight),
    numbers: weight.parameter,
  }));
  return { function: f.finish(outputs), kernel: { kind: "stream", weights: named } };
}
