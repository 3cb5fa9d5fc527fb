import { writeSync } from "node:fs";
import { availableParallelism } from "node:os";
import {
  agree,
  broadcastValue,
  Cluster,
  layoutOf,
  placeOf,
  rankOf,
  slotCountOf,
} from "../../cluster/index.ts";
import type { CommunicationTimes, Facts, Launched, Layout, Place } from "../../cluster/index.ts";
import type { Collective } from "../../engine/collective.ts";
import type { Model, ModelConfig } from "../../model/index.ts";
import type { TrainConfig } from "../config/config.ts";
import { balanceBlocks, stageCosts } from "../step/pipeline-balance.ts";
import type { StepPart, UpdateShard } from "../step/step-part.ts";
import type { TrainingGroup } from "../step/training-group.ts";
import { WireLosses } from "../step/wire-losses.ts";
import { divideBatches, parseShares } from "./batch-shares.ts";
import type { BatchShares } from "./batch-shares.ts";
import type { Dealing } from "./group-batches.ts";
import type { TrainerStart } from "./make-trainer.ts";

/** What rank 0 has prepared and the others take from it: they need neither its data nor its folders. */
export interface Order {
  readonly config: TrainConfig;
  readonly model: ModelConfig;
  /** Whose weights the run begins with; rank 0 reads them. */
  readonly modelFolder: string | undefined;
  readonly isPacked: boolean;
  readonly start: TrainerStart;
  readonly shares: BatchShares;
}

/** What the others do next. */
export type Command =
  | { readonly kind: "update" }
  | { readonly kind: "check" }
  /** Judge the batches that rank 0 sends; only where a pipeline is needed for it. */
  | { readonly kind: "evaluate" }
  /** Hand over what rank 0 asks for, as it asks. */
  | { readonly kind: "serve" }
  /** The run is over; `error`: because of this, which rank 0 tells. */
  | { readonly kind: "end"; readonly error?: string };

/** Of the loss of what was judged, from the last process of a pipeline to rank 0. */
export const LOSS_TAG = 17;

/** What a process holds of a model, and where the parts of all begin. */
export interface Held {
  readonly part: StepPart | undefined;
  readonly shard: UpdateShard | undefined;
  /** First block of each stage of a pipeline. */
  readonly firsts: readonly number[];
}

/** The processes of a run that mpirun started, seen from one of them. */
export class RunGroup {
  readonly cluster: Cluster;
  readonly layout: Layout;
  readonly place: Place;
  readonly replicas: Collective;
  readonly shards: Collective;
  /** Where gradients travel as fp16: what rounding has lost of this process's. */
  readonly losses: WireLosses | undefined;
  /** Whether the others wait for a command, so that this process can end them in good order. */
  #isCommanding = true;

  private constructor(
    cluster: Cluster,
    layout: Layout,
    groups: { readonly replicas: Collective; readonly shards: Collective },
    wire: TrainConfig["wire"],
  ) {
    this.cluster = cluster;
    this.layout = layout;
    this.place = placeOf(cluster.rank, layout);
    this.replicas = groups.replicas;
    this.shards = groups.shards;
    this.losses = wire === "fp16" && groups.replicas.size > 1 ? new WireLosses() : undefined;
  }

  /** Forms the group. Throws `ClusterError` where Open MPI is missing or processes do not fit the stages. */
  static async open(
    settings: Pick<TrainConfig, "pipeline_stages" | "stall_seconds" | "wire">,
  ): Promise<RunGroup> {
    const cluster = await Cluster.open({ stallSeconds: settings.stall_seconds });
    const layout = layoutOf(cluster.size, settings.pipeline_stages);
    const { replica, stage } = placeOf(cluster.rank, layout);
    const replicas = await cluster.split(stage);
    const shards = await cluster.split(replica);
    return new RunGroup(cluster, layout, { replicas, shards }, settings.wire);
  }

  get rank(): number {
    return this.cluster.rank;
  }

  get world(): Collective {
    return this.cluster.world;
  }

  /** Throws, at every member, where they are not of one mind. Returns their hosts. */
  async agree(facts: Facts): Promise<readonly string[]> {
    const hosts = await agree(this.world, facts);
    return hosts;
  }

  /** How an update's batches are divided. */
  sharesOf(config: TrainConfig): BatchShares {
    const { replicaCount } = this.layout;
    return divideBatches(config, replicaCount, parseShares(config.shares, replicaCount));
  }

  /** The settings with this process's share of an update. */
  ownConfig(config: TrainConfig, { rowCount, microBatches }: BatchShares): TrainConfig {
    return {
      ...config,
      batch_size: rowCount,
      gradient_accumulation_steps: microBatches[this.place.replica] ?? 1,
    };
  }

  /** What this process holds of the model and of the optimizer's state. */
  hold(config: TrainConfig, model: Model): Held {
    const { stageCount, replicaCount } = this.layout;
    const shard =
      config.shard_optimizer && replicaCount > 1
        ? { rank: this.replicas.rank, size: replicaCount }
        : undefined;
    if (stageCount === 1) return { shard, part: undefined, firsts: [0] };
    const { batch_size: batchSize, max_seq_length: sequenceLength } = config;
    const firsts = balanceBlocks(stageCosts(model, { batchSize, sequenceLength }), stageCount);
    const { stage } = this.place;
    const part: StepPart = {
      firstBlock: firsts[stage] ?? 0,
      endBlock: firsts[stage + 1] ?? model.parameters.blocks.length,
      slotCount: slotCountOf(stage, stageCount, config.gradient_accumulation_steps),
    };
    return { shard, part, firsts };
  }

  /** Everybody calls it: the two ends of each pipeline form a group where they share a table. */
  async trainingGroup(config: TrainConfig, model: Model): Promise<TrainingGroup> {
    const { shard_optimizer: isSharded } = config;
    const { stage, replica } = this.place;
    const { stageCount, replicaCount } = this.layout;
    const table = model.parameters.head.weights.find((weight) => weight.borrowed);
    const { replicas, shards, losses: lost } = this;
    const group = { replicas, shards, lost, isSharded };
    if (table?.trainable !== true || stageCount === 1) return group;
    const isEnd = stage === 0 || stage === stageCount - 1;
    const ends = await this.cluster.split(isEnd ? replica : replicaCount);
    return isEnd ? { ...group, tied: { group: ends, weight: table.name } } : group;
  }

  dealing({ config, shares, isPacked }: Pick<Order, "config" | "shares" | "isPacked">): Dealing {
    const stages = Array.from({ length: this.layout.stageCount }, (_, stage) => stage);
    return {
      ...{ world: this.world, shares, isPacked, sequenceLength: config.max_seq_length },
      members: shares.microBatches.map((_, replica) =>
        stages.map((stage) => rankOf({ replica, stage }, this.layout)),
      ),
    };
  }

  /** Of rank 0 to the others. */
  async giveOrder(order: Order): Promise<void> {
    this.#isCommanding = false;
    await broadcastValue(this.world, { kind: "order", order });
  }

  /** What rank 0 has prepared; nothing where it has nothing to do. */
  async takeOrder(): Promise<Order | undefined> {
    const told = (await broadcastValue(this.world, undefined)) as
      | { readonly kind: "order"; readonly order: Order }
      | Command;
    return told.kind === "order" ? told.order : undefined;
  }

  /** Of rank 0: what comes next. While the others carry it out, they cannot be told of an error. */
  async command(command: Command): Promise<void> {
    await broadcastValue(this.world, command);
    this.#isCommanding = false;
  }

  /** Of rank 0: the others wait for the next command. */
  isDone(): void {
    this.#isCommanding = true;
  }

  async takeCommand(): Promise<Command> {
    return (await broadcastValue(this.world, undefined)) as Command;
  }

  /** Of rank 0: ends the others, and leaves with them. With an error, all at once where they cannot be told. */
  async end(error?: string): Promise<void> {
    if (!this.#isCommanding) {
      // Nobody else tells it: this ends here.
      writeSync(2, `anecdote: rank ${this.rank}: ${error ?? "the run has ended"}\n`);
      return await this.cluster.abort();
    }
    await broadcastValue(this.world, { kind: "end", ...(error !== undefined && { error }) });
    await this.cluster.close();
  }

  async times(): Promise<CommunicationTimes> {
    return await this.cluster.times();
  }
}

/**
 * What of an engine's settings keeps a run's bits apart from how many share it, and lets gradients be summed layer by
 * layer: a graph of many layers ends them all at once, and may round otherwise.
 */
export function joinSettings(
  { sum_order: order }: Pick<TrainConfig, "sum_order">,
  isGroup: boolean,
): { readonly join?: "never" } {
  return isGroup || order === "tree" ? { join: "never" } : {};
}

/** Threads of an engine where several processes share a machine: its cores go round. */
export function threadsBeside({ localSize }: Launched): number {
  return Math.max(1, Math.floor(availableParallelism() / localSize));
}
