import { ALONE } from "../../engine/collective.ts";
import type { Collective, Exchange, WireFormat } from "../../engine/collective.ts";
import type { LoadedPlan } from "../../engine/engine.ts";
import { gradientView } from "./gradient-sums.ts";
import { gradientName } from "./update-plan.ts";
import type { WireLosses } from "./wire-losses.ts";

/** The processes of one training. Default: this one alone. */
export interface TrainingGroup {
  /** Holders of the same weights who train on different batches: gradients, targets and losses are summed over them. */
  readonly replicas?: Collective;
  /** Holders of different weights of one model: the squares of their gradients are summed over them. */
  readonly shards?: Collective;
  /** Gradients travel as fp16, and this is what rounding has lost of them. Default: they travel as fp32. */
  readonly lost?: WireLosses | undefined;
  /** Each replica updates its part of every weight (`partOf`), and gets the others' parts from them. Default false. */
  readonly isSharded?: boolean;
  /** Where the first and the last process of a pipeline hold one table: the two, and the table's name. */
  readonly tied?: { readonly group: Collective; readonly weight: string };
}

/** The exchanges of a training step. On its own a process makes none of them. */
export class GroupStep {
  readonly #loaded: LoadedPlan;
  readonly #replicas: Collective;
  readonly #shards: Collective;
  readonly #lost: WireLosses | undefined;
  readonly #isSharded: boolean;
  readonly #tied: TrainingGroup["tied"];

  constructor(
    loaded: LoadedPlan,
    { replicas = ALONE, shards = ALONE, lost, isSharded = false, tied }: TrainingGroup = {},
  ) {
    this.#tied = tied;
    this.#loaded = loaded;
    this.#replicas = replicas;
    this.#shards = shards;
    this.#lost = lost;
    this.#isSharded = isSharded && replicas.size > 1;
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
    return await sumOver(this.#replicas, value);
  }

  /** As `sum`, over all members that hold parts of the model too: of a loss, which the last of them computes. */
  async sumOfAll(value: number): Promise<number> {
    return await sumOver(this.#shards, await sumOver(this.#replicas, value));
  }

  /** What the numbers of the gradients that come now stand for: the loss scale. */
  useUnit(unit: number): void {
    this.#lost?.useUnit(unit);
  }

  /** Begins to sum gradients over all replicas; each replica gets its part of the sums where it updates no more. */
  reduceGradients(buffers: readonly string[]): Exchange | undefined {
    if (this.#replicas.size === 1) return undefined;
    const views = buffers.map((name) => gradientView(this.#loaded, name));
    const lost = this.#lost;
    const wire: WireFormat | undefined = lost && {
      kind: "fp16",
      lost: buffers.map((name, index) => lost.of(name, views[index]?.length ?? 0)),
    };
    return this.#isSharded
      ? this.#replicas.reduceScatter(views, wire)
      : this.#replicas.allReduce(views, wire);
  }

  /**
   * The sum of squares over all shards; over replicas too where each has but its part of the gradients, which are
   * equal otherwise.
   */
  async sumOfSquares(value: number): Promise<number> {
    const own = this.#isSharded ? await sumOver(this.#replicas, value) : value;
    return await sumOver(this.#shards, own);
  }

  /** The gradient of a table that the embedding and the head share, where these are two processes. */
  async sumTied(): Promise<void> {
    const { group, weight } = this.#tied ?? {};
    if (group === undefined || weight === undefined) return;
    await group.allReduce([gradientView(this.#loaded, gradientName(weight))]).wait();
  }

  /** After an update of parts: all of every weight at every replica. */
  async gatherWeights(): Promise<void> {
    if (!this.#isSharded) return;
    const views = [...this.#loaded.plan.buffers.values()].flatMap(({ name, role }) =>
      role === "weight" && this.#loaded.plan.buffers.has(gradientName(name))
        ? [gradientView(this.#loaded, name)]
        : [],
    );
    await this.#replicas.allGather(views).wait();
  }
}

async function sumOver(group: Collective, value: number): Promise<number> {
  if (group.size === 1) return value;
  const numbers = Float64Array.of(value);
  await group.allReduce([numbers]).wait();
  return numbers[0] ?? Number.NaN;
}
