import { rankOf } from "../../cluster/index.ts";
import { VERSION } from "../../util/version.ts";
import { messageOf } from "../../util/errors.ts";
import type { EngineDescription, LoadedPlan } from "../../engine/engine.ts";
import type { Model } from "../../model/index.ts";
import type { Batch, Batches } from "../../text/index.ts";
import type { TrainConfig } from "../config/config.ts";
import { compareWeights } from "../step/weight-check.ts";
import { Pipeline } from "../step/pipeline.ts";
import { judge, nothingToJudge } from "../step/trainer.ts";
import type { EvaluationResult, Trainer, UpdateShare } from "../step/trainer.ts";
import type { TrainingGroup } from "../step/training-group.ts";
import { shareOf } from "./batch-shares.ts";
import { DealtBatches, JudgedBatches } from "./group-batches.ts";
import { groupFacts } from "./group-facts.ts";
import { GroupState } from "./group-weights.ts";
import { TrainError } from "../errors.ts";
import { stageCosts } from "../costs/stage-costs.ts";
import { LOSS_TAG, RunGroup } from "./run-group.ts";
import type { Division, Held, Order } from "./run-group.ts";
import { MEASURED_AFTER, SpeedMeter } from "./speed-meter.ts";
import type { ViewOf } from "./checkpoint-contents.ts";
import { lossesNotice } from "./wire-state.ts";
import type { KeptLosses } from "./wire-state.ts";

/** Rank 0's part in a run of several processes: it prepares, deals, commands, writes and tells. */
export class GroupLeader {
  readonly group: RunGroup;
  readonly #hosts: readonly string[];
  readonly #meter: SpeedMeter;
  #order: Order | undefined;
  /** By what blocks were divided over stages. */
  #basis: string | undefined;
  /** Updates since the group was formed. */
  #updateCount = 0;
  #batches: DealtBatches | undefined;
  #held: Held | undefined;
  #state: GroupState | undefined;
  #pipeline: Pipeline | undefined;

  private constructor(group: RunGroup, hosts: readonly string[]) {
    this.group = group;
    this.#hosts = hosts;
    this.#meter = new SpeedMeter(group.cluster);
  }

  /** Forms the group. Throws `ClusterError` where it cannot be, also where its members are not of one mind. */
  static async form(config: TrainConfig): Promise<GroupLeader> {
    const group = await RunGroup.open(config);
    try {
      const hosts = await group.agree(groupFacts(config));
      return new GroupLeader(group, hosts);
    } catch (error) {
      // The others have heard the same and leave quietly, so that this one's words are not cut off.
      await group.cluster.close();
      throw error;
    }
  }

  /** What a user should know of the group. */
  get notice(): string {
    const { cluster, layout } = this.group;
    const hosts = [...new Set(this.#hosts)];
    const { shares, firsts = [] } = this.#order?.division ?? {};
    const { microBatches = [], rowCount = 0 } = shares ?? {};
    const dealt = microBatches.every((count) => count === microBatches[0])
      ? `${microBatches[0] ?? 0} micro-batches of ${rowCount} rows each`
      : `${microBatches.join(", ")} micro-batches of ${rowCount} rows`;
    const blocks = firsts.map(
      (first, stage) => (firsts[stage + 1] ?? this.#order?.model.layerCount ?? 0) - first,
    );
    const arranged =
      layout.stageCount === 1
        ? `${layout.replicaCount} processes`
        : `${layout.replicaCount} ${layout.replicaCount === 1 ? "pipeline" : "pipelines"} of ${layout.stageCount} stages with ${blocks.join(", ")} blocks (by ${this.#basis ?? ""})`;
    return `${arranged} on ${hosts.length === 1 ? (hosts[0] ?? "") : `${hosts.length} hosts (${hosts.join(", ")})`}, ${dealt}; Anecdote ${VERSION}, ${cluster.version}`;
  }

  /** What a user should know of the checkpoint that the run goes on from. */
  checkpointNotice(
    folder: string,
    { shard_optimizer: isSharded }: TrainConfig,
  ): string | undefined {
    const { losses, layout } = this.group;
    const { replicaCount } = layout;
    return lossesNotice(folder, losses && { replicaCount, isSharded });
  }

  /** Throws `TrainError` for what the group cannot do; before anything is prepared. */
  require(config: TrainConfig): void {
    this.ownConfig(config);
    const { stageCount } = this.group.layout;
    const asked = config.sample_steps > 0 ? "--sample-steps" : "--final-samples";
    if (stageCount > 1 && (config.sample_steps > 0 || config.final_samples > 0)) {
      throw new TrainError(
        "train.pipeline.samples",
        `${asked} needs the whole model in one process, and ${stageCount} processes hold it together`,
        {
          remedy:
            "Give --sample-steps 0 --final-samples 0; anecdote generate writes from the checkpoints.",
        },
      );
    }
  }

  /** Tells the others what is trained. Throws where an update does not go round or the pipeline does not fit the model. */
  async begin(
    order: Omit<Order, "division">,
    model: Model,
    engine: Pick<EngineDescription, "name" | "device">,
  ): Promise<void> {
    const { config } = order;
    const known = this.group.layout.stageCount > 1 ? stageCosts(config, model, engine) : undefined;
    this.#basis = known?.basis;
    const division = this.group.divide(config, known?.costs);
    this.#order = { ...order, division };
    await this.group.giveOrder(this.#order);
  }

  ownConfig(config: TrainConfig): TrainConfig {
    const { shares } = this.#order?.division ?? this.group.divide(config);
    return this.group.ownConfig(config, shares);
  }

  /** The settings of this process's plan. */
  plannedConfig(config: TrainConfig): TrainConfig {
    return this.group.plannedConfig(config, this.ownConfig(config));
  }

  /** What this process holds of the model. */
  hold(config: TrainConfig, model: Model): Held {
    const held = this.group.hold(this.plannedConfig(config), model, this.#division);
    this.#held = held;
    return held;
  }

  /** What of an update this process computes. */
  get share(): UpdateShare {
    const { config, division } = this.#requireOrder();
    return shareOf(division.shares, config, this.group.place.replica);
  }

  get #division(): Division {
    return this.#requireOrder().division;
  }

  async trainingGroup(config: TrainConfig, model: Model): Promise<TrainingGroup> {
    return await this.group.trainingGroup(config, model);
  }

  pipeline(loaded: LoadedPlan): Pipeline | undefined {
    const { part } = this.#requireHeld();
    this.#pipeline = part && new Pipeline(loaded, this.group.shards, part);
    return this.#pipeline;
  }

  /** Reads or draws all weights, gives them to those who hold them, and lets them all begin. */
  async fill(loaded: LoadedPlan, model: Model, checkpoint: string | undefined): Promise<void> {
    this.#state = new GroupState(this.group, model, this.#requireHeld(), loaded);
    await this.#state.distribute({
      isResumed: checkpoint !== undefined,
      ...(checkpoint !== undefined && { folder: checkpoint }),
    });
    this.group.isDone();
  }

  /** Whether this process has all that a checkpoint stores, and can evaluate and sample on its own. */
  get isWhole(): boolean {
    return this.#state?.isWhole !== false;
  }

  /** Does what needs contents of buffers, and of what rounding lost, that others hold. */
  async collecting<Result>(work: (viewOf: ViewOf, losses?: KeptLosses) => Result): Promise<Result> {
    const state = this.#state;
    if (state === undefined) throw new Error("the group has no weights yet");
    if (state.isComplete) return work((name) => state.view(name));
    await this.group.command({ kind: "serve" });
    try {
      return work((name) => state.view(name), state.losses);
    } finally {
      await state.endServing();
      this.group.isDone();
    }
  }

  /**
   * The loss over batches, each judged by one replica. Their sums are added in the order of the batches, so that the
   * number is that of one process.
   */
  async evaluate(loaded: LoadedPlan, batches: Iterable<Batch>): Promise<EvaluationResult> {
    const dealing = this.group.dealing(this.#requireOrder(), this.#division.shares);
    const { world, layout } = this.group;
    const { replicaCount, stageCount } = layout;
    const judged = new JudgedBatches(dealing);
    await this.group.command({ kind: "evaluate" });
    const counts = Array.from({ length: replicaCount }, () => 0);
    const own: number[] = [];
    let batchCount = 0;
    let tokenCount = 0;
    for (const batch of batches) {
      // The others get theirs first, and compute while this process does.
      const replica = ++batchCount % replicaCount;
      counts[replica] = (counts[replica] ?? 0) + 1;
      tokenCount += batch.validTargetCount;
      for (const member of dealing.members[replica] ?? [])
        if (member !== world.rank) await judged.send(batch, member);
      if (replica === 0) own.push(await judge(loaded, this.#pipeline, batch));
    }
    await judged.end(Array.from({ length: world.size - 1 }, (_, index) => index + 1));
    const sums = await Promise.all(
      counts.map(async (count, replica) => {
        if (replica === 0 && stageCount === 1) return own;
        const found = new Float64Array(count);
        const stage = stageCount - 1;
        await world.receive([found], rankOf({ replica, stage }, layout), LOSS_TAG).wait();
        return found;
      }),
    );
    this.group.isDone();
    if (tokenCount === 0) throw nothingToJudge();
    let loss = 0;
    for (let number = 1; number <= batchCount; number++) {
      const replica = number % replicaCount;
      loss += sums[replica]?.[Math.floor((number - (replica === 0 ? 1 : 0)) / replicaCount)] ?? NaN;
    }
    return { loss: loss / tokenCount, tokenCount };
  }

  /** Batches that are dealt to all before each update. */
  batches(source: Batches, config: TrainConfig): Batches {
    const { isPacked } = source;
    const dealing = this.group.dealing({ config, isPacked }, this.#division.shares);
    this.#batches = new DealtBatches(source, dealing, config);
    return this.#batches;
  }

  /** Before each update: what the others need for it. `isUpdated` ends it. */
  async beginUpdate(step: number): Promise<void> {
    await this.group.command({ kind: "update" });
    this.group.cluster.noteStep(step);
    this.#meter.begin();
    await this.#batches?.deal();
  }

  isUpdated(trainer: Trainer): void {
    this.#meter.end(trainer.batchCount);
    this.#updateCount++;
    this.group.isDone();
  }

  /**
   * Divides the micro-batches anew, once the first updates have shown how fast each process is, where that is asked
   * for. Returns what a user should know.
   */
  async divideAnew(trainer: Trainer): Promise<string | undefined> {
    const order = this.#requireOrder();
    const isAuto = this.group.shares(order.config).kind === "auto";
    if (!isAuto || this.#updateCount !== MEASURED_AFTER) return undefined;
    await this.group.command({ kind: "divide" });
    const { shares, notice } = await this.group.measure(this.#meter, this.#division.shares);
    this.#order = { ...order, division: { ...order.division, shares } };
    this.#batches?.share(shares);
    trainer.take(shareOf(shares, order.config, this.group.place.replica));
    this.group.isDone();
    return notice;
  }

  /** Compares the weights of all processes. Throws `TrainError` where they differ. */
  async check(loaded: LoadedPlan, weights: readonly string[], step: number): Promise<void> {
    await this.group.command({ kind: "check" });
    await compareWeights(loaded, weights, this.group.replicas, step);
    this.group.isDone();
  }

  #requireHeld(): Held {
    if (this.#held === undefined) throw new Error("the group holds nothing yet");
    return this.#held;
  }

  #requireOrder(): Order {
    if (this.#order === undefined) throw new Error("the group has not begun");
    return this.#order;
  }

  /** What exchanges took here since the group was formed, as the `end` event tells it. */
  async communicationFields() {
    const { sentBytes, busyMs, waitedMs } = await this.group.times();
    return {
      sent_bytes: sentBytes,
      exchange_seconds: busyMs / 1000,
      waited_seconds: waitedMs / 1000,
    };
  }

  /** Ends the run at all processes: with a run that is over, or because of an error. */
  async end(error?: unknown): Promise<void> {
    await this.group.end(error === undefined ? undefined : messageOf(error));
  }
}
