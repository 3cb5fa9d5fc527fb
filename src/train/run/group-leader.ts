import { VERSION } from "../../util/version.ts";
import { messageOf } from "../../util/errors.ts";
import type { LoadedPlan } from "../../engine/engine.ts";
import type { Model } from "../../model/index.ts";
import type { Batch, Batches } from "../../text/index.ts";
import type { TrainConfig } from "../config/config.ts";
import { compareWeights } from "../step/weight-check.ts";
import { Pipeline } from "../step/pipeline.ts";
import { writeBatch } from "../step/batch-inputs.ts";
import { evaluateBatches, nothingToJudge } from "../step/trainer.ts";
import type { EvaluationResult } from "../step/trainer.ts";
import type { TrainingGroup } from "../step/training-group.ts";
import { DealtBatches, sendJudged } from "./group-batches.ts";
import { groupFacts } from "./group-facts.ts";
import { GroupState } from "./group-weights.ts";
import { TrainError } from "../errors.ts";
import { LOSS_TAG, RunGroup } from "./run-group.ts";
import type { Held, Order } from "./run-group.ts";
import type { ViewOf } from "./checkpoint-contents.ts";
import { lossesNotice } from "./wire-state.ts";
import type { KeptLosses } from "./wire-state.ts";

/** Rank 0's part in a run of several processes: it prepares, deals, commands, writes and tells. */
export class GroupLeader {
  readonly group: RunGroup;
  readonly #hosts: readonly string[];
  #order: Order | undefined;
  #batches: DealtBatches | undefined;
  #held: Held | undefined;
  #state: GroupState | undefined;
  #pipeline: Pipeline | undefined;

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
      // The others have heard the same and leave quietly, so that this one's words are not cut off.
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

  /** Tells the others what is trained. Throws `TrainError` where an update does not go round. */
  async begin(order: Omit<Order, "shares">): Promise<void> {
    this.#order = { ...order, shares: this.group.sharesOf(order.config) };
    await this.group.giveOrder(this.#order);
  }

  ownConfig(config: TrainConfig): TrainConfig {
    return this.group.ownConfig(config, this.#order?.shares ?? this.group.sharesOf(config));
  }

  /** What this process holds of the model. Throws `TrainError` where the pipeline does not fit it. */
  hold(config: TrainConfig, model: Model): Held {
    const held = this.group.hold(config, model);
    this.#held = held;
    return held;
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

  /** The loss over batches, through the whole pipeline. */
  async evaluate(loaded: LoadedPlan, batches: Iterable<Batch>): Promise<EvaluationResult> {
    const pipeline = this.#pipeline;
    if (pipeline === undefined) return await evaluateBatches(loaded, batches);
    const order = this.#requireOrder();
    const dealing = this.group.dealing(order);
    const { world, layout } = this.group;
    const others = Array.from({ length: layout.stageCount - 1 }, (_, index) => index + 1);
    await this.group.command({ kind: "evaluate" });
    let tokenCount = 0;
    for (const batch of batches) {
      await sendJudged(dealing, batch, others);
      writeBatch(loaded, batch);
      await pipeline.evaluate();
      tokenCount += batch.validTargetCount;
    }
    await sendJudged(dealing, undefined, others);
    const sum = new Float64Array(1);
    await world.receive([sum], layout.stageCount - 1, LOSS_TAG).wait();
    this.group.isDone();
    if (tokenCount === 0) throw nothingToJudge();
    return { loss: (sum[0] ?? Number.NaN) / tokenCount, tokenCount };
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
