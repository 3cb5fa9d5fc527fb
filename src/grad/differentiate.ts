import type { MilFunction } from "../mil/program.ts";
import { partition, valuesNeeded } from "./partition.ts";
import { reverseSweep } from "./reverse.ts";
import type { GradientRequest } from "./reverse.ts";

export interface DifferentiateOptions extends GradientRequest {
  readonly recompute: "none" | "auto" | "full";
  readonly byteBudget?: number;
}

export interface Derivative {
  /** The function with its taps as further outputs. */
  readonly forward: MilFunction;
  /** From the inputs it needs, the taps and `d_<output>` to `d_<input>`. */
  readonly backward: MilFunction;
  readonly taps: readonly string[];
}

export function differentiate(fn: MilFunction, options: DifferentiateOptions): Derivative {
  const sweep = reverseSweep(fn, options);
  const needed = valuesNeeded(fn, sweep);
  const kept = new Set(
    [...needed].filter((value) => value.constant === undefined && !fn.inputs.includes(value)),
  );
  return partition(fn, sweep, options.recompute === "full" ? new Set() : kept);
}
