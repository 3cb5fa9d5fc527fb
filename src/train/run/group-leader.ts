import { writeSync } from "node:fs";
import { VERSION } from "../../util/version.ts";
import { messageOf } from "../../util/errors.ts";
import type { LoadedPlan } from "../../engine/engine.ts";
import type { Model } from "../../model/index.ts";
import type { Batches } from "../../text/index.ts";
import type { TrainConfig } from "../config/config.ts";
import { compareWeights } from "../step/weight-check.ts";
import type { TrainingGroup } from "../step/training-group.ts";
import { DealtBatches } from "./group-batches.ts";
import { groupFacts } from "./group-facts.ts";
import { spreadNames } from "./group-weights.ts";
import { RunGroup } from "./run-group.ts";
import type { Order } from "./run-group.ts";

/** Rank 0's part in a run of several processes: it prepares, deals, commands, writes and tells. */
export class GroupLeader {
  readonly group: RunGroup;
  readonly #hosts: readonly string[];
  #order: Order | undefined;
  #batches: DealtBatches | undefined;

  private constructor(group: RunGroup, hosts: readonly string[]) {
    this.group = group;
    this.#hosts = hosts;
  }

  /** Forms the group. Throws `ClusterError` where it cannot be, also where its members are not of one mind. */
  static async form(config: TrainConfig): Promise<GroupLeader> {
    const group = await RunGroup.open(config);
    try {
      const hosts = await group.agree(groupFacts(config));
      return new GroupLeader(group, hosts);
    } catch (error) {
      // The others have heard the same and wait, so that this one's words are not cut off.
      writeSync(2, `anecdote: ${messageOf(error)}\n`);
      await group.cluster.close();
      throw error;
    }
  }

  /** What a user should know of the group. */
  get notice(): string {
    const { cluster, layout } = this.group;
    const hosts = [...new Set(this.#hosts)];
    const { microBatches = [], rowCount = 0 } = this.#order?.shares ?? {};
    const shares = microBatches.every((count) => count === microBatches[0])
      ? `${microBatches[0] ?? 0} micro-batches of ${rowCount} rows each`
      : `${microBatches.join(", ")} micro-batches of ${rowCount} rows`;
    const arranged =
      layout.stageCount === 1
        ? `${layout.replicaCount} processes`
        : `${layout.replicaCount} pipelines of ${layout.stageCount} stages`;
    return `${arranged} on ${hosts.length === 1 ? (hosts[0] ?? "") : `${hosts.length} hosts (${hosts.join(", ")})`}, ${shares}; Anecdote ${VERSION}, ${cluster.version}`;
  }

  /** Tells the others what is trained. Throws `TrainError` where an update does not go round. */
  async begin(order: Omit<Order, "shares">): Promise<void> {
    this.#order = { ...order, shares: this.group.sharesOf(order.config) };
    await this.group.giveOrder(this.#order);
  }

  ownConfig(config: TrainConfig): TrainConfig {
    return this.group.ownConfig(config, this.#order?.shares ?? this.group.sharesOf(config));
  }

  trainingGroup(config: TrainConfig): TrainingGroup {
    return this.group.trainingGroup(config);
  }

  /** This process's weights, and where it goes on from a checkpoint its moments, at all others. */
  async spread(loaded: LoadedPlan, model: Model, isResumed: boolean): Promise<void> {
    await this.group.spread(loaded, spreadNames(loaded.plan, model, isResumed));
    await this.group.world.barrier().wait();
    this.group.isDone();
  }

  /** Batches that are dealt to all before each update. */
  batches(source: Batches, config: TrainConfig): Batches {
    const { shares } = this.#requireOrder();
    const dealing = this.group.dealing({ config, shares, isPacked: source.isPacked });
    this.#batches = new DealtBatches(source, dealing, config);
    return this.#batches;
  }

  /** Before each update: what the others need for it. `isUpdated` ends it. */
  async beginUpdate(step: number): Promise<void> {
    await this.group.command({ kind: "update" });
    this.group.cluster.noteStep(step);
    await this.#batches?.deal();
  }

  isUpdated(): void {
    this.group.isDone();
  }

  /** Compares the weights of all processes. Throws `TrainError` where they differ. */
  async check(loaded: LoadedPlan, weights: readonly string[], step: number): Promise<void> {
    await this.group.command({ kind: "check" });
    await compareWeights(loaded, weights, this.group.replicas, step);
    this.group.isDone();
  }

  #requireOrder(): Order {
    if (this.#order === undefined) throw new Error("the group has not begun");
    return this.#order;
  }

  /** Ends the run at all processes: with a run that is over, or because of an error, which is told first. */
  async end(error?: unknown): Promise<void> {
    if (error !== undefined) writeSync(2, `anecdote: ${messageOf(error)}\n`);
    await this.group.end(error === undefined ? undefined : messageOf(error));
  }
}
