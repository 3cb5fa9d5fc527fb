import { GradError } from "./errors.ts";
import { FlowNetwork } from "./min-cut.ts";
import { planOf } from "./value-graph.ts";
import type { GraphOperation, TapPlan, ValueGraph } from "./value-graph.ts";
import type { Value } from "../mil/program.ts";

/** How the backward function comes by forward values. */
export const RECOMPUTE_MODES = ["none", "auto", "full"] as const;
export type RecomputeMode = (typeof RECOMPUTE_MODES)[number];

/**
 * Operations that a byte of memory is worth where no budget is given. Keeps what products, softmax and sums
 * give; computes short runs of elementwise ops, copies and views again.
 */
export const OPERATIONS_PER_BYTE = 4;

/** Views cost next to nothing, but of two choices of one size the one with fewer ops is better. */
const VIEW_PRICE = 1e-6;

export interface TapChoice {
  readonly plan: TapPlan;
  /** The least bytes any choice needs. */
  readonly smallestBytes: number;
}

/**
 * Chooses the values that the forward function hands to the backward one.
 *
 * `none` computes nothing twice but views and copies; `full` keeps only what cannot be computed again;
 * `auto` weighs: within `byteBudget`, or without one at OPERATIONS_PER_BYTE. Throws `GradError` naming the
 * smallest possible number of bytes when the budget is below it.
 */
export function chooseTaps(graph: ValueGraph, mode: RecomputeMode, byteBudget?: number): TapChoice {
  const smallest = cheapest(graph, 1, () => VIEW_PRICE);
  const plan = planFor(graph, mode, byteBudget, smallest);
  if (byteBudget !== undefined && plan.byteLength > byteBudget) {
    throw new GradError(
      "grad.budget",
      mode === "auto"
        ? `${byteBudget} bytes are not enough for the values the backward function needs; the smallest possible number is ${smallest.byteLength}`
        : `with recompute "${mode}" the backward function needs ${plan.byteLength} bytes of forward values, more than the ${byteBudget} allowed; the smallest possible number is ${smallest.byteLength}`,
      {
        remedy:
          mode === "auto"
            ? `Allow ${smallest.byteLength} bytes or more.`
            : 'Use recompute "auto", which stays within the bytes allowed.',
      },
    );
  }
  return { plan, smallestBytes: smallest.byteLength };
}

function planFor(
  graph: ValueGraph,
  mode: RecomputeMode,
  byteBudget: number | undefined,
  smallest: TapPlan,
): TapPlan {
  switch (mode) {
    case "none":
      return cheapest(graph, 1, (made) => (isCopy(made) ? VIEW_PRICE : Infinity));
    case "full":
      return planOf(graph, keepersOnly(graph));
    case "auto":
      if (byteBudget === undefined) return cheapest(graph, OPERATIONS_PER_BYTE, priceOf);
      return withinBudget(graph, byteBudget, smallest);
  }
}

const priceOf = ({ price }: GraphOperation): number => Math.max(price, VIEW_PRICE);

/** Ops that only arrange the numbers of one value anew: keeping both sides would store them twice. */
function isCopy({ row, reads }: GraphOperation): boolean {
  if (row?.kind === "view") return true;
  return row?.kind === "movement" && row.numbersOf === "x" && reads.length === 1;
}

/** What cannot be computed again. */
function keepersOnly(graph: ValueGraph): ReadonlySet<Value> {
  const kept = new Set<Value>();
  for (const { operation, price } of graph.operations) {
    if (price === Infinity) for (const output of operation.outputs) kept.add(output);
  }
  return kept;
}

/**
 * The choice with the least sum of `bytePrice` a kept byte and `recomputePrice` an op computed anew, as a
 * minimum cut: a value on the source's side is at hand in the backward function, an op on that side is run
 * there again and needs its operands on that side too.
 */
function cheapest(
  graph: ValueGraph,
  bytePrice: number,
  recomputePrice: (made: GraphOperation) => number,
): TapPlan {
  const network = new FlowNetwork();
  const valueNodes = new Map<Value, number>();
  const operationNodes = new Map<GraphOperation, number>();
  for (const made of graph.operations) operationNodes.set(made, network.node());
  const nodeOf = (value: Value): number => {
    const known = valueNodes.get(value);
    if (known !== undefined) return known;
    const node = network.node();
    valueNodes.set(value, node);
    const maker = graph.makers.get(value);
    if (maker !== undefined) {
      const keep = graph.mayKeep(value) ? bytePrice * graph.bytesOf(value) : Infinity;
      network.edge(node, operationNodes.get(maker) ?? network.sink, keep);
    } else if (graph.countedInputs.has(value)) {
      network.edge(node, network.sink, bytePrice * graph.bytesOf(value));
    }
    return node;
  };
  for (const [made, node] of operationNodes) {
    // What is computed from constants alone is no tap, so it has to be computed again whatever the mode.
    const forced = !made.operation.outputs.some((output) => graph.mayKeep(output));
    const price = recomputePrice(made);
    network.edge(
      node,
      network.sink,
      made.price === Infinity ? Infinity : forced && price === Infinity ? VIEW_PRICE : price,
    );
    for (const value of made.reads) network.edge(node, nodeOf(value), Infinity);
  }
  for (const value of graph.needed) network.edge(network.source, nodeOf(value), Infinity);
  const side = network.sourceSide();
  const kept = new Set<Value>();
  for (const [value, node] of valueNodes) {
    const maker = graph.makers.get(value);
    if (maker !== undefined && side.has(node) && !side.has(operationNodes.get(maker) ?? -1)) {
      kept.add(value);
    }
  }
  return planOf(graph, kept);
}

/**
 * The least recomputation within a budget. Minimum cuts at rising prices of a byte give the best choices for
 * some budgets exactly; between two of them the room that is left is filled value by value, best saving a
 * byte first.
 */
function withinBudget(graph: ValueGraph, byteBudget: number, smallest: TapPlan): TapPlan {
  if (smallest.byteLength > byteBudget) return smallest;
  const unlimited = cheapest(graph, 1e-9, priceOf);
  if (unlimited.byteLength <= byteBudget) return unlimited;
  let low = 1e-9;
  let high = 1;
  let tight = unlimited;
  let best = smallest;
  for (; high < 1e15; high *= 16) {
    const plan = cheapest(graph, high, priceOf);
    if (plan.byteLength <= byteBudget) {
      best = plan.price <= best.price ? plan : best;
      break;
    }
    [low, tight] = [high, plan];
  }
  for (let step = 0; step < 48 && high / low > 1 + 1e-6; step++) {
    const middle = Math.sqrt(low * high);
    const plan = cheapest(graph, middle, priceOf);
    if (plan.byteLength <= byteBudget) {
      if (plan.price <= best.price) best = plan;
      high = middle;
    } else {
      [low, tight] = [middle, plan];
    }
  }
  return filled(graph, best, byteBudget, [...unlimited.kept, ...tight.kept]);
}

/** Adds values to a choice, one at a time, as long as one fits and saves something. */
function filled(
  graph: ValueGraph,
  start: TapPlan,
  byteBudget: number,
  preferred: readonly Value[],
): TapPlan {
  const everything = graph.operations.flatMap(({ operation }) => operation.outputs);
  const candidates = new Set(
    (everything.length > 500 ? preferred : everything).filter((value) => graph.mayKeep(value)),
  );
  let plan = start;
  for (;;) {
    let best: TapPlan | undefined;
    let bestRate = 0;
    for (const value of candidates) {
      if (plan.kept.has(value)) continue;
      const next = planOf(graph, new Set([...plan.kept, value]));
      const saved = plan.price - next.price;
      if (next.byteLength > byteBudget || saved <= 0) continue;
      const rate = saved / Math.max(1, next.byteLength - plan.byteLength);
      if (rate > bestRate) [best, bestRate] = [next, rate];
    }
    if (best === undefined) return plan;
    plan = best;
  }
}
