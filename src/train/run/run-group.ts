import { writeSync } from "node:fs";
import { availableParallelism } from "node:os";
import {
  agree,
  balanceBlocks,
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
import { TrainError } from "../errors.ts";
import type { KnownCosts } from "../costs/stage-costs.ts";
import type { MomentType } from "../../plan/plan.ts";
import type { StepPart, UpdateShard } from "../step/step-part.ts";
import type { TrainingGroup } from "../step/training-group.ts";
import { WireLosses } from "../step/wire-losses.ts";
import { divideBatches, parseShares } from "./batch-shares.ts";
import type { BatchShares, Shares } from "./batch-shares.ts";
import type { Dealing } from "./group-batches.ts";
import type { TrainerStart } from "./make-trainer.ts";
import { measuredShares, speedNotice } from "./speed-meter.ts";
import type { SpeedMeter } from "./speed-meter.ts";

/** What rank 0 has prepared and the others take from it: they need neither its data nor its folders. */
export interface Order {
  readonly config: TrainConfig;
  readonly model: ModelConfig;
  /** Whose weights the run begins with; rank 0 reads them. */
  readonly modelFolder: string | undefined;
  readonly isPacked: boolean;
  readonly start: TrainerStart;
  readonly division: Division;
}

/** How the work of an update is divided. */
export interface Division {
  readonly shares: BatchShares;
  /** First block of each stage of a pipeline. */
  readonly firsts: readonly number[];
}

/** What the others do next. */
export type Command =
  | { readonly kind: "update" }
  | { readonly kind: "check" }
  /** Divide the micro-batches anew, by what the last updates took. */
  | { readonly kind: "divide" }
  /** Judge the batches that rank 0 sends. */
  | { readonly kind: "evaluate" }
  /** Hand over what rank 0 asks for, as it asks. */
  | { readonly kind: "serve" }
  /** The run is over; `error`: because of this, which rank 0 tells. */
  | { readonly kind: "end"; readonly error?: string };

/** Whether all work on it: while rank 0 writes what it is served, nobody wonders where it is. */
function isTogether({ kind }: Command): boolean {
  return kind !== "serve" && kind !== "end";
}

/** Of the losses of what was judged, from the last process of a pipeline to rank 0. */
export const LOSS_TAG = 17;

/** What a process holds of a model, and where the parts of all begin. */
export interface Held {
  readonly part: StepPart | undefined;
  readonly shard: UpdateShard | undefined;
  /** First block of each stage of a pipeline. */
  readonly firsts: readonly number[];
  readonly momentType: MomentType;
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

  /** `--shares` here. Throws `TrainError` for what does not fit the layout. */
  shares(config: TrainConfig): Shares {
    return parseShares(config.shares, this.layout);
  }

  /**
   * How an update is divided: blocks over stages by what they cost and how fast processes are, micro-batches over
   * replicas. `costs`: where there are stages. Throws `TrainError` where it does not go round, `ClusterError` where the
   * model has too few blocks.
   */
  divide(config: TrainConfig, costs?: KnownCosts["costs"]): Division {
    const { stageCount, replicaCount } = this.layout;
    const shares = this.shares(config);
    const stages = Array.from({ length: stageCount }, (_, stage) => stage);
    const speedOf = (replica: number, stage: number): number =>
      shares.kind === "processes" ? (shares.weights[replica * stageCount + stage] ?? 1) : 1;
    const replicas = Array.from({ length: replicaCount }, (_, replica) => replica);
    // All replicas hold the same blocks: the slowest process of a stage decides.
    const speeds = stages.map((stage) => Math.min(...replicas.map((own) => speedOf(own, stage))));
    const firsts = costs === undefined ? [0] : balanceBlocks(costs, stageCount, speeds);
    if (shares.kind !== "processes")
      return { firsts, shares: divideBatches(config, replicaCount, shares) };
    const weights = replicas.map((replica) => {
      const times = stages.map(
        (stage) => stageCost(costs, firsts, stage) / speedOf(replica, stage),
      );
      return 1 / Math.max(...times);
    });
    return { firsts, shares: divideBatches(config, replicaCount, { kind: "replicas", weights }) };
  }

  /** The settings with this process's share of an update. */
  ownConfig(config: TrainConfig, { rowCount, microBatches }: BatchShares): TrainConfig {
    return {
      ...config,
      batch_size: rowCount,
      gradient_accumulation_steps: microBatches[this.place.replica] ?? 1,
    };
  }

  /** The settings of this process's plan: its share may grow where it is measured. */
  plannedConfig(config: TrainConfig, own: TrainConfig): TrainConfig {
    if (this.shares(config).kind !== "auto") return own;
    return { ...own, gradient_accumulation_steps: config.gradient_accumulation_steps };
  }

  /** What this process holds of the model and of the optimizer's state. `planned`: `plannedConfig`. */
  hold(planned: TrainConfig, model: Model, { firsts }: Pick<Division, "firsts">): Held {
    const { stageCount, replicaCount } = this.layout;
    const shard =
      planned.shard_optimizer && replicaCount > 1
        ? { rank: this.replicas.rank, size: replicaCount }
        : undefined;
    const { moment_dtype: momentType } = planned;
    if (stageCount === 1) return { shard, part: undefined, firsts: [0], momentType };
    const { stage } = this.place;
    const part: StepPart = {
      firstBlock: firsts[stage] ?? 0,
      endBlock: firsts[stage + 1] ?? model.parameters.blocks.length,
      slotCount: slotCountOf(stage, stageCount, planned.gradient_accumulation_steps),
    };
    return { shard, part, firsts, momentType };
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

  dealing({ config, isPacked }: Pick<Order, "config" | "isPacked">, shares: BatchShares): Dealing {
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
    this.cluster.noteWork(isTogether(command));
  }

  /** Of rank 0: the others wait for the next command. */
  isDone(): void {
    this.#isCommanding = true;
    this.cluster.noteWork(false);
  }

  /** What rank 0 commands. Until then this process waits, for as long as rank 0 works on its own. */
  async takeCommand(): Promise<Command> {
    this.cluster.noteWork(false);
    const command = (await broadcastValue(this.world, undefined)) as Command;
    this.cluster.noteWork(isTogether(command));
    return command;
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

  /** Everybody calls it: the micro-batches by what the last updates took, and what a user should know of that. */
  async measure(
    meter: SpeedMeter,
    { rowCount, microBatches }: BatchShares,
  ): Promise<{ readonly shares: BatchShares; readonly notice: string }> {
    const eachMs = new Float64Array(this.cluster.size);
    eachMs[this.rank] = meter.eachMs;
    await this.world.allGather([eachMs]).wait();
    const measured = { eachMs: [...eachMs], stageCount: this.layout.stageCount };
    const count = microBatches.reduce((sum, own) => sum + own, 0);
    const shares = measuredShares(count, measured);
    return { shares: { rowCount, microBatches: shares }, notice: speedNotice(shares, measured) };
  }

  async times(): Promise<CommunicationTimes> {
    return await this.cluster.times();
  }
}

/** What a stage of a pipeline costs. */
function stageCost(
  costs: KnownCosts["costs"] | undefined,
  firsts: readonly number[],
  stage: number,
): number {
  if (costs === undefined) return 1;
  const { embed, blocks, head } = costs;
  const own = blocks.slice(firsts[stage], firsts[stage + 1]).reduce((sum, cost) => sum + cost, 0);
  const isLast = stage === firsts.length - 1;
  return own + (stage === 0 ? embed : 0) + (isLast ? head : 0);
}

/**
 * What of an engine's settings keeps a run's bits apart from how many share it, and lets gradients be summed layer by
 * layer: a graph of many layers ends them all at once, and may round otherwise.
 */
export function joinSettings(
  { sum_order: order, blas }: Pick<TrainConfig, "sum_order" | "blas">,
  isGroup: boolean,
): { readonly join?: "never" } {
  if (order === "tree" && blas !== "auto" && blas !== "off") {
    throw new TrainError(
      "train.group.blas",
      `--sum-order tree gives the same bits for any number of processes, and results of ${blas} may depend on their threads`,
      { remedy: "Take --blas auto, which tries that, or --blas off." },
    );
  }
  return isGroup || order === "tree" ? { join: "never" } : {};
}

/** Threads of an engine where several processes share a machine: its cores go round. */
export function threadsBeside({ localSize }: Launched): number {
  return Math.max(1, Math.floor(availableParallelism() / localSize));
}
