import { ALONE } from "../../engine/collective.ts";
import type { Collective, ExchangedArray } from "../../engine/collective.ts";
import type { LoadedPlan } from "../../engine/engine.ts";
import { TrainError } from "../errors.ts";

/** The processes of one training. Default: this one alone. */
export interface TrainingGroup {
  /** Holders of the same weights who train on different batches: gradients, targets and losses are summed over them. */
  readonly replicas?: Collective;
  /** Holders of different weights of one model: the squares of their gradients are summed over them. */
  readonly shards?: Collective;
}

/** The exchanges of a training step. On its own a process makes none of them. */
export class GroupStep {
  readonly #loaded: LoadedPlan;
  readonly #replicas: Collective;
  readonly #shards: Collective;

  constructor(loaded: LoadedPlan, { replicas = ALONE, shards = ALONE }: TrainingGroup = {}) {
    this.#loaded = loaded;
    this.#replicas = replicas;
    this.#shards = shards;
  }

  /** Whether exchanges stand between the sections of a step. */
  get isAlone(): boolean {
    return this.#replicas.size === 1 && this.#shards.size === 1;
  }

  /**
   * The sum over all replicas. A member that cannot go on says so with NaN, so that the others do not wait for it: it
   * comes back to all of them.
   */
  async sum(value: number): Promise<number> {
    if (this.#replicas.size === 1) return value;
    const numbers = Float64Array.of(value);
    await this.#replicas.allReduce([numbers]).wait();
    return numbers[0] ?? Number.NaN;
  }

  /** Sums the gradients over all replicas: one exchange a weight, in the order in which the backward pass ends them. */
  async reduceGradients(): Promise<void> {
    if (this.#replicas.size === 1) return;
    const exchanges = this.#gradientViews().map((view) => this.#replicas.allReduce([view]));
    for (const exchange of exchanges) await exchange.wait();
  }

  /** The sum of squares over all shards: gradients of replicas are equal already. */
  async sumOfSquares(value: number): Promise<number> {
    if (this.#shards.size === 1) return value;
    const numbers = Float64Array.of(value);
    await this.#shards.allReduce([numbers]).wait();
    return numbers[0] ?? Number.NaN;
  }

  /** Fresh views: an engine may convert what it hands out. */
  #gradientViews(): readonly ExchangedArray[] {
    const names = [...this.#loaded.plan.buffers.values()].flatMap(({ name, role }) =>
      role === "gradient" ? [name] : [],
    );
    return names.map((name) => {
      const view = this.#loaded.view(name);
      if (view instanceof Float32Array) return view;
      throw new TrainError("train.buffer", `buffer ${name} does not hold fp32 numbers`);
    });
  }
}
