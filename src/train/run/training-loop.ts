import type { ExpectedRuns } from "../../lower/join-dispatches.ts";
import { checkpointPath } from "../../runs/checkpoint.ts";
import type { TrainEvent } from "../../runs/events.ts";
import type { TrainConfig } from "../config/config.ts";
import type { EnergyBlock } from "../costs/energy-block.ts";
import { RunCosts } from "../costs/run-costs.ts";
import { heldWeights } from "../step/step-part.ts";
import type { UpdateResult } from "../step/trainer.ts";
import { activitiesAfter } from "./activities.ts";
import type { GroupLeader } from "./group-leader.ts";
import { Observations } from "./observations.ts";
import { publishedRun } from "./published-run.ts";
import { rewardFields } from "./reward-fields.ts";
import type { RunActivities, ActivityParts } from "./run-activities.ts";
import type { RunLog } from "./run-log.ts";

/** Tokens that an update learns from, in all processes. */
export function tokensPerStep({
  method,
  batch_size,
  max_seq_length,
  gradient_accumulation_steps,
}: TrainConfig): number {
  const rowCount = method === "dpo" ? 2 * batch_size : batch_size;
  return rowCount * max_seq_length * gradient_accumulation_steps;
}

/** What steps are made with. */
export interface LoopParts extends Pick<
  ActivityParts,
  "model" | "engine" | "trainer" | "totals" | "control"
> {
  readonly config: TrainConfig;
  readonly activities: RunActivities;
  readonly log: RunLog;
  /** Where other processes train with this one. */
  readonly leader: GroupLeader | undefined;
  /** How often the engine is to expect sections. */
  readonly expectedRuns: ExpectedRuns;
  /** What a power meter on the main thread reads. */
  readonly energy?: EnergyBlock;
}

/** Steps, what is due between them, and what others ask of the run meanwhile. */
export class TrainingLoop {
  readonly #parts: LoopParts;
  readonly #costs: RunCosts;
  readonly #firstStep: number;

  constructor(parts: LoopParts) {
    this.#parts = parts;
    this.#firstStep = parts.trainer.step;
    const { config, engine, energy, trainer, expectedRuns } = parts;
    this.#costs = new RunCosts({
      loaded: trainer.loaded,
      engine: engine.description.name,
      driver: config.ane_driver,
      microBatches: config.gradient_accumulation_steps,
      tokensPerStep: tokensPerStep(config),
      energy,
      expectedRuns,
    });
  }

  /** Steps until the last one, or until somebody stops the run. Returns the run's last event. */
  async run(): Promise<TrainEvent> {
    const { config, totals, trainer, activities, log, control, leader } = this.#parts;
    const costs = this.#costs;
    totals.startClock();
    const observations = new Observations(trainer.loaded, (event) => log.emit(event));
    if (this.#firstStep < config.max_steps) observations.memory(this.#firstStep);
    costs.resume();
    while (trainer.step < config.max_steps && !totals.best.isOver(config.patience)) {
      activities.requireSaves();
      await this.#obey();
      if (control.interruptRequested) {
        if (trainer.step > this.#firstStep) observations.finish(trainer.step);
        return await activities.interrupt();
      }
      const result = await this.#update();
      costs.count(result.tokenCount);
      const { step } = trainer;
      const divided = await leader?.divideAnew(trainer);
      if (divided !== undefined) log.emit({ kind: "notice", step, message: divided });
      await this.#checkWeights();
      log.progress(step, `step ${step}/${config.max_steps}  loss ${result.loss.toFixed(4)}`, {
        step,
        loss: result.loss,
      });
      const isReported = step % config.logging_steps === 0 || step === config.max_steps;
      if (isReported) {
        this.#report(result);
        observations.report(step);
      }
      const due = activitiesAfter(step, config);
      if (due.length === 0) {
        // The update has published this step; a report begins the sums anew.
        if (isReported) activities.publish(0);
      } else {
        costs.pause();
        const stopped = await activities.perform(due, { isBesideSteps: step < config.max_steps });
        if (stopped !== undefined) return stopped;
        if (step < config.max_steps) costs.resume();
      }
    }
    costs.pause();
    if (trainer.step < config.max_steps) {
      const stopped = await this.#stopEarly();
      if (stopped !== undefined) return stopped;
    }
    if (trainer.step > this.#firstStep) observations.finish(trainer.step);
    return await this.#finish();
  }

  async #update(): Promise<UpdateResult> {
    const { config, totals, trainer, engine, leader } = this.#parts;
    await leader?.beginUpdate(trainer.step);
    const result = await trainer.update((_, { loss, tokenCount, rewards }) => {
      totals.countStep(loss, tokenCount, rewards);
      const state = totals.state(trainer, engine.description, config);
      return publishedRun(state, activitiesAfter(trainer.step, config).length);
    });
    leader?.isUpdated(trainer);
    return result;
  }

  #report(result: UpdateResult): void {
    const { config, totals, trainer, log } = this.#parts;
    const { step } = trainer;
    const averagePerSecond = (step - this.#firstStep) / Math.max(1e-3, totals.secondsHere);
    const power = this.#costs.powerEvent(step);
    if (power !== undefined) log.emit(power);
    const rewards = rewardFields(totals.rewards);
    log.emit({
      kind: "step",
      step,
      train_loss: totals.report(),
      learning_rate: result.learningRate,
      gradient_norm: result.gradientNorm,
      ...(trainer.lossScale.scale !== 1 && { loss_scale: trainer.lossScale.scale }),
      ...this.#costs.stepFields(),
      trained_tokens: totals.trainedTokens,
      ...rewards,
      eta_seconds: (config.max_steps - step) / averagePerSecond,
    });
  }

  /** What is due where evaluations have become no better: a checkpoint, and the samples of the end. */
  async #stopEarly(): Promise<TrainEvent | undefined> {
    const { config, totals, trainer, activities, log } = this.#parts;
    const { step } = trainer;
    const { state } = totals.best;
    log.emit({
      kind: "notice",
      step,
      message: `stopped: ${state?.evaluationsSince ?? 0} evaluations in a row were no better than that of step ${state?.step ?? 0}`,
    });
    const due = activitiesAfter(step, { ...config, max_steps: step });
    return await activities.perform(due.filter((activity) => activity !== "evaluate"));
  }

  /** Saves and waits between two steps, as asked from outside the process. */
  async #obey(): Promise<void> {
    const { totals, trainer, activities, log, control } = this.#parts;
    const costs = this.#costs;
    const { step } = trainer;
    const pausedMs = Date.now();
    let isPaused = false;
    const save = async (): Promise<void> => {
      if (!control.takeSaveRequest()) return;
      if (!isPaused) costs.pause();
      // What this process began with stands already.
      if (step > this.#firstStep) await activities.perform(["save"]);
      log.emit({ kind: "control", step, command: "save" });
      if (!isPaused) costs.resume();
    };
    await save();
    if (!control.pauseRequested || control.interruptRequested) return;
    isPaused = true;
    costs.pause();
    log.emit({ kind: "control", step, command: "pause" });
    log.say(`paused after step ${step}`);
    while (control.pauseRequested && !control.interruptRequested) {
      control.waitInPause();
      await save();
    }
    totals.leaveOut(Date.now() - pausedMs);
    if (control.interruptRequested) return;
    log.emit({ kind: "control", step, command: "resume" });
    costs.resume();
  }

  /** The end of training: what the best was, and that there was none. */
  async #finish(): Promise<TrainEvent> {
    const { config, totals, trainer, log, leader } = this.#parts;
    const { state: best, isWorseThanBefore } = totals.best;
    const isEarly = trainer.step < config.max_steps;
    if (isWorseThanBefore) {
      log.emit({
        kind: "notice",
        step: trainer.step,
        message: "no evaluation was better than the one before the first step",
      });
    }
    return log.emit({
      kind: "end",
      step: trainer.step,
      train_loss: totals.trainLoss,
      eval_loss: totals.evalLoss,
      elapsed_seconds: totals.elapsedSeconds,
      peak_memory_bytes: process.resourceUsage().maxRSS * 1024,
      ...this.#costs.endFields(),
      ...(await leader?.communicationFields()),
      ...(best !== undefined && { best_step: best.step, best_eval_loss: best.evalLoss }),
      ...(isEarly && { stopped_early: true as const }),
      [config.method === "full" ? "model" : "adapter"]: checkpointPath(
        config.output_dir,
        best?.step ?? trainer.step,
      ),
    });
  }

  /** Whether processes that train together still hold the same weights. */
  async #checkWeights(): Promise<void> {
    const { config, model, trainer, leader } = this.#parts;
    const { check_steps: every, max_steps: last } = config;
    if (leader === undefined || every === 0) return;
    if (trainer.step % every !== 0 && trainer.step !== last) return;
    const { part } = leader.hold(config, model);
    const names = heldWeights(model.parameters, part).flatMap(({ name, trainable }) =>
      trainable ? [name] : [],
    );
    await leader.check(trainer.loaded, names, trainer.step);
  }
}
