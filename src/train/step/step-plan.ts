import { trainableWeights } from "../../model/parameters.ts";
import { isPacked } from "../../model/plan-weights.ts";
import type { TensorType } from "../../mil/types.ts";
import type { WeightSpec } from "../../model/weights.ts";
import type { Plan } from "../../plan/plan.ts";
import { formatStorage } from "../../plan/storage.ts";
import { TrainError } from "../errors.ts";
import type { AdamwSettings } from "./adamw.ts";
import { BlockSteps } from "./block-steps.ts";
import { EmbedSteps } from "./embed-steps.ts";
import { HeadSteps } from "./head-steps.ts";
import { DEFAULT_MUON } from "./muon.ts";
import { PreferencePlan } from "./preference-plan.ts";
import { StepContext } from "./step-context.ts";
import type { TrainingPlan, TrainingPlanOptions } from "./step-plan-options.ts";
import { checkStepSizes } from "./step-sizes.ts";
import { addUpdate } from "./update-plan.ts";

export { hiddenGradientName, hiddenName } from "./step-context.ts";
export type { TrainingPlan, TrainingPlanOptions } from "./step-plan-options.ts";
export { firstMomentName, gradientName, momentNames, secondMomentName } from "./update-plan.ts";

/** Sections of a training plan, in the order a step runs them. */
export const TRAINING_SECTIONS = [
  "forward_backward",
  "forward_backward_accumulate",
  "gradient_norm",
  "update",
  "evaluate",
] as const;
export type TrainingSection = (typeof TRAINING_SECTIONS)[number];

/** Sections of a process in a pipeline, beside `gradient_norm`, `update` and `evaluate`. */
export type PipelineSection = `${"forward" | "backward" | "backward_accumulate"} ${number}`;

export const DEFAULT_ADAMW: AdamwSettings = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8 };

/**
 * A whole training step as data. Host-visible buffers: `tokens`, `targets`, and `position_ids` and `documents` where
 * rows are packed, int32 [B, S]; `loss_scale`, `loss_sum`, `gradient_square_sum` and AdamW's scalars, fp32 [].
 * Throws `TrainError` for sizes the model does not allow, `GradError` where the taps cannot fit the budget.
 */
export function buildTrainingPlan(options: TrainingPlanOptions): TrainingPlan {
  checkStepSizes(options);
  checkPreference(options);
  const packed = trainableWeights(options.model.parameters).find(isPacked);
  if (packed !== undefined) {
    throw new TrainError(
      "train.plan.storage",
      `"${packed.name}" is stored as ${formatStorage(packed.storage)} and is to be trained; updates need fp32`,
      { remedy: "Freeze it (frozen), or leave it out of what is quantized." },
    );
  }
  const step = new StepPlan(options);
  const modes = options.accumulation === false ? [false] : [false, true];
  const { part } = options;
  if (part === undefined) {
    for (const accumulates of modes)
      step.forwardBackward(
        accumulates ? "forward_backward_accumulate" : "forward_backward",
        accumulates,
      );
  } else {
    for (let slot = 0; slot < part.slotCount; slot++) step.pipelineSections(slot, modes);
  }
  step.update();
  step.evaluate();
  return step.finish();
}

/** Throws `TrainError` for pairs that are none, packed rows, a pipeline, and a model without an adapter. */
function checkPreference({
  preference,
  batchSize,
  isPacked = false,
  part,
  model,
}: TrainingPlanOptions): void {
  if (preference === undefined) return;
  const refuse = (problem: string): never => {
    throw new TrainError("train.plan.preference", `pairs of answers: ${problem}`, {
      remedy: "Take an adapter on one process, rows in pairs, none of them packed.",
    });
  };
  if (batchSize % 2 !== 0) refuse(`${batchSize} rows are not made of pairs`);
  if (isPacked) refuse("each answer needs a row of its own, and rows are packed");
  if (part !== undefined) refuse("the model is split over processes");
  if (model.parameters.adapter === undefined)
    refuse("the reference is the model without its adapter, and it has none");
}

/** Only the loss of a batch: section `evaluate`, no gradients. */
export function buildEvaluationPlan(
  options: Pick<
    TrainingPlanOptions,
    "model" | "batchSize" | "sequenceLength" | "isPacked" | "headChunkRows" | "optimize"
  >,
): Plan {
  checkStepSizes(options);
  const step = new StepPlan(options);
  step.evaluate();
  return step.finishPlan();
}

/** Puts the sections together. */
class StepPlan {
  readonly #step: StepContext;
  readonly #embed: EmbedSteps;
  readonly #blocks: BlockSteps;
  readonly #head: HeadSteps;
  /** Where the rows are pairs of answers. */
  readonly #pairs: PreferencePlan | undefined;

  constructor(options: TrainingPlanOptions) {
    this.#step = new StepContext(options);
    this.#embed = new EmbedSteps(this.#step);
    this.#blocks = new BlockSteps(this.#step);
    this.#head = new HeadSteps(this.#step);
    const { preference, batchSize, sequenceLength } = options;
    const sizes = { pairCount: batchSize / 2, sequenceLength };
    this.#pairs = preference && new PreferencePlan(this.#step.builder, preference, sizes);
  }

  finishPlan(): Plan {
    return this.#step.builder.finish();
  }

  finish(): TrainingPlan {
    const { model } = this.#step;
    const block = this.#blocks.derivatives.shown;
    return Object.freeze({
      plan: this.finishPlan(),
      model,
      headChunkRows: this.#head.chunkRows,
      logitsByteLength: 4 * this.#head.chunkRows * model.config.vocabularySize,
      ...(block !== undefined && { block }),
    });
  }

  /** Forward, head with its gradients, backward as far down as something is trained. */
  forwardBackward(section: string, accumulates: boolean): void {
    this.#forward(section);
    this.#backward(section, accumulates);
  }

  /** Of a process in a pipeline: what it runs forward for a slot's micro-batch, and backward. */
  pipelineSections(slot: number, modes: readonly boolean[]): void {
    this.#step.slot = slot;
    if (!this.#step.isWhole) this.#forward(`forward ${slot}` satisfies PipelineSection);
    if (!this.#isLearning) return;
    for (const accumulates of modes) {
      const verb = accumulates ? "backward_accumulate" : "backward";
      const section = `${verb} ${slot}` satisfies PipelineSection;
      if (this.#step.isWhole) this.forwardBackward(section, accumulates);
      else {
        this.#step.packing(section);
        this.#backward(section, accumulates);
      }
    }
    this.#step.slot = 0;
  }

  /** Whether a backward pass comes down to here. */
  get #isLearning(): boolean {
    const [layer] = this.#layers.slice(-1);
    return (
      this.#step.isWhole ||
      (layer !== undefined && this.#blocks.derivatives.of(layer) !== undefined)
    );
  }

  /** Layers held here. */
  get #layers(): readonly number[] {
    const { part } = this.#step.options;
    const layers = [...this.#step.model.parameters.blocks.keys()];
    return part === undefined ? layers : layers.slice(part.firstBlock, part.endBlock);
  }

  /** What the model without its adapter takes for each answer; afterwards `hidden.0` is as before. */
  #reference(section: string): void {
    const { head } = this.#step.held;
    if (this.#pairs === undefined || head === undefined) return;
    for (const layer of this.#layers) this.#blocks.reference(section, layer);
    this.#head.rowLosses(section, head, this.#pairs, "reference");
    this.#pairs.keepReference(section);
  }

  #forward(section: string): void {
    this.#embed.forward(section);
    const { head } = this.#step.held;
    if (head !== undefined) this.#head.lookUpTargets(section, head);
    this.#reference(section);
    for (const layer of this.#layers)
      this.#blocks.forward(section, "forward", layer, this.#blocks.derivatives.of(layer));
  }

  #backward(section: string, accumulates: boolean): void {
    const { held, model } = this.#step;
    const { derivatives } = this.#blocks;
    const gradient = this.#step.gradients(accumulates);
    if (held.head !== undefined) {
      const isPassedOn = derivatives.needsInputGradient(model.config.layerCount);
      this.#head.gradients(section, held.head, gradient, isPassedOn, this.#pairs);
    }
    for (const layer of this.#layers.toReversed()) {
      const derivative = derivatives.of(layer);
      if (derivative === undefined) break;
      this.#blocks.backward(section, layer, derivative, gradient);
    }
    if (held.head !== undefined) this.#head.rowGradients(section, held.head, gradient);
    if (held.embed !== undefined && derivatives.needsInputGradient(0))
      this.#embed.gradients(section, held.embed, gradient);
  }

  update(): void {
    const { stages, copies } = this.#step.held;
    const { shard, adamw = DEFAULT_ADAMW, muon = DEFAULT_MUON } = this.#step.options;
    const { adapter } = this.#step.model.parameters;
    const weights = this.#step.weights;
    const gradientType = (weight: WeightSpec): TensorType => this.#step.gradientType(weight);
    const settings = { stages, copies, shard, adamw, muon, adapter, weights, gradientType };
    addUpdate(this.#step.builder, settings);
  }

  /** Forward and loss only. */
  evaluate(): void {
    const section = "evaluate";
    this.#embed.forward(section);
    this.#reference(section);
    const { head } = this.#step.held;
    if (head !== undefined) this.#head.lookUpTargets(section, head);
    for (const layer of this.#layers) this.#blocks.forward(section, "evaluate", layer, undefined);
    if (head !== undefined) this.#head.evaluate(section, head, this.#pairs);
  }
}
