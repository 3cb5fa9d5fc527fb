import type { EngineDescription } from "../../engine/engine.ts";
import { BestSoFar } from "./best-so-far.ts";
import { savedSettings } from "../config/saved-settings.ts";
import type { TrainerState } from "../../runs/state.ts";
import { RewardSums } from "../step/reward-sums.ts";
import type { RewardTotals, Rewards } from "../step/reward-sums.ts";
import type { Trainer } from "../step/trainer.ts";

/** Settings as a checkpoint records them: all that are given, by name. */
export type RecordedSettings = object;

/** What a run adds up over its steps, and trainer_state.json carries from one process to the next. */
export class RunTotals {
  /** Mean loss of the last report. */
  trainLoss: number | null = null;
  evalLoss: number | null = null;
  trainedTokens = 0;
  readonly best = new BestSoFar();
  /** Digest of the training data. */
  dataDigest: string | undefined;
  /** Since the last report. */
  #lossSum = 0;
  #stepCount = 0;
  #rewards = new RewardSums();
  #elapsedBefore = 0;
  #startedMs = Date.now();

  adopt({ window, trainLoss, evalLoss, trainedTokens, elapsedSeconds, best }: TrainerState): void {
    this.best.adopt(best);
    this.#lossSum = window.lossSum;
    this.#stepCount = window.stepCount;
    this.#rewards = new RewardSums();
    if (window.rewards !== undefined) this.#rewards.addTotals(window.rewards);
    this.trainLoss = trainLoss;
    this.evalLoss = evalLoss;
    this.trainedTokens = trainedTokens;
    this.#elapsedBefore = elapsedSeconds;
  }

  /** Training begins now; what was before is not counted. */
  startClock(): void {
    this.#startedMs = Date.now();
  }

  /** A pause of so many milliseconds is no training. */
  leaveOut(elapsedMs: number): void {
    this.#startedMs += elapsedMs;
  }

  /** Seconds of training in this process. */
  get secondsHere(): number {
    return (Date.now() - this.#startedMs) / 1000;
  }

  get elapsedSeconds(): number {
    return this.#elapsedBefore + this.secondsHere;
  }

  countStep(loss: number, tokenCount: number, rewards?: RewardTotals): void {
    if (rewards !== undefined) this.#rewards.addTotals(rewards);
    this.#lossSum += loss;
    this.#stepCount++;
    this.trainedTokens += tokenCount;
  }

  /** Whether steps were done since the last report. */
  get isUnreported(): boolean {
    return this.#stepCount > 0;
  }

  /** Means of the rewards since the last report; before `report`. */
  get rewards(): Rewards | undefined {
    return this.#rewards.means;
  }

  /** Mean loss since the last report, which ends here. */
  report(): number {
    const mean = this.#lossSum / this.#stepCount;
    this.trainLoss = mean;
    this.#lossSum = 0;
    this.#stepCount = 0;
    this.#rewards = new RewardSums();
    return mean;
  }

  state(trainer: Trainer, engine: EngineDescription, config: RecordedSettings): TrainerState {
    return {
      version: 1,
      step: trainer.step,
      sampler: trainer.batchState as TrainerState["sampler"],
      window: {
        ...{ lossSum: this.#lossSum, stepCount: this.#stepCount },
        ...(this.#rewards.totals.count > 0 && { rewards: this.#rewards.totals }),
      },
      ...(trainer.lossScale.isDynamic && { lossScale: trainer.lossScale.state }),
      trainLoss: this.trainLoss,
      evalLoss: this.evalLoss,
      trainedTokens: this.trainedTokens,
      elapsedSeconds: this.elapsedSeconds,
      engine,
      config: { ...savedSettings(config) },
      ...(this.best.state !== undefined && { best: this.best.state }),
      ...(this.dataDigest !== undefined && { data: this.dataDigest }),
    };
  }
}
