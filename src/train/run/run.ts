import { existsSync } from "node:fs";
import { join } from "node:path";
import { stringify as stringifyYaml } from "yaml";
import { createEngine, engineOptions, hasThreads } from "../../engine/create.ts";
import type { Engine, LoadedPlan } from "../../engine/engine.ts";
import { isBudgetSpent } from "../../engine/host/compile-budget.ts";
import { EngineError } from "../../engine/errors.ts";
import { TrainError } from "../errors.ts";
import { openFileWeights } from "../../model/index.ts";
import type { FileWeights, Model } from "../../model/index.ts";
import type { Plan } from "../../plan/index.ts";
import type { DescribedTokenizer } from "../../text/index.ts";
import type { Batches } from "../../text/index.ts";
import { writeWholeFile } from "../../util/atomic-file.ts";
import { activitiesAfter, doneEvents, LeftActivities } from "./activities.ts";
import type { Activity } from "./activities.ts";
import { clearBest, writeBest } from "../../runs/best-checkpoint.ts";
import { checkpointPath, checkpointProblem } from "../../runs/checkpoint.ts";
import { CONFIG_FILE, withConfigVersion } from "../../runs/config-file.ts";
import type { TrainConfig } from "../config/config.ts";
import type { ControlBlock } from "./control.ts";
import type { EnergyBlock } from "../costs/energy-block.ts";
import { EventLog, eventsPath, readEvents, rewindTo } from "../../runs/event-log.ts";
import { trackerNames, Trackers } from "../../track/trackers.ts";
import type { TrainEvent, UntimedEvent } from "../../runs/events.ts";
import { Observations } from "./observations.ts";
import { restoreWeights } from "./checkpoint-contents.ts";
import type { RunFiles } from "./checkpoint-contents.ts";
import { plannedModel, prepareData } from "./prepare.ts";
import type { PreparedData } from "./prepare.ts";
import { publishedRun } from "./published-run.ts";
import { takeResumePoint } from "../../runs/resume-point.ts";
import type { ResumePoint } from "../../runs/resume-point.ts";
import { withArithmetic } from "./run-arithmetic.ts";
import { resumeNotices } from "./resume-notices.ts";
import { RunActivities } from "./run-activities.ts";
import type { ActivityParts } from "./run-activities.ts";
import type { ExpectedRuns } from "../../lower/join-dispatches.ts";
import { RunCosts } from "../costs/run-costs.ts";
import { rewardFields } from "./reward-fields.ts";
import { RunTotals } from "./run-totals.ts";
import { trainedModel } from "./trained-model.ts";
import { savedSettings } from "../config/saved-settings.ts";
import { withSavedMeaning } from "./saved-meaning.ts";
import { startFields } from "./start-event.ts";
import { claimFolder, finishedNotice, planBytes, requireMemory } from "./start.ts";
import type { TrainerState } from "../../runs/state.ts";
import { placeBase } from "./place-base.ts";
import { expectedRuns, planOf } from "./plan-of.ts";
import { heldWeights } from "../step/step-part.ts";
import type { TrainingGroup } from "../step/training-group.ts";
import type { Trainer } from "../step/trainer.ts";
import { makeTrainer } from "./make-trainer.ts";
import { launchedProcess } from "../../cluster/index.ts";
import { GroupLeader } from "./group-leader.ts";
import { joinSettings, threadsBeside } from "./run-group.ts";
import { lossesNotice } from "./wire-state.ts";
import { newestWholeCheckpoint } from "../../runs/whole-checkpoints.ts";
import type { FoundCheckpoint } from "../../runs/whole-checkpoints.ts";

/** Milliseconds without an event after which progress is one: while the run is prepared, and while it trains. */
const PREPARATION_EVERY_MS = 1000;
const STEP_EVERY_MS = 5000;

/** Between two `step` events. */
export interface TrainProgress {
  readonly step: number;
  /** Of this update alone. */
  readonly loss: number;
}

/** What a run in the calling thread is given beside its settings. */
export interface RunContext {
  readonly onEvent: (event: TrainEvent) => void;
  /** What is being done; `at` while it trains. */
  readonly onProgress: (text: string, at?: TrainProgress) => void;
  readonly control: ControlBlock;
  /** What a power meter on the main thread reads. */
  readonly energy?: EnergyBlock;
  /** Told once everything another thread needs to save this run exists. */
  readonly onReady?: (loaded: LoadedPlan, files: RunFiles) => void;
}

/**
 * A whole training run in the calling thread: data, plan, engine, loop, evaluation, samples, checkpoints.
 * Returns the last event: `end`, `interrupted`, or a `notice` where a run to resume has nothing left to do; nothing is
 * written then. What needs no data is checked before anything is written. Whoever calls it holds the folder's `RunLock`.
 */
export async function runTraining(given: TrainConfig, context: RunContext): Promise<TrainEvent> {
  const launched = launchedProcess();
  if (launched !== undefined && given.method === "dpo") {
    throw new TrainError("train.preference.group", "--method dpo trains on one process", {
      remedy: "Start it without mpirun.",
    });
  }
  if (launched === undefined) return await prepareAndRun(given, context);
  const leader = await GroupLeader.form(given);
  const threads = given.threads ?? (hasThreads(given.engine) ? threadsBeside(launched) : undefined);
  let last: TrainEvent;
  try {
    // An update that does not go round is refused before anything is prepared.
    leader.require(given);
    last = await prepareAndRun({ ...given, threads }, context, leader);
  } catch (error) {
    await leader.end(error);
    throw error;
  }
  await leader.end();
  return last;
}

async function prepareAndRun(
  given: TrainConfig,
  context: RunContext,
  leader?: GroupLeader,
): Promise<TrainEvent> {
  claimFolder(given);
  trackerNames(given.report_to ?? "");
  const found = given.resume ? newestWholeCheckpoint(given.output_dir) : undefined;
  const notes: string[] = [];
  const meant = found === undefined ? given : withSavedMeaning(given, found);
  const known = withArithmetic(meant, found, (text) => notes.push(text));
  // How long a run of epochs is, its data say.
  const finished = found && known.epochs === undefined && finishedNotice(known, found);
  if (finished !== undefined && finished !== false) return finishedEvent(finished, found, context);
  const engine = await createEngine(known.engine, {
    ...engineOptions(known),
    ...joinSettings(known, leader !== undefined),
    onChoice: (reason) => notes.push(reason),
  });
  try {
    const placed = placeBase(known, leader !== undefined, engine, (text) => notes.push(text));
    const planned = { ...placed, engine: engine.description.name };
    // In a group each process looks at its own part, once it knows it.
    if (leader === undefined)
      requireMemory(planOf(planned, trainedModel(placed, plannedModel(placed))).plan);
    const data = prepareData(placed, context.onProgress);
    try {
      const config = withEpochs({ ...placed, data: data.dataPath }, data);
      const ended = found && known.epochs !== undefined ? finishedNotice(config, found) : undefined;
      if (ended !== undefined) return finishedEvent(ended, found, context);
      return await new Run(config, context, data, engine, found, notes, leader).go();
    } finally {
      data.close();
    }
  } finally {
    await engine.close();
  }
}

function finishedEvent(
  message: string,
  found: FoundCheckpoint | undefined,
  context: RunContext,
): TrainEvent {
  const step = found?.checkpoint?.step ?? 0;
  const event: TrainEvent = { t: Date.now() / 1000, kind: "notice", step, message };
  context.onEvent(event);
  return event;
}

/** The settings with as many steps as their epochs have. */
function withEpochs(config: TrainConfig, data: PreparedData): TrainConfig {
  if (config.epochs === undefined) return config;
  const { rowsPerEpoch } = data.train.batches({ batchSize: config.batch_size, seed: config.seed });
  const rowsPerStep = config.batch_size * config.gradient_accumulation_steps;
  const steps = Math.ceil((config.epochs * rowsPerEpoch) / rowsPerStep);
  return { ...config, max_steps: Math.max(1, steps) };
}

/** What of a tokenizer another thread can have. */
function withoutRunner({ json, config, companions }: DescribedTokenizer): RunFiles["tokenizer"] {
  return { json, config, ...(companions !== undefined && { companions }) };
}

function stepNeedsTooMany(cause: EngineError): EngineError {
  return new EngineError(
    cause.code,
    `a training step needs more programs than one process may compile, so a new process does not help: ${cause.message}`,
    { cause },
  );
}

class Run {
  readonly #config: TrainConfig;
  readonly #context: RunContext;
  readonly #data: PreparedData;
  readonly #model: Model;
  readonly #engine: Engine;
  readonly #notices: string[];
  /** How often the engine is to expect sections. */
  #runs: ExpectedRuns = {};
  readonly #totals = new RunTotals();
  /** Where other processes train with this one. */
  readonly #leader: GroupLeader | undefined;
  /** The settings with this process's share of an update. */
  #own: TrainConfig;
  /** Where it is resumed. */
  readonly #found: FoundCheckpoint | undefined;
  #log: EventLog | undefined;
  #trackers: Trackers | undefined;
  #lastEventMs = 0;

  constructor(
    config: TrainConfig,
    context: RunContext,
    data: PreparedData,
    engine: Engine,
    found: FoundCheckpoint | undefined,
    notes: readonly string[],
    leader: GroupLeader | undefined,
  ) {
    this.#found = found;
    this.#leader = leader;
    this.#config = config;
    this.#own = config;
    this.#context = context;
    this.#data = data;
    this.#model = trainedModel(config, data.model, data.modelFolder);
    this.#engine = engine;
    this.#notices = [...notes, ...data.notices];
    this.#totals.dataDigest = data.dataDigest;
  }

  async go(): Promise<TrainEvent> {
    const config = this.#config;
    const point =
      this.#found &&
      takeResumePoint(config.output_dir, this.#found, (text) => this.#notices.push(text));
    if (point !== undefined) {
      const { state } = point;
      const { dataDigest } = this.#data;
      const engine = this.#engine.description;
      this.#notices.push(...resumeNotices({ state, engine, config, dataDigest }));
      const { folder } = point;
      const lost =
        this.#leader === undefined
          ? lossesNotice(folder, undefined)
          : this.#leader.checkpointNotice(folder, config);
      if (lost !== undefined) this.#notices.push(lost);
    }
    const group = await this.#beginGroup(point);
    const held = this.#leader?.hold(config, this.#model);
    const { name: engine } = this.#engine.description;
    const { plan } = planOf({ ...this.#planned, engine }, this.#model, held);
    requireMemory(plan);
    const step = point?.step ?? 0;
    const leftFile = new LeftActivities(config.output_dir);
    const left = config.resume ? leftFile.read(step, config) : undefined;
    const isTrained = step >= config.max_steps;
    const isDue = isTrained || (step === 0 && point === undefined);
    const due = left?.activities ?? (isDue ? activitiesAfter(step, config) : []);
    const batches = this.#batches(point?.state);
    this.#openLog(step, due);
    this.#announce(step, plan);
    this.#progress(step, "compiling");
    this.#runs = expectedRuns(config, config.max_steps - step);
    const files = openFileWeights(this.#model);
    const loaded = await this.#load(plan, step, files);
    let activities: RunActivities | undefined;
    try {
      this.#progress(step, point === undefined ? "initialising weights" : "loading weights");
      await this.#restore(loaded, point);
      const trainer = this.#trainer(loaded, batches, point?.state, group);
      const { tokenizer } = this.#data;
      const runFiles: RunFiles = {
        model: this.#data.model,
        parameters: this.#model.parameters,
        tokenizer: tokenizer && withoutRunner(tokenizer),
        generation: this.#data.generation,
      };
      if (left !== undefined) this.#totals.evalLoss = left.evalLoss;
      activities = new RunActivities({
        ...{ config, ownRowCount: this.#own.batch_size },
        ...{ data: this.#data, model: this.#model, engine: this.#engine, trainer, files: runFiles },
        ...{ totals: this.#totals, control: this.#context.control, left: leftFile },
        emit: (event) => this.#emit(event),
        ...(this.#leader !== undefined && this.#together(this.#leader, loaded)),
      });
      activities.publishFirst(due.length);
      if (this.#leader?.isWhole !== false) this.#context.onReady?.(loaded, runFiles);
      if (due.length > 0) {
        // First, so that their programs and the step's need not fit into one process's budget together.
        const stopped = await activities.perform(due);
        if (stopped !== undefined) return stopped;
      }
      try {
        if (!isTrained) await this.#prepare(loaded);
      } catch (error) {
        if (!isBudgetSpent(error)) throw error;
        if (due.length === 0) throw stepNeedsTooMany(error);
        return await activities.stopForBudget([]);
      }
      leftFile.clear();
      return await this.#loop(trainer, activities);
    } finally {
      await activities?.close();
      this.#trackers?.close();
      this.#log?.close();
      await loaded.close();
      files?.close();
    }
  }

  async #load(plan: Plan, step: number, files: FileWeights | undefined): Promise<LoadedPlan> {
    try {
      return await this.#engine.load(plan, {
        ...(files !== undefined && { readWeight: files.read }),
        expectedRuns: this.#runs,
        onProgress: (done, total, what) =>
          this.#progress(step, `compiling ${what}: ${done} of ${total}`),
      });
    } catch (error) {
      files?.close();
      throw error;
    }
  }

  /** Compiles all that a step needs. */
  async #prepare(loaded: LoadedPlan): Promise<void> {
    const { gradient_accumulation_steps: count, sum_order: order } = this.#planned;
    const accumulates = count > 1 && order === "serial";
    for (const section of loaded.plan.sections.keys()) {
      const isNeeded =
        section !== "evaluate" &&
        (accumulates || !/^(?:forward_)?backward_accumulate/.test(section));
      if (isNeeded) await loaded.prepare(section);
    }
  }

  async #loop(trainer: Trainer, activities: RunActivities): Promise<TrainEvent> {
    const config = this.#config;
    const totals = this.#totals;
    totals.startClock();
    const firstStep = trainer.step;
    const costs = this.#costs(trainer.loaded);
    const observations = new Observations(trainer.loaded, (event) => this.#emit(event));
    if (firstStep < config.max_steps) observations.memory(firstStep);
    costs.resume();
    while (trainer.step < config.max_steps && !totals.best.isOver(config.patience)) {
      await this.#obey(trainer, firstStep, costs, activities);
      if (this.#context.control.interruptRequested) {
        if (trainer.step > firstStep) observations.finish(trainer.step);
        return await activities.interrupt();
      }
      await this.#leader?.beginUpdate(trainer.step);
      const result = await trainer.update((_, { loss, tokenCount, rewards }) => {
        totals.countStep(loss, tokenCount, rewards);
        const state = totals.state(trainer, this.#engine.description, config);
        return publishedRun(state, activitiesAfter(trainer.step, config).length);
      });
      this.#leader?.isUpdated(trainer);
      costs.count(result.tokenCount);
      const { step } = trainer;
      const divided = await this.#leader?.divideAnew(trainer);
      if (divided !== undefined) this.#emit({ kind: "notice", step, message: divided });
      await this.#checkWeights(trainer);
      this.#progress(step, `step ${step}/${config.max_steps}  loss ${result.loss.toFixed(4)}`, {
        step,
        loss: result.loss,
      });
      const isReported = step % config.logging_steps === 0 || step === config.max_steps;
      if (isReported) {
        const averagePerSecond = (step - firstStep) / Math.max(1e-3, totals.secondsHere);
        const power = costs.powerEvent(step);
        if (power !== undefined) this.#emit(power);
        const rewards = rewardFields(totals.rewards);
        this.#emit({
          kind: "step",
          step,
          train_loss: totals.report(),
          learning_rate: result.learningRate,
          gradient_norm: result.gradientNorm,
          ...(trainer.lossScale.scale !== 1 && { loss_scale: trainer.lossScale.scale }),
          ...costs.stepFields(),
          trained_tokens: totals.trainedTokens,
          ...rewards,
          eta_seconds: (config.max_steps - step) / averagePerSecond,
        });
        observations.report(step);
      }
      const due = activitiesAfter(step, config);
      if (due.length === 0) {
        // The update has published this step; a report begins the sums anew.
        if (isReported) activities.publish(0);
      } else {
        costs.pause();
        const stopped = await activities.perform(due);
        if (stopped !== undefined) return stopped;
        if (step < config.max_steps) costs.resume();
      }
    }
    costs.pause();
    if (trainer.step < config.max_steps) {
      const stopped = await this.#stopEarly(trainer, activities);
      if (stopped !== undefined) return stopped;
    }
    if (trainer.step > firstStep) observations.finish(trainer.step);
    return await this.#finish(trainer, costs);
  }

  /** What is due where evaluations have become no better: a checkpoint, and the samples of the end. */
  async #stopEarly(trainer: Trainer, activities: RunActivities): Promise<TrainEvent | undefined> {
    const { step } = trainer;
    const { state } = this.#totals.best;
    this.#emit({
      kind: "notice",
      step,
      message: `stopped: ${state?.evaluationsSince ?? 0} evaluations in a row were no better than that of step ${state?.step ?? 0}`,
    });
    const due = activitiesAfter(step, { ...this.#config, max_steps: step });
    return await activities.perform(due.filter((activity) => activity !== "evaluate"));
  }

  /** Saves and waits between two steps, as asked from outside the process. */
  async #obey(
    trainer: Trainer,
    firstStep: number,
    costs: RunCosts,
    activities: RunActivities,
  ): Promise<void> {
    const { control } = this.#context;
    const { step } = trainer;
    const pausedMs = Date.now();
    let isPaused = false;
    const save = async (): Promise<void> => {
      if (!control.takeSaveRequest()) return;
      if (!isPaused) costs.pause();
      // What this process began with stands already.
      if (step > firstStep) await activities.perform(["save"]);
      this.#emit({ kind: "control", step, command: "save" });
      if (!isPaused) costs.resume();
    };
    await save();
    if (!control.pauseRequested || control.interruptRequested) return;
    isPaused = true;
    costs.pause();
    this.#emit({ kind: "control", step, command: "pause" });
    this.#context.onProgress(`paused after step ${step}`);
    while (control.pauseRequested && !control.interruptRequested) {
      control.waitInPause();
      await save();
    }
    this.#totals.leaveOut(Date.now() - pausedMs);
    if (control.interruptRequested) return;
    this.#emit({ kind: "control", step, command: "resume" });
    costs.resume();
  }

  /** The settings of this process's plan. */
  get #planned(): TrainConfig {
    return this.#leader?.plannedConfig(this.#config) ?? this.#own;
  }

  get #tokensPerStep(): number {
    const { method, batch_size, max_seq_length, gradient_accumulation_steps } = this.#config;
    const rowCount = method === "dpo" ? 2 * batch_size : batch_size;
    return rowCount * max_seq_length * gradient_accumulation_steps;
  }

  #costs(loaded: LoadedPlan): RunCosts {
    return new RunCosts({
      loaded,
      engine: this.#engine.description.name,
      driver: this.#config.ane_driver,
      microBatches: this.#config.gradient_accumulation_steps,
      tokensPerStep: this.#tokensPerStep,
      energy: this.#context.energy,
      expectedRuns: this.#runs,
    });
  }

  /** The end of training: what the best was, and that there was none. */
  async #finish(trainer: Trainer, costs: RunCosts): Promise<TrainEvent> {
    const { state: best, isWorseThanBefore } = this.#totals.best;
    const isEarly = trainer.step < this.#config.max_steps;
    if (isWorseThanBefore) {
      this.#emit({
        kind: "notice",
        step: trainer.step,
        message: "no evaluation was better than the one before the first step",
      });
    }
    return this.#emit({
      kind: "end",
      step: trainer.step,
      train_loss: this.#totals.trainLoss,
      eval_loss: this.#totals.evalLoss,
      elapsed_seconds: this.#totals.elapsedSeconds,
      peak_memory_bytes: process.resourceUsage().maxRSS * 1024,
      ...costs.endFields(),
      ...(await this.#leader?.communicationFields()),
      ...(best !== undefined && { best_step: best.step, best_eval_loss: best.evalLoss }),
      ...(isEarly && { stopped_early: true as const }),
      [this.#config.method === "full" ? "model" : "adapter"]: checkpointPath(
        this.#config.output_dir,
        best?.step ?? trainer.step,
      ),
    });
  }

  /** Fills the weights, and goes on where a checkpoint stands. */
  async #restore(loaded: LoadedPlan, point: ResumePoint | undefined): Promise<void> {
    if (this.#leader !== undefined) await this.#leader.fill(loaded, this.#model, point?.folder);
    else {
      const { threads } = this.#config;
      restoreWeights(this.#model, point?.folder, (name) => loaded.view(name), { threads });
    }
    if (point === undefined) {
      clearBest(this.#config.output_dir);
      return;
    }
    this.#totals.adopt(point.state);
    this.#restoreBest();
  }

  /** The best of what was done up to here; what was better and came later is done again. */
  #restoreBest(): void {
    const { output_dir: folder } = this.#config;
    const { best } = this.#totals;
    const { state } = best;
    const isThere =
      state !== undefined && checkpointProblem(checkpointPath(folder, state.step)) === undefined;
    if (!isThere) {
      best.adopt(undefined);
      clearBest(folder);
    } else writeBest(folder, state.step, state.evalLoss);
  }

  #batches(resumed: TrainerState | undefined): Batches {
    const { batch_size: batchSize, seed } = this.#config;
    const source = this.#data.train.batches({ batchSize, seed }, resumed?.sampler);
    return this.#leader?.batches(source, this.#config) ?? source;
  }

  /** Tells the others what is trained, and takes this process's share. */
  async #beginGroup(point: ResumePoint | undefined): Promise<TrainingGroup | undefined> {
    const leader = this.#leader;
    if (leader === undefined) return undefined;
    const config = this.#config;
    const order = {
      ...{ config, model: this.#data.model, modelFolder: this.#data.modelFolder },
      isPacked: config.packing,
      start: { step: point?.step ?? 0, lossScale: point?.state.lossScale },
    };
    await leader.begin(order, this.#model, this.#engine.description);
    this.#own = leader.ownConfig(config);
    this.#notices.push(leader.notice);
    return await leader.trainingGroup(this.#own, this.#model);
  }

  /** What a run's activities need of the other processes. */
  #together(
    leader: GroupLeader,
    loaded: LoadedPlan,
  ): Pick<ActivityParts, "collecting" | "evaluate"> {
    return {
      collecting: (work) => leader.collecting(work),
      evaluate: (batches) => leader.evaluate(loaded, batches),
    };
  }

  async #checkWeights(trainer: Trainer): Promise<void> {
    const { check_steps: every, max_steps: last } = this.#config;
    if (this.#leader === undefined || every === 0) return;
    if (trainer.step % every !== 0 && trainer.step !== last) return;
    const { part } = this.#leader.hold(this.#config, this.#model);
    const names = heldWeights(this.#model.parameters, part).flatMap(({ name, trainable }) =>
      trainable ? [name] : [],
    );
    await this.#leader.check(trainer.loaded, names, trainer.step);
  }

  #trainer(
    loaded: LoadedPlan,
    batches: Batches,
    resumed: TrainerState | undefined,
    group: TrainingGroup | undefined,
  ): Trainer {
    const pipeline = this.#leader?.pipeline(loaded);
    const trainer: Trainer = makeTrainer(this.#own, {
      ...{ loaded, batches, engine: this.#engine.description, control: this.#context.control },
      ...(group !== undefined && { group }),
      ...(pipeline !== undefined && { pipeline }),
      ...(this.#leader !== undefined && { share: this.#leader.share }),
      start: { step: resumed?.step ?? 0, lossScale: resumed?.lossScale },
      onOverflow: (scale) => {
        this.#emit({
          kind: "notice",
          step: trainer.step,
          message: `a gradient overflowed; the step is done again with a loss scale of ${scale}`,
        });
      },
    });
    return trainer;
  }

  /** `due`: what is told again after `step`. */
  #openLog(step: number, due: readonly Activity[]): void {
    const { output_dir } = this.#config;
    const settings = withConfigVersion(savedSettings(this.#config));
    writeWholeFile(join(output_dir, CONFIG_FILE), stringifyYaml(settings));
    const path = eventsPath(output_dir);
    const isFollowed = existsSync(path);
    this.#log = new EventLog(path);
    // For the log's readers alone: this process has told nothing that it could take back.
    if (step > 0) this.#log.append(rewindTo(step, doneEvents(step, due, this.#config)));
    else if (isFollowed) this.#log.append({ kind: "rewind", step, anew: true });
    this.#trackers = new Trackers(
      trackerNames(this.#config.report_to ?? ""),
      { runFolder: output_dir, before: readEvents(path), step },
      (message) => this.#emit({ kind: "notice", step, message }),
    );
  }

  #announce(step: number, plan: Plan): void {
    this.#emit({
      ...startFields(this.#config, this.#data, this.#model.parameters, this.#engine.description),
      step,
      tokens_per_step: this.#tokensPerStep,
      plan_bytes: planBytes(plan),
    });
    for (const message of this.#notices) this.#emit({ kind: "notice", step, message });
  }

  /** Tells the caller, and now and then those who read the run's log. */
  #progress(step: number, text: string, at?: TrainProgress): void {
    this.#context.onProgress(text, at);
    const everyMs = at === undefined ? PREPARATION_EVERY_MS : STEP_EVERY_MS;
    if (performance.now() - this.#lastEventMs < everyMs) return;
    this.#emit({ kind: "progress", step, text, ...(at !== undefined && { loss: at.loss }) });
  }

  #emit(untimed: UntimedEvent): TrainEvent {
    const event = this.#log?.append(untimed) ?? { t: Date.now() / 1000, ...untimed };
    this.#lastEventMs = performance.now();
    this.#trackers?.add(event);
    this.#context.onEvent(event);
    return event;
  }
}
