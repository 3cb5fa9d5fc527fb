import type { Engine } from "../../engine/engine.ts";
import { isBudgetSpent } from "../../engine/host/compile-budget.ts";
import { Generator } from "../../generate/index.ts";
import type { Model } from "../../model/index.ts";
import type { Batch, DataSplit } from "../../text/index.ts";
import { TrainError } from "../errors.ts";
import { sampleSeed } from "./activities.ts";
import type { Activity, LeftActivities } from "./activities.ts";
import { beginningsOf } from "../../runs/trained-beginnings.ts";
import type { ControlBlock } from "./control.ts";
import type { TrainEvent, UntimedEvent } from "../../runs/events.ts";
import type { EvaluationResult } from "../step/trainer.ts";
import type { RunFiles, ViewOf } from "./checkpoint-contents.ts";
import type { PreparedData } from "./prepare.ts";
import { publishedRun } from "./published-run.ts";
import { rewardFields } from "./reward-fields.ts";
import type { RecordedSettings, RunTotals } from "./run-totals.ts";
import type { TrainerState } from "../../runs/state.ts";
import type { Trainer } from "../step/trainer.ts";
import type { KeptLosses } from "./wire-state.ts";
import { saveCheckpoint } from "./save-checkpoint.ts";
import type { SavedCheckpoint, SaveOrder } from "./save-checkpoint.ts";
import { SavesBeside } from "./saves-beside.ts";
import { checkpointPath } from "../../runs/checkpoint.ts";

/** What evaluations, samples and checkpoints are set to. */
export interface ActivitySettings extends RecordedSettings {
  readonly output_dir: string;
  readonly max_steps: number;
  readonly seed: number;
  readonly batch_size: number;
  readonly eval_batches?: number | undefined;
  readonly sample_prompt?: string | undefined;
  readonly sample_tokens: number;
  readonly sample_temperature: number;
  readonly save_total_limit: number;
  readonly method: string;
  readonly keep_best?: boolean | undefined;
  readonly patience?: number | undefined;
}

/** Whether a run keeps the checkpoint with the lowest loss on the data it is judged on. */
export function keepsBest({
  keep_best: isKept,
  patience,
  method,
}: Pick<ActivitySettings, "keep_best" | "patience" | "method">): boolean {
  return isKept ?? (patience !== undefined || method !== "full");
}

/** Batches of an evaluation during training, where nobody says how many; the last one then has all. */
const EVALUATION_BATCHES = 20;

export interface ActivityParts {
  readonly config: ActivitySettings;
  /** Rows of a batch of this process's plan. */
  readonly ownRowCount: number;
  readonly data: PreparedData;
  readonly model: Model;
  readonly engine: Engine;
  readonly trainer: Trainer;
  readonly files: RunFiles;
  readonly totals: RunTotals;
  readonly control: ControlBlock;
  readonly left: LeftActivities;
  readonly emit: (event: UntimedEvent) => TrainEvent;
  /** Does what needs the contents of buffers, those too that other processes hold. Default: this process has all. */
  readonly collecting?: <Result>(
    work: (viewOf: ViewOf, losses?: KeptLosses) => Result,
  ) => Promise<Result>;
  /** The loss over batches. Default: by this process's trainer. */
  readonly evaluate?: (batches: Iterable<Batch>) => Promise<EvaluationResult>;
}

/** What a run does besides training: evaluations, samples, checkpoints. Others always find what is left of it. */
export class RunActivities {
  readonly #parts: ActivityParts;
  #generator: Generator | undefined;
  #savedStep: number | undefined;
  /** What is written while steps go on. */
  readonly #beside: SavesBeside;

  constructor(parts: ActivityParts) {
    this.#parts = parts;
    const { files, control, trainer, emit } = parts;
    this.#beside = new SavesBeside({
      ...{ files, control },
      onSaved: ({ order, saved, elapsedMs, waitedMs }) =>
        this.#tell(order.step, saved, { elapsedMs, waitedMs }),
      onNoRoom: (message) => void emit({ kind: "notice", step: trainer.step, message }),
    });
  }

  /**
   * Activities in order. Where the process may compile no more, a checkpoint is saved, the rest is noted for the
   * process that goes on, and the event that says so is returned. `isBesideSteps`: steps follow, and a checkpoint may be
   * written while they do; otherwise it is there when this returns.
   */
  async perform(
    activities: readonly Activity[],
    { isBesideSteps = false }: { readonly isBesideSteps?: boolean } = {},
  ): Promise<TrainEvent | undefined> {
    for (const [index, activity] of activities.entries()) {
      this.publish(activities.length - index);
      try {
        await this.#do(activity, isBesideSteps);
      } catch (error) {
        if (!isBudgetSpent(error)) throw error;
        return await this.stopForBudget(activities.slice(index));
      }
    }
    const { totals, trainer } = this.#parts;
    if (totals.best.step === trainer.step && this.#savedStep !== trainer.step)
      await this.#save(isBesideSteps);
    this.publish(0);
    return undefined;
  }

  /** Tells other threads of the last whole step, and of how many activities are due after it. */
  publish(leftCount: number): void {
    const { control, trainer } = this.#parts;
    control.publish(trainer.step, publishedRun(this.#state(), leftCount));
  }

  /** As `publish`, before the first step. Throws `TrainError` where what this run publishes has no room. */
  publishFirst(leftCount: number): void {
    this.#parts.control.requireRoom(publishedRun(this.#state(), leftCount));
    this.publish(leftCount);
  }

  async stopForBudget(left: readonly Activity[]): Promise<TrainEvent> {
    const { trainer, totals, control, emit } = this.#parts;
    const checkpoint = await this.#save();
    this.#parts.left.write(trainer.step, { activities: left, evalLoss: totals.evalLoss });
    // Whoever asked for a stop gets one.
    const isStopped = control.interruptRequested;
    return emit({
      kind: "interrupted",
      step: trainer.step,
      checkpoint,
      ...(!isStopped && { reason: "compile_budget", left: left.length }),
    });
  }

  /** Saves after a step after which nothing is due any more. */
  async interrupt(): Promise<TrainEvent> {
    const { trainer, emit } = this.#parts;
    const checkpoint = await this.#save();
    return emit({ kind: "interrupted", step: trainer.step, checkpoint });
  }

  /** Throws what a checkpoint that is written beside steps has failed with. */
  requireSaves(): void {
    this.#beside.require();
  }

  async close(): Promise<void> {
    await this.#beside.close();
    await this.#generator?.close();
  }

  async #do(activity: Activity, isBesideSteps: boolean): Promise<void> {
    const { config, trainer } = this.#parts;
    const isLast = trainer.step >= config.max_steps;
    if (activity === "evaluate") {
      await this.#evaluate(isLast);
    } else if (activity === "save") await this.#save(isBesideSteps);
    else {
      const seed = sampleSeed(activity, trainer.step, config.seed);
      await this.#sample(config.sample_prompt ?? "", seed);
    }
  }

  /**
   * Told is the loss over as many batches as are asked for, at the end over all of them; the best is found over equally
   * many.
   */
  async #evaluate(isLast: boolean): Promise<void> {
    const { config, data, trainer, totals, emit } = this.#parts;
    const { validation } = data;
    if (validation === undefined || validation.tokenCount < 2) return;
    const startedMs = Date.now();
    const { eval_batches: asked = isLast ? -1 : EVALUATION_BATCHES } = config;
    const isRanked = keepsBest(config);
    const ranking = isRanked
      ? await this.#judge(validation, config.eval_batches ?? EVALUATION_BATCHES)
      : undefined;
    const result =
      ranking === undefined || (asked < 0 && !ranking.isWhole)
        ? await this.#judge(validation, asked)
        : ranking;
    const { loss, tokenCount, rewards } = result;
    const isBest = ranking !== undefined && totals.best.count(trainer.step, ranking.loss);
    totals.evalLoss = loss;
    emit({
      kind: "eval",
      step: trainer.step,
      eval_loss: loss,
      ...(rewards === undefined ? { perplexity: Math.exp(loss) } : rewardFields(rewards)),
      eval_tokens: tokenCount,
      elapsed_seconds: (Date.now() - startedMs) / 1000,
      ...(isRanked && { best: isBest }),
    });
  }

  /** Throws `TrainError` `train.not_finite` for a loss that is no number. */
  async #judge(split: DataSplit, batchLimit: number) {
    const { config, ownRowCount, trainer } = this.#parts;
    // As many rows as asked for, in batches of this process's plan.
    const limit = (batchLimit * config.batch_size) / ownRowCount;
    let batchCount = 0;
    const counted = function* (batches: Iterable<Batch>): Iterable<Batch> {
      for (const batch of batches) {
        batchCount++;
        yield batch;
      }
    };
    const { loss, tokenCount, rewards } = await (
      this.#parts.evaluate ?? trainer.evaluate.bind(trainer)
    )(
      counted(
        split.evaluation({
          batchSize: ownRowCount,
          ...(batchLimit > 0 && { batchLimit: limit }),
        }),
      ),
    );
    if (!Number.isFinite(loss)) {
      throw new TrainError(
        "train.not_finite",
        `step ${trainer.step}: the loss on ${split.name} is ${loss}`,
        { remedy: "Lower --learning-rate. The last checkpoint is intact." },
      );
    }
    return { loss, tokenCount, rewards, isWhole: batchLimit < 0 || batchCount < limit };
  }

  async #sample(prompt: string, seed: number): Promise<void> {
    const { config, data, model, engine, trainer, emit } = this.#parts;
    const { tokenizer } = data;
    if (tokenizer === undefined) return;
    this.#generator ??= new Generator({
      engine,
      model,
      tokenizer: tokenizer.tokenizer,
      weights: trainer.loaded,
      generation: data.generation && { endTokenIds: data.generation.endTokenIds },
      trained: beginningsOf({ ...config }),
    });
    const { text } = await this.#generator.generate(prompt, {
      maxTokens: config.sample_tokens,
      temperature: config.sample_temperature,
      seed,
    });
    emit({ kind: "sample", step: trainer.step, prompt, text });
  }

  async #save(isBesideSteps = false): Promise<string> {
    const { collecting, config, control, trainer } = this.#parts;
    const viewOf: ViewOf = (name) => trainer.loaded.view(name);
    // What other processes hold is gathered in pieces that are gone when the next one comes.
    if (isBesideSteps && collecting === undefined && this.#beside.suits(viewOf)) {
      await this.#beside.begin(this.#order(), viewOf);
      this.#savedStep = trainer.step;
      return checkpointPath(config.output_dir, trainer.step);
    }
    await this.#beside.settle();
    const gather = collecting ?? this.#collectHere;
    return await gather((view, losses) => control.whileSaving(() => this.#write(view, losses)));
  }

  readonly #collectHere: NonNullable<ActivityParts["collecting"]> = async (work) => {
    const { loaded } = this.#parts.trainer;
    return work((name) => loaded.view(name));
  };

  #write(viewOf: ViewOf, losses: KeptLosses | undefined): string {
    const { files, trainer } = this.#parts;
    const startedMs = performance.now();
    const saved = saveCheckpoint(this.#order(), files, viewOf, losses);
    this.#savedStep = trainer.step;
    this.#tell(trainer.step, saved, { elapsedMs: performance.now() - startedMs });
    return saved.folder;
  }

  #order(): SaveOrder {
    const { config, trainer, totals } = this.#parts;
    const { state: best, step: keptStep } = totals.best;
    return {
      ...{ runFolder: config.output_dir, step: trainer.step, state: this.#state() },
      ...{ keptStep, limit: config.save_total_limit },
      ...(best?.step === trainer.step && { best: { step: best.step, evalLoss: best.evalLoss } }),
    };
  }

  #tell(
    step: number,
    { folder, byteLength, notes }: SavedCheckpoint,
    { elapsedMs, waitedMs }: { readonly elapsedMs: number; readonly waitedMs?: number },
  ): void {
    const { emit } = this.#parts;
    for (const message of notes) emit({ kind: "notice", step, message });
    emit({
      kind: "save",
      step,
      checkpoint: folder,
      byte_length: byteLength,
      elapsed_seconds: elapsedMs / 1000,
      ...(waitedMs !== undefined && { waited_seconds: waitedMs / 1000 }),
    });
  }

  #state(): TrainerState {
    const { config, engine, trainer, totals } = this.#parts;
    return totals.state(trainer, engine.description, config);
  }
}
