import { differentiate } from "../../grad/differentiate.ts";
import type { Derivative } from "../../grad/differentiate.ts";
import { GradError } from "../../grad/errors.ts";
import { valueAndGradient } from "../../grad/value-and-gradient.ts";
import type { MilFunction } from "../../mil/program.ts";
import { tensorType } from "../../mil/types.ts";
import type { TensorType } from "../../mil/types.ts";
import type { ModelConfig } from "../../model/config.ts";
import { modelOf } from "../../model/model.ts";
import type { Model } from "../../model/model.ts";
import { initialRms } from "../../model/weights.ts";
import type { StageInstance, WeightSpec } from "../../model/weights.ts";
import { optimize } from "../../passes/pipeline.ts";
import { PlanBuilder } from "../../plan/builder.ts";
import type { BindingInput, OutputBindingInput } from "../../plan/builder.ts";
import type { Plan } from "../../plan/plan.ts";
import { ADAMW_SCALARS, adamwNames, adamwProgram } from "./adamw.ts";
import type { AdamwSettings } from "./adamw.ts";
import { TrainError } from "../errors.ts";
import { LossScale } from "./loss-scale.ts";
import { checkStepSizes, chooseHeadChunkRows } from "./step-sizes.ts";
import { embeddingGradient, sumOfSquares } from "./gradient-functions.ts";

/** Sections of a training plan, in the order a step runs them. */
export const TRAINING_SECTIONS = [
  "forward_backward",
  "forward_backward_accumulate",
  "gradient_norm",
  "update",
  "evaluate",
] as const;
export type TrainingSection = (typeof TRAINING_SECTIONS)[number];

/** What of the forward pass is kept for the backward one. */
export type Recompute = "none" | "auto" | "full";

export interface TrainingPlanOptions {
  readonly config: ModelConfig;
  /** Sequences of one micro-batch, B. */
  readonly batchSize: number;
  /** Tokens of a sequence, S. */
  readonly sequenceLength: number;
  /** Adds the section for the second and later micro-batches. Default true. */
  readonly accumulation?: boolean;
  /** Default "none": everything a derivative reads is kept. */
  readonly recompute?: Recompute;
  /** Bytes that what the backward pass reads of the forward one may take, all layers together. */
  readonly byteBudget?: number;
  /** Rows of the batch whose logits exist at once. Default: what fits 64 MiB of logits. */
  readonly headChunkRows?: number;
  readonly adamw?: AdamwSettings;
  /** Applied to every program without a host kernel. Default: the passes of passes/pipeline.ts. */
  readonly optimize?: (fn: MilFunction) => MilFunction;
}

export interface TrainingPlan {
  readonly plan: Plan;
  readonly model: Model;
  readonly headChunkRows: number;
  /** Bytes of the largest logits that exist at once. */
  readonly logitsByteLength: number;
  /** What the block's derivative keeps and what that costs. */
  readonly block: Derivative;
}

export const DEFAULT_ADAMW: AdamwSettings = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8 };

/** Names of a weight's companions in the plan. */
export const gradientName = (weight: string): string => `gradient:${weight}`;
export const firstMomentName = (weight: string): string => `m:${weight}`;
export const secondMomentName = (weight: string): string => `v:${weight}`;

/**
 * A whole training step as data. Host-visible buffers: `tokens`, `targets` int32 [B, S]; `loss_scale`,
 * `loss_sum`, `gradient_square_sum` and AdamW's scalars, fp32 [].
 * Throws `TrainError` for sizes the model does not allow, `GradError` where the taps cannot fit the budget.
 */
export function buildTrainingPlan(options: TrainingPlanOptions): TrainingPlan {
  checkStepSizes(options);
  const step = new StepPlan(options);
  step.forwardBackward("forward_backward", false);
  if (options.accumulation !== false) step.forwardBackward("forward_backward_accumulate", true);
  step.gradientNorm();
  step.update();
  step.evaluate();
  return step.finish();
}

/** Only the loss of a batch: section `evaluate`, no gradients. */
export function buildEvaluationPlan(
  options: Pick<
    TrainingPlanOptions,
    "config" | "batchSize" | "sequenceLength" | "headChunkRows" | "optimize"
  >,
): Plan {
  checkStepSizes(options);
  const step = new StepPlan(options);
  step.evaluate();
  return step.finishPlan();
}

/** Puts the sections together; buffers and programs are made when first needed. */
class StepPlan {
  readonly #builder: PlanBuilder;
  readonly #model: Model;
  readonly #options: TrainingPlanOptions;
  readonly #rowCount: number;
  readonly #chunkRows: number;
  readonly #hiddenType: TensorType;
  #block: Derivative | undefined;

  constructor(options: TrainingPlanOptions) {
    const { config, batchSize, sequenceLength } = options;
    this.#options = options;
    this.#model = modelOf(config);
    this.#rowCount = batchSize * sequenceLength;
    this.#chunkRows = Math.min(
      this.#rowCount,
      options.headChunkRows ?? chooseHeadChunkRows(this.#rowCount, config.vocabularySize),
    );
    this.#hiddenType = tensorType("fp32", [this.#rowCount, config.channelCount]);
    this.#builder = new PlanBuilder(`train ${config.family} B${batchSize} S${sequenceLength}`);
    this.#declareBuffers();
  }

  #declareBuffers(): void {
    const { batchSize, sequenceLength } = this.#options;
    const tokens = tensorType("int32", [batchSize, sequenceLength]);
    this.#builder.buffer("tokens", tokens, "input");
    this.#builder.buffer("targets", tokens, "input");
    this.#builder.buffer("loss_sum", tensorType("fp32", []), "output");
    for (const stage of this.#model.stages) {
      for (const weight of owned(stage))
        this.#builder.buffer(
          ...([weight.name, weight.type, "weight", stage.group] as const),
          initialRms(weight.initialisation),
        );
    }
  }

  finishPlan(): Plan {
    return this.#builder.finish();
  }

  finish(): TrainingPlan {
    if (this.#block === undefined)
      throw new TrainError("train.plan.order", "a training plan needs its backward sections");
    return Object.freeze({
      plan: this.#builder.finish(),
      model: this.#model,
      headChunkRows: this.#chunkRows,
      logitsByteLength: 4 * this.#chunkRows * this.#options.config.vocabularySize,
      block: this.#block,
    });
  }

  /** A program made once under its name. */
  #program(name: string, make: () => MilFunction): string {
    if (!this.#builder.hasProgram(name)) this.#builder.program(name, this.#optimized(make()));
    return name;
  }

  #optimized(fn: MilFunction): MilFunction {
    return (this.#options.optimize ?? optimize)(fn);
  }

  /** A buffer made once under its name. */
  #buffer(name: string, type: TensorType, ...rest: BufferPlace): string {
    return this.#builder.hasBuffer(name) ? name : this.#builder.buffer(name, type, ...rest);
  }

  /** What the loss is multiplied with, divided by the number of tokens. */
  #lossScale(): string {
    const rms = LossScale.dynamic().scaleFor(this.#rowCount) / this.#rowCount;
    return this.#buffer("loss_scale", tensorType("fp32", []), "input", "", rms);
  }

  #scalar(name: string, role: "input" | "output"): string {
    return this.#buffer(name, tensorType("fp32", []), role);
  }

  #hidden(layer: number): string {
    return this.#buffer(`hidden.${layer}`, this.#hiddenType, "activation");
  }

  #hiddenGradient(layer: number): string {
    return this.#buffer(`d_hidden.${layer}`, this.#hiddenType, "activation");
  }

  get #batchSizes() {
    const { batchSize, sequenceLength } = this.#options;
    return { batchSize, sequenceLength, dataType: "fp32" } as const;
  }

  /** Weights as a stage function's inputs; a table bound to a smaller input gives its first rows. */
  #weightInputs(stage: StageInstance): Record<string, BindingInput> {
    return Object.fromEntries(stage.weights.map(({ parameter, name }) => [parameter, name]));
  }

  #embedForward(section: string): void {
    const program = this.#program("embed_forward", () =>
      this.#model.functions.embed(this.#batchSizes),
    );
    const inputs = { tokens: "tokens", ...this.#weightInputs(this.#model.embed) };
    this.#builder.dispatch(section, "forward embed", program, inputs, { hidden: this.#hidden(0) });
  }

  /** The derivative of a block, made once: taps are chosen for all layers at once. */
  #blockDerivative(): Derivative {
    if (this.#block !== undefined) return this.#block;
    const { recompute = "none", byteBudget, config } = this.#options;
    const [first] = this.#model.blocks;
    const request = {
      withRespectTo: ["hidden", ...(first?.weights ?? []).map(({ parameter }) => parameter)],
      heldInputs: ["hidden"],
      recompute,
    };
    const block = this.#model.functions.block(this.#batchSizes);
    try {
      this.#block = differentiate(block, {
        ...request,
        ...(byteBudget !== undefined && { byteBudget: Math.floor(byteBudget / config.layerCount) }),
      });
    } catch (error) {
      if (!(error instanceof GradError) || error.code !== "grad.budget") throw error;
      const smallest = differentiate(block, request).smallestBytes * config.layerCount;
      throw new TrainError(
        "train.plan.budget",
        `${byteBudget} bytes are not enough for what the backward pass of ${config.layerCount} layers reads with recompute "${recompute}"; the smallest possible number is ${smallest}`,
        {
          remedy:
            recompute === "auto"
              ? `Allow ${smallest} bytes or more, or lower the batch size.`
              : 'Use recompute "auto", which stays within the bytes allowed.',
          cause: error,
        },
      );
    }
    return this.#block;
  }

  #tap(layer: number, name: string): string {
    const type = outputType(this.#blockDerivative().forward, name);
    return this.#buffer(`tap:block.${layer}:${name}`, type, "tap");
  }

  /** Forward, head with its gradients, backward. */
  forwardBackward(section: TrainingSection, accumulate: boolean): void {
    const written = new Set<string>();
    /** The first writer of a step replaces what the gradient held, later ones add to it. */
    const gradient = (weight: WeightSpec, group: string): OutputBindingInput => {
      const name = gradientName(weight.name);
      this.#buffer(name, weight.type, "gradient", group);
      const mode = accumulate || written.has(name) ? "accumulate" : "write";
      written.add(name);
      return { buffer: name, mode };
    };
    this.#embedForward(section);
    const { forward, backward, taps } = this.#blockDerivative();
    const forwardName = this.#program("block_forward", () => forward);
    this.#model.blocks.forEach((stage, layer) => {
      this.#builder.dispatch(
        section,
        `forward ${stage.group}`,
        forwardName,
        { hidden: this.#hidden(layer), ...this.#weightInputs(stage) },
        {
          hidden_out: this.#hidden(layer + 1),
          ...Object.fromEntries(taps.map((tap) => [tap, this.#tap(layer, tap)])),
        },
      );
    });
    this.#headGradients(section, gradient);
    const backwardName = this.#program("block_backward", () => backward);
    this.#model.blocks.toReversed().forEach((stage) => {
      const layer = this.#model.blocks.indexOf(stage);
      const available: Record<string, BindingInput> = {
        hidden: this.#hidden(layer),
        d_hidden_out: this.#hiddenGradient(layer + 1),
        ...this.#weightInputs(stage),
        ...Object.fromEntries(taps.map((tap) => [tap, this.#tap(layer, tap)])),
      };
      this.#builder.dispatch(
        section,
        `backward ${stage.group}`,
        backwardName,
        needed(backward, available),
        {
          d_hidden: this.#hiddenGradient(layer),
          ...Object.fromEntries(
            stage.weights.map((weight) => [`d_${weight.parameter}`, gradient(weight, stage.group)]),
          ),
        },
      );
    });
    this.#embedGradients(section, gradient);
  }

  /** [first row, number of rows] of the head's chunks. */
  #chunks(): readonly (readonly [number, number])[] {
    const count = Math.ceil(this.#rowCount / this.#chunkRows);
    return Array.from({ length: count }, (_, chunk) => {
      const first = chunk * this.#chunkRows;
      return [first, Math.min(this.#chunkRows, this.#rowCount - first)];
    });
  }

  #headInputs(first: number): Record<string, BindingInput> {
    const { config } = this.#options;
    return {
      hidden: { buffer: this.#hidden(config.layerCount), offset: first * config.channelCount },
      targets: { buffer: "targets", offset: first },
      ...this.#weightInputs(this.#model.head),
    };
  }

  #headGradients(section: string, gradient: GradientBinding): void {
    const { head, functions } = this.#model;
    const { config } = this.#options;
    const parameters = head.weights.map(({ parameter }) => parameter);
    for (const [first, rowCount] of this.#chunks()) {
      const program = this.#program(`head_gradient_${rowCount}`, () =>
        valueAndGradient(functions.head({ rowCount, dataType: "fp32" }), {
          withRespectTo: ["hidden", ...parameters],
          gradientOf: ["loss_sum"],
        }),
      );
      this.#builder.dispatch(
        section,
        `head rows ${first} to ${first + rowCount - 1}`,
        program,
        { ...this.#headInputs(first), d_loss_sum: this.#lossScale() },
        {
          loss_sum: { buffer: "loss_sum", mode: first === 0 ? "write" : "accumulate" },
          d_hidden: {
            buffer: this.#hiddenGradient(config.layerCount),
            offset: first * config.channelCount,
          },
          ...Object.fromEntries(
            head.weights.map((weight) => [
              `d_${weight.parameter}`,
              gradient(weight, weight.borrowed ? "embed" : "head"),
            ]),
          ),
        },
      );
    }
  }

  /** The token table through the gathered rows; other tables of the stage by differentiation. */
  #embedGradients(section: string, gradient: GradientBinding): void {
    const { config } = this.#options;
    const [table, ...others] = this.#model.embed.weights;
    if (table === undefined)
      throw new TrainError("train.plan.weights", "the embed stage has no token table");
    const program = "embedding_gradient";
    if (!this.#builder.hasProgram(program)) {
      const fn = embeddingGradient(config.vocabularySize, config.channelCount, this.#rowCount);
      this.#builder.program(program, fn, {
        kind: "embedding_gradient",
        indices: "indices",
        gradient: "gradient",
      });
    }
    this.#builder.dispatch(
      section,
      "backward embed tokens",
      program,
      { indices: "tokens", gradient: this.#hiddenGradient(0) },
      { table_gradient: gradient(table, "embed") },
    );
    if (others.length === 0) return;
    const backward = differentiate(this.#model.functions.embed(this.#batchSizes), {
      withRespectTo: others.map(({ parameter }) => parameter),
      recompute: "full",
    }).backward;
    this.#builder.dispatch(
      section,
      "backward embed positions",
      this.#program("embed_backward", () => backward),
      needed(backward, {
        tokens: "tokens",
        d_hidden: this.#hiddenGradient(0),
        ...this.#weightInputs(this.#model.embed),
      }),
      Object.fromEntries(
        others.map((weight) => [`d_${weight.parameter}`, gradient(weight, "embed")]),
      ),
    );
  }

  /** In the order in which the backward pass ends the stages' gradients. */
  gradientNorm(): void {
    let first = true;
    for (const stage of this.#model.stages.toReversed()) {
      const weights = owned(stage);
      const name = `gradient_norm_${stage.kind}`;
      if (!this.#builder.hasProgram(name))
        this.#builder.program(name, sumOfSquares(name, weights), { kind: "sum_of_squares" });
      this.#builder.dispatch(
        "gradient_norm",
        `gradient norm ${stage.group}`,
        name,
        Object.fromEntries(weights.map((weight) => [weight.parameter, gradientName(weight.name)])),
        {
          sum: {
            buffer: this.#scalar("gradient_square_sum", "output"),
            mode: first ? "write" : "accumulate",
          },
        },
      );
      first = false;
    }
  }

  update(): void {
    const settings = this.#options.adamw ?? DEFAULT_ADAMW;
    for (const stage of this.#model.stages) {
      const program = `adamw_${stage.kind}`;
      if (!this.#builder.hasProgram(program)) {
        const { function: fn, kernel } = adamwProgram(stage, settings);
        this.#builder.program(program, fn, kernel);
      }
      const inputs: Record<string, BindingInput> = {};
      const outputs: Record<string, OutputBindingInput> = {};
      for (const scalar of ADAMW_SCALARS) inputs[scalar] = this.#scalar(scalar, "input");
      for (const weight of owned(stage)) {
        const names = adamwNames(weight);
        const m = firstMomentName(weight.name);
        const v = secondMomentName(weight.name);
        this.#buffer(m, weight.type, "optimizer", stage.group);
        this.#buffer(v, weight.type, "optimizer", stage.group);
        inputs[names.weight] = weight.name;
        inputs[names.gradient] = gradientName(weight.name);
        inputs[names.m] = m;
        inputs[names.v] = v;
        outputs[`new_${names.weight}`] = weight.name;
        outputs[`new_${names.m}`] = m;
        outputs[`new_${names.v}`] = v;
      }
      this.#builder.dispatch("update", `update ${stage.group}`, program, inputs, outputs);
    }
  }

  /** Forward and loss only. */
  evaluate(): void {
    this.#embedForward("evaluate");
    const block = this.#program("block_evaluate", () =>
      this.#model.functions.block(this.#batchSizes),
    );
    this.#model.blocks.forEach((stage, layer) => {
      this.#builder.dispatch(
        "evaluate",
        `evaluate ${stage.group}`,
        block,
        { hidden: this.#hidden(layer), ...this.#weightInputs(stage) },
        { hidden_out: this.#hidden(layer + 1) },
      );
    });
    for (const [first, rowCount] of this.#chunks()) {
      const program = this.#program(`head_loss_${rowCount}`, () =>
        this.#model.functions.head({ rowCount, dataType: "fp32" }),
      );
      this.#builder.dispatch(
        "evaluate",
        `evaluate head rows ${first} to ${first + rowCount - 1}`,
        program,
        this.#headInputs(first),
        { loss_sum: { buffer: "loss_sum", mode: first === 0 ? "write" : "accumulate" } },
      );
    }
  }
}

type GradientBinding = (weight: WeightSpec, group: string) => OutputBindingInput;
type BufferPlace = readonly [
  role: Parameters<PlanBuilder["buffer"]>[2],
  group?: string,
  rms?: number,
];

function owned(stage: StageInstance): readonly WeightSpec[] {
  return stage.weights.filter((weight) => !weight.borrowed);
}

/** The bindings a function has inputs for. */
function needed(
  fn: MilFunction,
  available: Readonly<Record<string, BindingInput>>,
): Record<string, BindingInput> {
  const names = new Set(fn.inputs.map(({ name }) => name));
  return Object.fromEntries(Object.entries(available).filter(([name]) => names.has(name)));
}

function outputType(fn: MilFunction, name: string): TensorType {
  const type = fn.outputs.find((output) => output.name === name)?.type;
  if (type?.kind !== "tensor")
    throw new TrainError("train.plan.taps", `"${fn.name}" has no tensor output "${name}"`);
  return type;
}
