import type { LoadedPlan } from "../../engine/engine.ts";
import { runSections } from "../../engine/host/run-sections.ts";
import { checkBatch, lossCountOf } from "../../text/index.ts";
import type { Batch, Batches } from "../../text/index.ts";
import type { ControlBlock } from "../run/control.ts";
import { TrainError } from "../errors.ts";
import { writeBatch } from "./batch-inputs.ts";
import { gradientGroups, GradientReduction, TreeSums } from "./gradient-sums.ts";
import { drawMasks, maskBuffers } from "./dropout.ts";
import type { Dropout } from "./dropout.ts";
import { LossScale } from "./loss-scale.ts";
import { RewardSums } from "./reward-sums.ts";
import type { Rewards, RewardTotals } from "./reward-sums.ts";
import { learningRateAt } from "./schedule.ts";
import type { Schedule } from "./schedule.ts";
import type { Pipeline } from "./pipeline.ts";
import { GroupStep } from "./training-group.ts";
import type { TrainingGroup } from "./training-group.ts";

/** What a trainer needs. */
export interface TrainerOptions {
  readonly loaded: LoadedPlan;
  readonly batches: Batches;
  readonly schedule: Schedule;
  readonly accumulationSteps: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly weightDecay: number;
  /** Peak learning rate of matrices that Muon updates; it follows the schedule. Default: the schedule's own. */
  readonly muonLearningRate?: number;
  /** 0 switches clipping off. */
  readonly maxGradientNorm: number;
  readonly control?: ControlBlock;
  /** Of an adapter's inputs, where the plan has masks for them. */
  readonly dropout?: Dropout | undefined;
  /** Default: none, the scale 1. */
  readonly lossScale?: LossScale;
  /** Told when a gradient overflowed and the step is done again with the smaller scale. */
  readonly onOverflow?: (scale: number) => void;
  /**
   * Begins a step's gradients along with the update before it, where the engine runs both at once. Default true.
   * Numbers do not depend on it.
   */
  readonly lookahead?: boolean;
  /** Who else trains this model. Default: nobody. In a group, steps are not begun along with the update before. */
  readonly group?: TrainingGroup;
  /** Where in an update this process's micro-batches stand. Default: it has all of them. */
  readonly share?: UpdateShare;
  /**
   * How the gradients of micro-batches are added: one after the other inside the programs, or in a tree (`TreeSums`).
   * Default "serial".
   */
  readonly sumOrder?: "serial" | "tree";
  /** Where this process holds a part of the model (`group.shards`). */
  readonly pipeline?: Pipeline;
}

/** Micro-batches, or equal parts of their rows, that one process computes of an update. */
export interface UpdateShare {
  readonly count: number;
  /** Those of others before them. */
  readonly first: number;
  /** Parts of a micro-batch: each is one of the above. */
  readonly partCount: number;
}

/** What one update did. */
export interface UpdateResult {
  /** Mean nats a token over the whole accumulated batch, or a pair of answers. */
  readonly loss: number;
  /** Norm of all gradients before clipping. */
  readonly gradientNorm: number;
  readonly learningRate: number;
  /** Targets that count. */
  readonly tokenCount: number;
  /** Where the batch is pairs of answers: sums over them. */
  readonly rewards?: RewardTotals;
}

/** Loss in nats a token over some tokens, or a pair over pairs of answers. */
export interface EvaluationResult {
  readonly loss: number;
  readonly tokenCount: number;
  readonly rewards?: Rewards;
}

/** Gradients of one step, as far as they are computed. */
interface StepGradients {
  readonly batches: readonly Batch[];
  /** What the loss is the mean over: valid targets of all batches, those of the whole group, or pairs. */
  readonly lossCount: number;
  /** The batch source before these batches were taken. */
  readonly stateBefore: unknown;
  /** Updates done before this step. */
  readonly step: number;
  /** The loss scale they are computed with. */
  scale: number;
  /** Batches done. */
  done: number;
  lossSum: number;
  rewards: RewardSums;
  /** What went wrong while they were computed ahead: told when their own step begins. */
  failure?: { readonly error: unknown };
}

/**
 * Runs the sections of a training plan (train/step-plan.ts) and does the host's bookkeeping between them. After
 * `update` the weights are those of a whole step; the gradients of the next one may already stand in their buffers.
 */
export class Trainer {
  readonly loaded: LoadedPlan;
  readonly lossScale: LossScale;
  readonly #batches: Batches;
  readonly #options: TrainerOptions;
  readonly #group: GroupStep;
  readonly #sums: TreeSums | undefined;
  readonly #masks: readonly string[];
  #share: UpdateShare;
  #step: number;
  /** Begun along with the last update. */
  #next: StepGradients | undefined;

  constructor(options: TrainerOptions, step = 0) {
    this.#options = options;
    this.loaded = options.loaded;
    this.#batches = options.batches;
    this.#group = new GroupStep(options.loaded, options.group);
    const isTree = options.sumOrder === "tree" && options.accumulationSteps > 1;
    this.#sums = isTree ? new TreeSums(options.loaded, options.accumulationSteps) : undefined;
    this.lossScale = options.lossScale ?? LossScale.fixed(1);
    this.#step = step;
    this.#share = options.share ?? { count: options.accumulationSteps, first: 0, partCount: 1 };
    this.#masks = maskBuffers(options.loaded, options.dropout);
    this.#scalar("weight_decay", options.weightDecay);
  }

  /** Optimizer updates done. */
  get step(): number {
    return this.#step;
  }

  /** Micro-batches of an update here. */
  get batchCount(): number {
    return this.#share.count;
  }

  /** From the next update on, in a group whose gradients are added one after the other. */
  take(share: UpdateShare): void {
    this.#share = share;
  }

  /** Where the batch source stands after the last update's batches: what a checkpoint keeps of it. */
  get batchState(): unknown {
    return this.#next === undefined ? this.#batches.state : this.#next.stateBefore;
  }

  /**
   * One optimizer update over `accumulationSteps` micro-batches. `stateAfter` gives what belongs to the new
   * weights; it is published together with them. A gradient that overflows at a dynamic loss scale is computed
   * again, from the same batches, at half the scale. Throws `TrainError` where the loss or a gradient is not
   * finite otherwise, before any weight changes.
   */
  async update(stateAfter: (step: number, result: UpdateResult) => unknown): Promise<UpdateResult> {
    const { schedule, maxGradientNorm, beta1, beta2 } = this.#options;
    let gradients = this.#next ?? (await this.#takeBatches(this.#step));
    this.#next = undefined;
    if (gradients.failure !== undefined) throw gradients.failure.error;
    let { loss, gradientNorm } = await this.#finish(gradients);
    while (Number.isFinite(loss) && !Number.isFinite(gradientNorm) && this.lossScale.backOff()) {
      this.#options.onOverflow?.(this.lossScale.scale);
      gradients = this.#begin(gradients);
      ({ loss, gradientNorm } = await this.#finish(gradients));
    }
    if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm)) {
      throw new TrainError(
        "train.not_finite",
        `step ${this.#step + 1}: the loss is ${loss} and the gradient norm ${gradientNorm}`,
        {
          remedy:
            "Lower --learning-rate, or clip harder with --max-grad-norm. The last checkpoint is intact.",
        },
      );
    }
    const clips = maxGradientNorm > 0 && gradientNorm > maxGradientNorm;
    const learningRate = learningRateAt(schedule, this.#step);
    const clip = clips ? maxGradientNorm / (gradientNorm + 1e-6) : 1;
    this.#scalar("gradient_scale", clip / gradients.scale);
    this.#scalar("learning_rate", learningRate);
    if (this.loaded.plan.buffers.has("muon_learning_rate")) {
      const { muonLearningRate = schedule.learningRate } = this.#options;
      const share = schedule.learningRate > 0 ? learningRate / schedule.learningRate : 0;
      this.#scalar("muon_learning_rate", muonLearningRate * share);
    }
    this.#scalar("bias_correction1", 1 - beta1 ** (this.#step + 1));
    this.#scalar("bias_correction2", 1 - beta2 ** (this.#step + 1));
    const { batches, lossCount } = gradients;
    const arePairs = batches.some(({ pairs }) => pairs !== undefined);
    const result: UpdateResult = {
      ...{ loss, gradientNorm, learningRate },
      tokenCount: arePairs ? targetCount(batches) : lossCount,
      ...(arePairs && { rewards: gradients.rewards.totals }),
    };
    await this.#apply(() => stateAfter(this.#step, result));
    return result;
  }

  /** Mean nats a token over batches, each token counted once. */
  async evaluate(batches: Iterable<Batch>): Promise<EvaluationResult> {
    return evaluateBatches(this.loaded, batches);
  }

  /** Runs the update, along with the first batch of the next step where there is one and the engine can. */
  async #apply(stateAfter: () => unknown): Promise<void> {
    const { control, schedule, lookahead = true } = this.#options;
    this.lossScale.succeed();
    const isAhead = lookahead && this.#group.isAlone && this.loaded.runSequence !== undefined;
    const goesOn = this.#step + 1 < schedule.maxSteps && control?.interruptRequested !== true;
    const next = isAhead && goesOn ? await this.#takeBatches(this.#step + 1) : undefined;
    this.#next = next;
    const sections = next === undefined ? [] : this.#writeAhead(next);
    let isUpdated = false;
    control?.beginUpdate();
    if (!this.#group.isAlone) {
      if (this.loaded.plan.sections.has("update")) await this.loaded.run("update");
      await this.#group.gatherWeights();
      this.#step++;
      control?.endUpdate(this.#step, stateAfter());
      return;
    }
    try {
      await runSections(this.loaded, ["update", ...sections], (index) => {
        if (index > 0) return;
        this.#step++;
        control?.endUpdate(this.#step, stateAfter());
        isUpdated = true;
      });
      if (next !== undefined && sections.length > 0) this.#countBatch(next);
    } catch (error) {
      // The update is whole: what failed belongs to the next step.
      if (!isUpdated || next === undefined) throw error;
      next.failure = { error };
    }
  }

  async #takeBatches(step: number): Promise<StepGradients> {
    const stateBefore = this.#batches.state;
    let batches: readonly Batch[] = [];
    let ownCount = Number.NaN;
    let failure: StepGradients["failure"];
    try {
      batches = Array.from({ length: this.#share.count }, () => {
        const batch = this.#batches.next();
        checkBatch(batch);
        return batch;
      });
      ownCount = batches.reduce((sum, batch) => sum + lossCountOf(batch), 0);
    } catch (error) {
      failure = { error };
    }
    const lossCount = await this.#group.sum(ownCount);
    if (failure === undefined && lossCount === 0) failure = { error: nothingToLearn() };
    if (failure === undefined && Number.isNaN(lossCount)) failure = { error: otherMemberFailed() };
    const gradients = this.#begin({ batches, lossCount, stateBefore, step });
    return failure === undefined ? gradients : { ...gradients, failure };
  }

  /** As `#writeBatch` for the step after the one under way, whose update does not suffer from what is wrong with it. */
  #writeAhead(next: StepGradients): readonly string[] {
    if (next.failure !== undefined) return [];
    try {
      return this.#writeBatch(next);
    } catch (error) {
      next.failure = { error };
      return [];
    }
  }

  #begin(
    begun: Pick<StepGradients, "batches" | "lossCount" | "stateBefore" | "step">,
  ): StepGradients {
    const { batches, lossCount, stateBefore, step } = begun;
    const scale = this.lossScale.scaleFor(lossCount);
    this.#group.useUnit(scale);
    const rewards = new RewardSums();
    return { batches, lossCount, stateBefore, step, scale, done: 0, lossSum: 0, rewards };
  }

  /** Gradients times the loss scale into their buffers; the loss and the gradients' norm without the scale. */
  async #finish(
    gradients: StepGradients,
  ): Promise<{ readonly loss: number; readonly gradientNorm: number }> {
    const { pipeline } = this.#options;
    if (pipeline !== undefined) await this.#runPipeline(pipeline, gradients);
    while (gradients.done < gradients.batches.length) {
      const isLast = gradients.done + 1 === gradients.batches.length;
      const sections = this.#writeBatch(gradients);
      if (isLast && !this.#group.isAlone) await this.#runAndReduce(sections, gradients);
      else await runSections(this.loaded, sections);
      this.#countBatch(gradients);
    }
    const isLearning = this.loaded.plan.sections.has("gradient_norm");
    if (!this.#normsAtOnce && isLearning) await this.loaded.run("gradient_norm");
    // A process whose part of the model is frozen has none.
    const squareSum = isLearning ? readScalar(this.loaded, "gradient_square_sum") : 0;
    const scaledNorm = Math.sqrt(await this.#group.sumOfSquares(squareSum));
    return {
      loss: (await this.#group.sumOfAll(gradients.lossSum)) / gradients.lossCount,
      gradientNorm: scaledNorm / gradients.scale,
    };
  }

  /** Runs the last micro-batch; gradients are summed over the group from the moment in which they are whole. */
  async #runAndReduce(sections: readonly string[], { done }: StepGradients): Promise<void> {
    for (const section of sections) {
      const reduction = this.#reduction(section, done);
      await this.loaded.run(section, (count) => reduction.reached(count));
      await reduction.finish();
    }
    await this.#group.sumTied();
  }

  #reduction(section: string, batch: number): GradientReduction {
    return new GradientReduction(gradientGroups(this.loaded.plan, section), (buffers) => {
      for (const buffer of buffers) this.#sums?.add(batch, buffer);
      return this.#group.reduceGradients(buffers);
    });
  }

  /** All micro-batches of an update in a pipeline. Only its last process computes a loss. */
  async #runPipeline(pipeline: Pipeline, gradients: StepGradients): Promise<void> {
    const { batches, lossCount, scale } = gradients;
    let lastReduction: GradientReduction | undefined;
    await pipeline.run(batches.length, {
      write: (index) => {
        const batch = batches[index];
        if (batch !== undefined) writeBatch(this.loaded, batch);
        if (pipeline.isLast) this.#scalar("loss_scale", scale / lossCount);
      },
      accumulates: (index) => index > 0 && this.#sums === undefined,
      backward: async (section, index) => {
        const isLast = index + 1 === batches.length;
        const reduction = isLast ? this.#reduction(section, index) : undefined;
        await this.loaded.run(section, (count) => reduction?.reached(count));
        if (pipeline.isLast) gradients.lossSum += readScalar(this.loaded, "loss_sum");
        if (reduction === undefined)
          for (const buffer of this.#gradients) this.#sums?.add(index, buffer);
        // What goes to the process before this one is sent first.
        lastReduction = reduction;
      },
    });
    await lastReduction?.finish();
    await this.#group.sumTied();
    gradients.done = batches.length;
  }

  /** Whether the norm of the gradients is taken in one go with the last micro-batch. */
  get #normsAtOnce(): boolean {
    return this.#group.isAlone && this.#sums === undefined;
  }

  /** Puts a step's next batch where the engine finds it, and says what to run over it. */
  #writeBatch({ batches, lossCount, step, scale, done }: StepGradients): readonly string[] {
    const batch = batches[done];
    if (batch !== undefined) writeBatch(this.loaded, batch);
    const { dropout } = this.#options;
    if (dropout !== undefined) {
      const { first, partCount } = this.#share;
      const part = (first + done) % partCount;
      const microBatch = (first + done - part) / partCount;
      drawMasks(this.loaded, this.#masks, dropout, { step, microBatch, part });
    }
    this.#scalar("loss_scale", scale / lossCount);
    return [
      done === 0 || this.#sums !== undefined ? "forward_backward" : "forward_backward_accumulate",
      ...(done + 1 === batches.length && this.#normsAtOnce ? ["gradient_norm"] : []),
    ];
  }

  #countBatch(gradients: StepGradients): void {
    gradients.lossSum += readScalar(this.loaded, "loss_sum");
    gradients.rewards.add(this.loaded, gradients.batches[gradients.done]);
    const isReduced = gradients.done + 1 === gradients.batches.length && !this.#group.isAlone;
    if (!isReduced) for (const buffer of this.#gradients) this.#sums?.add(gradients.done, buffer);
    gradients.done++;
  }

  get #gradients(): readonly string[] {
    const { buffers } = this.loaded.plan;
    return [...buffers.values()].flatMap(({ name, role }) => (role === "gradient" ? [name] : []));
  }

  #scalar(buffer: string, value: number): void {
    this.loaded.view(buffer)[0] = value;
  }
}

function targetCount(batches: readonly Batch[]): number {
  return batches.reduce((sum, { validTargetCount }) => sum + validTargetCount, 0);
}

function otherMemberFailed(): TrainError {
  return new TrainError("train.group", "another member of the group has no batches to go on with", {
    remedy: "Its own message says why.",
  });
}

function nothingToLearn(): TrainError {
  return new TrainError(
    "train.targets",
    "none of a step's targets counts, so there is nothing to learn from",
    { remedy: "Give data in which something is to be predicted, or larger batches." },
  );
}

export function nothingToJudge(): TrainError {
  return new TrainError("train.targets", "there is nothing to judge: no target of the data counts");
}

/**
 * The sum of the losses of a batch's targets. In a pipeline every process calls it with the batch, and the last one has
 * the sum.
 */
export async function judge(
  loaded: LoadedPlan,
  pipeline: Pipeline | undefined,
  batch: Batch,
): Promise<number> {
  writeBatch(loaded, batch);
  await (pipeline === undefined ? loaded.run("evaluate") : pipeline.evaluate());
  return pipeline?.isLast === false ? Number.NaN : readScalar(loaded, "loss_sum");
}

/**
 * Runs a plan's `evaluate` section over batches. `onBatch` hears how many tokens are done and may end it; it is waited for.
 */
export async function evaluateBatches(
  loaded: LoadedPlan,
  batches: Iterable<Batch>,
  onBatch: (tokenCount: number) => boolean | Promise<boolean> = () => false,
): Promise<EvaluationResult> {
  let lossSum = 0;
  let lossCount = 0;
  let tokenCount = 0;
  const rewards = new RewardSums();
  for (const batch of batches) {
    lossSum += await judge(loaded, undefined, batch);
    lossCount += lossCountOf(batch);
    tokenCount += batch.validTargetCount;
    rewards.add(loaded, batch);
    if (await onBatch(tokenCount)) break;
  }
  if (tokenCount === 0) throw nothingToJudge();
  const { means } = rewards;
  return { loss: lossSum / lossCount, tokenCount, ...(means !== undefined && { rewards: means }) };
}

function readScalar(loaded: LoadedPlan, buffer: string): number {
  return loaded.view(buffer)[0] ?? Number.NaN;
}
