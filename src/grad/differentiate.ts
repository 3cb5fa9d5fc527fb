import type { MilFunction } from "../mil/program.ts";
import { didYouMean } from "../util/nearest.ts";
import { GradError } from "./errors.ts";
import { partition } from "./partition.ts";
import { reverseSweep } from "./reverse.ts";
import type { GradientRequest } from "./reverse.ts";
import { reportTaps } from "./tap-report.ts";
import type { TapReport } from "./tap-report.ts";
import { chooseTaps } from "./taps.ts";
import type { RecomputeMode } from "./taps.ts";
import { valueGraph } from "./value-graph.ts";

export interface DifferentiateOptions extends GradientRequest {
  /**
   * `none` keeps every value the backward function reads, `full` keeps none that can be computed from the
   * inputs, `auto` keeps what is costly to compute, within `byteBudget` where there is one.
   */
  readonly recompute: RecomputeMode;
  /** Most bytes that taps, and the inputs of `heldInputs` that are read again, may take together. */
  readonly byteBudget?: number;
  /**
   * Inputs whose memory is held for the backward function alone (a layer's activations, unlike its weights):
   * they count against the budget, and a smaller tap may take their place.
   */
  readonly heldInputs?: readonly string[];
}

/** The forward and backward functions of a function. */
export interface Derivative {
  /** The function with its taps as further outputs. */
  readonly forward: MilFunction;
  /** From the inputs of the function it needs, the taps and `d_<output>` to `d_<input>`. */
  readonly backward: MilFunction;
  /** Names of the taps, in the order in which they are computed. */
  readonly taps: readonly string[];
  /** Bytes of the taps and of the `heldInputs` that the backward function reads. */
  readonly tapBytes: number;
  /** The least that any choice of taps needs. */
  readonly smallestBytes: number;
  /** Floating-point operations that the backward function spends on computing forward values again. */
  readonly recomputeFlops: number;
  /** What becomes of every value. */
  readonly report: readonly TapReport[];
}

/**
 * Reverse mode, source to source: two functions that compute a function with the values worth keeping, and
 * the gradients of its inputs from them.
 *
 * Throws `GradError` for names that do not exist or are no floats, for ops without a derivative on the way,
 * for tensors of unknown sizes, and for a budget below the smallest possible number of bytes, which it names.
 */
export function differentiate(fn: MilFunction, options: DifferentiateOptions): Derivative {
  const { byteBudget, heldInputs = [] } = options;
  if (byteBudget !== undefined && !(byteBudget >= 0)) {
    throw new GradError("grad.budget", `a budget of ${byteBudget} bytes makes no sense`);
  }
  const names = fn.inputs.map(({ name }) => name);
  for (const held of heldInputs) {
    if (!names.includes(held)) {
      throw new GradError(
        "grad.input",
        `function "${fn.name}" has no input "${held}".${didYouMean(held, names)}`,
      );
    }
  }
  const sweep = reverseSweep(fn, options);
  const graph = valueGraph(fn, sweep, heldInputs);
  const { plan, smallestBytes } = chooseTaps(graph, options.recompute, byteBudget);
  let recomputeFlops = 0;
  for (const { flops } of plan.recomputed) recomputeFlops += flops;
  return {
    ...partition(fn, sweep, plan.kept),
    tapBytes: plan.byteLength,
    smallestBytes,
    recomputeFlops,
    report: reportTaps(fn, graph, plan),
  };
}
