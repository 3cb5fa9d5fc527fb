import type { Exchange } from "../../engine/collective.ts";
import { addFloats, halves } from "../../engine/collective.ts";
import type { LoadedPlan } from "../../engine/engine.ts";
import type { Plan } from "../../plan/index.ts";
import { TrainError } from "../errors.ts";

/** Gradients that are whole as soon as so many of a section's dispatches are done. */
export interface GradientGroup {
  readonly dispatchCount: number;
  readonly buffers: readonly string[];
}

/** When a section ends which gradients, in that order: the head's first, those of the lowest stage last. */
export function gradientGroups(plan: Plan, section: string): readonly GradientGroup[] {
  const last = new Map<string, number>();
  (plan.sections.get(section) ?? []).forEach(({ outputs }, index) => {
    for (const { buffer } of outputs.values())
      if (plan.buffers.get(buffer)?.role === "gradient") last.set(buffer, index + 1);
  });
  const counts = [...new Set(last.values())].sort((a, b) => a - b);
  return counts.map((dispatchCount) => ({
    dispatchCount,
    buffers: [...last].flatMap(([buffer, count]) => (count === dispatchCount ? [buffer] : [])),
  }));
}

/** Begins the exchange of gradients that are whole. Nothing where this process trains alone. */
export type BeginReduction = (buffers: readonly string[]) => Exchange | undefined;

/**
 * Hears how far a section is and begins to sum its gradients over the group as soon as each is whole, while the rest
 * of the section runs. `finish` begins those that nothing was heard of and waits for all.
 */
export class GradientReduction {
  readonly #groups: readonly GradientGroup[];
  readonly #begin: BeginReduction;
  readonly #exchanges: Exchange[] = [];
  #next = 0;

  constructor(groups: readonly GradientGroup[], begin: BeginReduction) {
    this.#groups = groups;
    this.#begin = begin;
  }

  reached(dispatchCount: number): void {
    for (; this.#next < this.#groups.length; this.#next++) {
      const group = this.#groups[this.#next];
      if (group === undefined || group.dispatchCount > dispatchCount) return;
      const exchange = this.#begin(group.buffers);
      if (exchange !== undefined) this.#exchanges.push(exchange);
    }
  }

  async finish(): Promise<void> {
    this.reached(Infinity);
    for (const exchange of this.#exchanges) await exchange.wait();
  }
}

/** The gradient buffers as numbers. Throws `TrainError` for others than fp32. */
export function gradientView(loaded: LoadedPlan, name: string): Float32Array {
  const view = loaded.view(name);
  if (view instanceof Float32Array) return view;
  throw new TrainError("train.buffer", `buffer ${name} does not hold fp32 numbers`);
}

/** How many sums end with each term of a tree of `count` terms (`halves`). */
export function mergesAfter(count: number): readonly number[] {
  if (count <= 1) return count === 1 ? [0] : [];
  const [left, right] = halves(count);
  const merges = [...mergesAfter(left), ...mergesAfter(right)];
  return merges.map((value, index) => (index === count - 1 ? value + 1 : value));
}

/**
 * Sums of micro-batches' gradients in a tree, the same one in which a group adds its members' sums: an update's bits
 * are then the same whether one process computes its micro-batches or several share them. Keeps a copy of all
 * gradients for each level of the tree but the last.
 */
export class TreeSums {
  readonly #loaded: LoadedPlan;
  readonly #merges: readonly number[];
  readonly #kept = new Map<string, Float32Array[]>();
  readonly #free = new Map<string, Float32Array[]>();

  constructor(loaded: LoadedPlan, count: number) {
    this.#loaded = loaded;
    this.#merges = mergesAfter(count);
  }

  /** After micro-batch `index` has written a gradient: adds what it completes. After the last one the sum stands there. */
  add(index: number, buffer: string): void {
    const view = gradientView(this.#loaded, buffer);
    const kept = this.#kept.get(buffer) ?? [];
    this.#kept.set(buffer, kept);
    const free = this.#free.get(buffer) ?? [];
    this.#free.set(buffer, free);
    for (let merge = this.#merges[index] ?? 0; merge > 0; merge--) {
      const before = kept.pop();
      if (before === undefined) break;
      addFloats(before, view);
      view.set(before);
      free.push(before);
    }
    if (index + 1 === this.#merges.length) return;
    const copy = free.pop() ?? new Float32Array(view.length);
    copy.set(view);
    kept.push(copy);
  }
}
