import type { Engine, LoadedPlan } from "../../engine/engine.ts";
import { isBudgetSpent } from "../../engine/host/compile-budget.ts";
import { EngineError } from "../../engine/errors.ts";
import type { ExpectedRuns } from "../../lower/join-dispatches.ts";
import { openFileWeights } from "../../model/index.ts";
import type { FileWeights, Model } from "../../model/index.ts";
import type { Plan } from "../../plan/index.ts";
import { clearBest, writeBest } from "../../runs/best-checkpoint.ts";
import { checkpointPath, checkpointProblem } from "../../runs/checkpoint.ts";
import type { TrainEvent } from "../../runs/events.ts";
import { takeResumePoint } from "../../runs/resume-point.ts";
import type { ResumePoint } from "../../runs/resume-point.ts";
import type { TrainerState } from "../../runs/state.ts";
import type { FoundCheckpoint } from "../../runs/whole-checkpoints.ts";
import type { Batches, DescribedTokenizer } from "../../text/index.ts";
import type { TrainConfig } from "../config/config.ts";
import type { Trainer } from "../step/trainer.ts";
import type { TrainingGroup } from "../step/training-group.ts";
import { activitiesAfter, LeftActivities } from "./activities.ts";
import { restoreWeights } from "./checkpoint-contents.ts";
import type { RunFiles } from "./checkpoint-contents.ts";
import type { GroupLeader } from "./group-leader.ts";
import { makeTrainer } from "./make-trainer.ts";
import { expectedRuns, planOf } from "./plan-of.ts";
import type { PreparedData } from "./prepare.ts";
import { resumeNotices } from "./resume-notices.ts";
import { RunActivities } from "./run-activities.ts";
import type { ActivityParts } from "./run-activities.ts";
import type { RunContext } from "./run-context.ts";
import { RunLog } from "./run-log.ts";
import { RunTotals } from "./run-totals.ts";
import { startFields } from "./start-event.ts";
import { planBytes, requireMemory } from "./start.ts";
import { chooseBase, describeBase, withBaseConstants } from "./frozen-base.ts";
import { trainedModel } from "./trained-model.ts";
import { tokensPerStep, TrainingLoop } from "./training-loop.ts";
import { lossesNotice } from "./wire-state.ts";

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

/** What a run is made of. */
export interface TrainingRunParts {
  readonly data: PreparedData;
  readonly engine: Engine;
  /** Where it is resumed. */
  readonly found: FoundCheckpoint | undefined;
  readonly notes: readonly string[];
  readonly leader: GroupLeader | undefined;
  /** Whether its folder had a log before this process. */
  readonly isFollowed: boolean;
}

/** A run whose data and engine are there. */
export class TrainingRun {
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
  readonly #log: RunLog;

  constructor(
    config: TrainConfig,
    context: RunContext,
    { data, engine, found, notes, leader, isFollowed }: TrainingRunParts,
  ) {
    this.#found = found;
    this.#leader = leader;
    this.#config = config;
    this.#own = config;
    this.#context = context;
    this.#log = new RunLog(config, context, isFollowed);
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
    const { plan: planned } = planOf({ ...this.#planned, engine }, this.#model, held);
    requireMemory(planned);
    const step = point?.step ?? 0;
    const plan = this.#leader === undefined ? this.#withConstants(planned) : planned;
    const leftFile = new LeftActivities(config.output_dir);
    const left = config.resume ? leftFile.read(step, config) : undefined;
    const isTrained = step >= config.max_steps;
    const isDue = isTrained || (step === 0 && point === undefined);
    const due = left?.activities ?? (isDue ? activitiesAfter(step, config) : []);
    const batches = this.#batches(point?.state);
    this.#log.open(step, due);
    this.#announce(step, plan);
    this.#log.progress(step, "compiling");
    this.#runs = expectedRuns(config, config.max_steps - step);
    const files = openFileWeights(this.#model);
    const loaded = await this.#load(plan, step, files);
    let activities: RunActivities | undefined;
    let trainer: Trainer | undefined;
    try {
      this.#log.progress(step, point === undefined ? "initialising weights" : "loading weights");
      await this.#restore(loaded, point);
      trainer = this.#trainer(loaded, batches, point?.state, group);
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
        emit: (event) => this.#log.emit(event),
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
      return await this.#loop(trainer, activities).run();
    } catch (error) {
      this.#log.failed(trainer?.step ?? step, error);
      throw error;
    } finally {
      await activities?.close();
      this.#log.close();
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
          this.#log.progress(step, `compiling ${what}: ${done} of ${total}`),
      });
    } catch (error) {
      files?.close();
      throw error;
    }
  }

  /**
   * The plan as it is loaded: matrices of a frozen base as constants of a Neural Engine's programs, where they are cheaper
   * over the whole run. Wherever the run goes on, it is decided alike.
   */
  #withConstants(plan: Plan): Plan {
    const { description } = this.#engine;
    const choice = chooseBase(plan, this.#model, this.#config, {
      engine: description,
      updateCount: this.#config.max_steps,
      compilations: this.#engine.compilationCost?.([]),
    });
    if (choice === undefined) return plan;
    this.#notices.push(describeBase(choice));
    return withBaseConstants(plan, this.#model, choice);
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

  /** The settings of this process's plan. */
  get #planned(): TrainConfig {
    return this.#leader?.plannedConfig(this.#config) ?? this.#own;
  }

  #loop(trainer: Trainer, activities: RunActivities): TrainingLoop {
    const { control, energy } = this.#context;
    return new TrainingLoop({
      ...{ config: this.#config, model: this.#model, engine: this.#engine },
      ...{ trainer, activities, totals: this.#totals, log: this.#log, control },
      ...{ leader: this.#leader, expectedRuns: this.#runs },
      ...(energy !== undefined && { energy }),
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
        this.#log.emit({
          kind: "notice",
          step: trainer.step,
          message: `a gradient overflowed; the step is done again with a loss scale of ${scale}`,
        });
      },
    });
    return trainer;
  }

  #announce(step: number, plan: Plan): void {
    this.#log.emit({
      ...startFields(this.#config, this.#data, this.#model.parameters, this.#engine.description),
      step,
      tokens_per_step: tokensPerStep(this.#config),
      plan_bytes: planBytes(plan),
    });
    for (const message of this.#notices) this.#log.emit({ kind: "notice", step, message });
  }
}
