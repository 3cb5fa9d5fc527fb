import type { LoadedPlan } from "../engine/engine.ts";
import type { Batch, BatchSource } from "../text/index.ts";
import type { ControlBlock } from "./control.ts";
import { TrainError } from "./errors.ts";
import { LossScale } from "./loss-scale.ts";
import { learningRateAt } from "./schedule.ts";
import type { Schedule } from "./schedule.ts";

export interface TrainerOptions {
  readonly loaded: LoadedPlan;
  readonly batches: BatchSource;
  readonly schedule: Schedule;
  readonly accumulationSteps: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly weightDecay: number;
  /** 0 switches clipping off. */
  readonly maxGradientNorm: number;
  readonly control?: ControlBlock;
  /** Default: none, the scale 1. */
  readonly lossScale?: LossScale;
  /** Told when a gradient overflowed and the step is done again with the smaller scale. */
  readonly onOverflow?: (scale: number) => void;
}

export interface UpdateResult {
  /** Mean nats a token over the whole accumulated batch. */
  readonly loss: number;
  /** Norm of all gradients before clipping. */
  readonly gradientNorm: number;
  readonly learningRate: number;
  readonly tokenCount: number;
}

export interface EvaluationResult {
  readonly loss: number;
  readonly tokenCount: number;
}

/** Runs the sections of a training plan (train/step-plan.ts) and does the host's bookkeeping between them. */
export class Trainer {
  readonly loaded: LoadedPlan;
  readonly batches: BatchSource;
  readonly lossScale: LossScale;
  readonly #options: TrainerOptions;
  #step: number;

  constructor(options: TrainerOptions, step = 0) {
    this.#options = options;
    this.loaded = options.loaded;
    this.batches = options.batches;
    this.lossScale = options.lossScale ?? LossScale.fixed(1);
    this.#step = step;
    this.#scalar("weight_decay", options.weightDecay);
  }

  /** Optimizer updates done. */
  get step(): number {
    return this.#step;
  }

  /**
   * One optimizer update over `accumulationSteps` micro-batches. `stateAfter` gives what belongs to the new
   * weights; it is published together with them. A gradient that overflows at a dynamic loss scale is computed
   * again, from the same batches, at half the scale. Throws `TrainError` where the loss or a gradient is not
   * finite otherwise, before any weight changes.
   */
  async update(stateAfter: (step: number, result: UpdateResult) => unknown): Promise<UpdateResult> {
    const { accumulationSteps, schedule, control, maxGradientNorm, beta1, beta2 } = this.#options;
    const batches = Array.from({ length: accumulationSteps }, () => this.batches.next());
    const tokenCount = batches.reduce((sum, batch) => sum + batch.validTargetCount, 0);
    let { loss, gradientNorm } = await this.#gradients(batches, tokenCount);
    while (Number.isFinite(loss) && !Number.isFinite(gradientNorm) && this.lossScale.backOff()) {
      this.#options.onOverflow?.(this.lossScale.scale);
      ({ loss, gradientNorm } = await this.#gradients(batches, tokenCount));
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
    this.#scalar("gradient_scale", clip / this.lossScale.scaleFor(tokenCount));
    this.#scalar("learning_rate", learningRate);
    this.#scalar("bias_correction1", 1 - beta1 ** (this.#step + 1));
    this.#scalar("bias_correction2", 1 - beta2 ** (this.#step + 1));
    control?.beginUpdate();
    await this.loaded.run("update");
    this.#step++;
    this.lossScale.succeed();
    const result: UpdateResult = { loss, gradientNorm, learningRate, tokenCount };
    control?.endUpdate(this.#step, stateAfter(this.#step, result));
    return result;
  }

  /** Gradients times the loss scale into their buffers; the loss and the gradients' norm without the scale. */
  async #gradients(
    batches: readonly Batch[],
    tokenCount: number,
  ): Promise<{ readonly loss: number; readonly gradientNorm: number }> {
    const scale = this.lossScale.scaleFor(tokenCount);
    let lossSum = 0;
    for (const [index, batch] of batches.entries()) {
      writeBatch(this.loaded, batch);
      this.#scalar("loss_scale", scale / tokenCount);
      await this.loaded.run(index === 0 ? "forward_backward" : "forward_backward_accumulate");
      lossSum += readScalar(this.loaded, "loss_sum");
    }
    await this.loaded.run("gradient_norm");
    const scaledNorm = Math.sqrt(readScalar(this.loaded, "gradient_square_sum"));
    return { loss: lossSum / tokenCount, gradientNorm: scaledNorm / scale };
  }

  /** Mean nats a token over batches, each token counted once. */
  async evaluate(batches: Iterable<Batch>): Promise<EvaluationResult> {
    return evaluateBatches(this.loaded, batches);
  }

  #scalar(buffer: string, value: number): void {
    this.loaded.view(buffer)[0] = value;
  }
}

/**
 * Runs a plan's `evaluate` section over batches. `onBatch` hears how many tokens are done and may end it.
 */
export async function evaluateBatches(
  loaded: LoadedPlan,
  batches: Iterable<Batch>,
  onBatch: (tokenCount: number) => boolean = () => false,
): Promise<EvaluationResult> {
  let lossSum = 0;
  let tokenCount = 0;
  for (const batch of batches) {
    writeBatch(loaded, batch);
    await loaded.run("evaluate");
    lossSum += readScalar(loaded, "loss_sum");
    tokenCount += batch.validTargetCount;
    if (onBatch(tokenCount)) break;
  }
  return { loss: lossSum / tokenCount, tokenCount };
}

function writeBatch(loaded: LoadedPlan, batch: Batch): void {
  loaded.view("tokens").set(batch.inputs);
  loaded.view("targets").set(batch.targets);
}

function readScalar(loaded: LoadedPlan, buffer: string): number {
  return loaded.view(buffer)[0] ?? Number.NaN;
}
