import type { MilFunction, Value } from "../mil/program.ts";
import type { TensorType } from "../mil/types.ts";
import { planOf } from "./value-graph.ts";
import type { GraphOperation, TapPlan, ValueGraph } from "./value-graph.ts";

/** One forward value and what becomes of it. */
export interface TapReport {
  /** The value's name in the function that is differentiated. */
  readonly value: string;
  readonly operation: string;
  readonly type: TensorType;
  readonly kept: boolean;
  readonly byteLength: number;
  /** Floating-point operations of computing it again from the inputs and the other kept values. */
  readonly recomputeFlops: number;
  /** Why it is kept, or how the backward function does without. */
  readonly reason: string;
}

/** A line for every tensor the function computes, constants excepted. */
export function reportTaps(
  fn: MilFunction,
  graph: ValueGraph,
  plan: TapPlan,
): readonly TapReport[] {
  const lines: TapReport[] = [];
  for (const operation of fn.operations) {
    for (const output of operation.outputs) {
      if (output.constant !== undefined || output.type.kind !== "tensor") continue;
      if (output.type.shape.includes("?")) continue;
      const maker = graph.makers.get(output);
      const recomputeFlops = maker === undefined ? 0 : flopsAgain(graph, plan, output);
      lines.push({
        value: output.name,
        operation: operation.type,
        type: output.type,
        kept: plan.kept.has(output),
        byteLength: graph.bytesOf(output),
        recomputeFlops,
        reason: reasonFor(graph, plan, output, maker, recomputeFlops),
      });
    }
  }
  return lines;
}

/** Flops of one value anew, from the inputs and the kept values other than itself. */
function flopsAgain(graph: ValueGraph, plan: TapPlan, value: Value): number {
  const others = new Set([...plan.kept].filter((kept) => kept !== value));
  for (const { operation, price } of graph.operations) {
    if (price === Infinity) for (const output of operation.outputs) others.add(output);
  }
  const onlyThis = { ...graph, needed: new Set([value]) };
  if (graph.makers.get(value)?.price === Infinity) return Infinity;
  const { recomputed } = planOf(onlyThis, others);
  let flops = 0;
  for (const made of recomputed) flops += made.flops;
  return flops;
}

function reasonFor(
  graph: ValueGraph,
  plan: TapPlan,
  value: Value,
  maker: GraphOperation | undefined,
  recomputeFlops: number,
): string {
  if (maker === undefined) return "the backward function does not need it";
  if (plan.kept.has(value)) {
    if (maker.price === Infinity) return "kept: it cannot be computed again";
    const perByte = recomputeFlops / Math.max(1, graph.bytesOf(value));
    return `kept: computing it again costs ${perByte.toPrecision(3)} operations a byte`;
  }
  if (!plan.recomputed.has(maker)) return "not kept: what is kept makes it unnecessary";
  if (!graph.mayKeep(value)) return "computed again: it depends on constants only";
  const sources = maker.reads
    .filter((source) => source.constant === undefined)
    .map(({ name }) => name)
    .join(", ");
  return maker.row?.kind === "view" || maker.row?.kind === "movement"
    ? `computed again: the numbers of ${sources}, arranged anew`
    : `computed again from ${sources}`;
}
