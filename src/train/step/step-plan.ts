import { differentiate } from "../../grad/differentiate.ts";
import type { Derivative } from "../../grad/differentiate.ts";
import { valueAndGradient } from "../../grad/value-and-gradient.ts";
import type { MilFunction } from "../../mil/program.ts";
import { tensorType } from "../../mil/types.ts";
import type { TensorType } from "../../mil/types.ts";
import type { Model } from "../../model/model.ts";
import { trainableWeights } from "../../model/parameters.ts";
import type { StageInstance, Weight } from "../../model/parameters.ts";
import { isPacked, PlanWeights } from "../../model/plan-weights.ts";
import type { WeightUse } from "../../model/plan-weights.ts";
import { optimize } from "../../passes/pipeline.ts";
import { PlanBuilder } from "../../plan/builder.ts";
import type { BindingInput, OutputBindingInput } from "../../plan/builder.ts";
import type { Plan } from "../../plan/plan.ts";
import { formatStorage } from "../../plan/storage.ts";
import type { AdamwSettings } from "./adamw.ts";
import { DEFAULT_MUON } from "./muon.ts";
import type { MuonSettings } from "./muon.ts";
import { BlockDerivatives } from "./block-derivatives.ts";
import type { BlockDerivative, Recompute } from "./block-derivatives.ts";
import { TrainError } from "../errors.ts";
import { LossScale } from "./loss-scale.ts";
import { checkStepSizes, chooseHeadChunkRows } from "./step-sizes.ts";
import { embeddingGradient, scaledRows } from "./gradient-functions.ts";
import { heldStages } from "./step-part.ts";
import type { HeldStages, StepPart, UpdateShard } from "./step-part.ts";
import { DROPOUT_MASK } from "../../model/adapters/products.ts";
import { DROPOUT_BUFFER } from "./dropout.ts";
import { addUpdate, gradientName } from "./update-plan.ts";

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

/** What a process of a pipeline gets from the one before it and gives to the one after it, by slot. */
export const hiddenName = (layer: number, slot: number): string => `hidden.${layer} slot ${slot}`;
export const hiddenGradientName = (layer: number, slot: number): string =>
  `d_hidden.${layer} slot ${slot}`;

/** What a training step is planned for. */
export interface TrainingPlanOptions {
  readonly model: Model;
  /** Sequences of one micro-batch, B. */
  readonly batchSize: number;
  /** Tokens of a sequence, S. */
  readonly sequenceLength: number;
  /** Rows hold several documents: `position_ids` and `documents` are inputs beside the tokens. Default false. */
  readonly isPacked?: boolean;
  /** Adds the section for the second and later micro-batches. Default true. */
  readonly accumulation?: boolean;
  /** Default "none": everything a derivative reads is kept. */
  readonly recompute?: Recompute;
  /** Bytes that what the backward pass reads of the forward one may take, all layers together. */
  readonly byteBudget?: number;
  /** Rows of the batch whose logits exist at once. Default: what fits 64 MiB of logits. */
  readonly headChunkRows?: number;
  readonly adamw?: AdamwSettings;
  readonly muon?: MuonSettings;
  /** Of a process in a pipeline: the plan has its blocks alone, and a forward and a backward section a slot. */
  readonly part?: StepPart;
  /** Of a process that updates its part of every weight: the optimizer's state is that of the part. */
  readonly shard?: UpdateShard;
  /** Applied to every program without a host kernel. Default: the passes of passes/pipeline.ts. */
  readonly optimize?: (fn: MilFunction) => MilFunction;
}

/** The plan of a training step, with what it keeps for the backward. */
export interface TrainingPlan {
  readonly plan: Plan;
  readonly model: Model;
  readonly headChunkRows: number;
  /** Bytes of the largest logits that exist at once. */
  readonly logitsByteLength: number;
  /** What the derivative of the lowest trained layer keeps and what that costs; none where only the head is trained. */
  readonly block?: Derivative;
}

export const DEFAULT_ADAMW: AdamwSettings = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8 };

export { firstMomentName, gradientName, momentNames, secondMomentName } from "./update-plan.ts";

/**
 * A whole training step as data. Host-visible buffers: `tokens`, `targets`, and `position_ids` and `documents` where
 * rows are packed, int32 [B, S]; `loss_scale`, `loss_sum`, `gradient_square_sum` and AdamW's scalars, fp32 [].
 * Throws `TrainError` for sizes the model does not allow, `GradError` where the taps cannot fit the budget.
 */
export function buildTrainingPlan(options: TrainingPlanOptions): TrainingPlan {
  checkStepSizes(options);
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

/** Puts the sections together; buffers and programs are made when first needed. */
class StepPlan {
  readonly #builder: PlanBuilder;
  readonly #model: Model;
  readonly #options: TrainingPlanOptions;
  readonly #rowCount: number;
  readonly #chunkRows: number;
  readonly #hiddenType: TensorType;
  readonly #weights: PlanWeights;
  readonly #held: HeldStages;
  /** Of the section that is being made, in a pipeline. */
  #slot = 0;
  #blocks: BlockDerivatives | undefined;
  #packingMade: MilFunction | undefined;
  readonly #blockFunctions = new Map<string, MilFunction>();

  constructor(options: TrainingPlanOptions) {
    const { model, batchSize, sequenceLength } = options;
    const { config } = model;
    this.#options = options;
    this.#model = model;
    this.#rowCount = batchSize * sequenceLength;
    this.#chunkRows = Math.min(
      this.#rowCount,
      options.headChunkRows ?? chooseHeadChunkRows(this.#rowCount, config.vocabularySize),
    );
    this.#hiddenType = tensorType("fp32", [this.#rowCount, config.channelCount]);
    this.#builder = new PlanBuilder(`train ${config.family} B${batchSize} S${sequenceLength}`);
    const tokens = tensorType("int32", [batchSize, sequenceLength]);
    this.#builder.buffer("tokens", tokens, "input");
    this.#builder.buffer("targets", tokens, "input");
    if (options.isPacked === true) {
      this.#builder.buffer("position_ids", tokens, "input");
      this.#builder.buffer("documents", tokens, "input");
    }
    this.#builder.buffer("loss_sum", tensorType("fp32", []), "output");
    this.#held = heldStages(model.parameters, options.part);
    this.#weights = PlanWeights.declare(this.#builder, this.#held);
  }

  finishPlan(): Plan {
    return this.#builder.finish();
  }

  finish(): TrainingPlan {
    const block = this.#blockDerivatives().shown;
    return Object.freeze({
      plan: this.#builder.finish(),
      model: this.#model,
      headChunkRows: this.#chunkRows,
      logitsByteLength: 4 * this.#chunkRows * this.#model.config.vocabularySize,
      ...(block !== undefined && { block }),
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

  /** In a pipeline it lives from the forward to the backward section, or comes from another process. */
  #hidden(layer: number): string {
    const { part } = this.#options;
    if (part === undefined || (this.#isWhole && layer > part.firstBlock))
      return this.#buffer(`hidden.${layer}`, this.#hiddenType, "activation");
    const name = hiddenName(layer, this.#slot);
    return this.#buffer(name, this.#hiddenType, "state", name);
  }

  #hiddenGradient(layer: number): string {
    const { part } = this.#options;
    const isExchanged =
      part !== undefined &&
      ((layer === part.firstBlock && layer > 0) || (layer === part.endBlock && !this.#isWhole));
    if (!isExchanged) return this.#buffer(`d_hidden.${layer}`, this.#hiddenType, "activation");
    const name = hiddenGradientName(layer, this.#slot);
    return this.#buffer(name, this.#hiddenType, "state", name);
  }

  /** Whether forward and backward of a micro-batch are one section: everywhere but in a pipeline before its last process. */
  get #isWhole(): boolean {
    return this.#held.head !== undefined;
  }

  get #batchSizes() {
    const { batchSize, sequenceLength, isPacked = false } = this.#options;
    return { batchSize, sequenceLength, isPacked, dataType: "fp32" } as const;
  }

  /** Mask and rotary tables of a packed batch, for every block of the section. */
  #packing(section: string): void {
    if (this.#options.isPacked !== true) return;
    const name = this.#program("packing", () => this.#packingFunction);
    const inputs = this.#model.positions === "rope" ? { position_ids: "position_ids" } : {};
    this.#builder.dispatch(
      section,
      "packing",
      name,
      { documents: "documents", ...inputs },
      this.#packedInputs(),
    );
  }

  get #packingFunction(): MilFunction {
    this.#packingMade ??= this.#model.functions.packing(this.#batchSizes);
    return this.#packingMade;
  }

  /** The buffers that `packing` writes, under the names blocks read them by. */
  #packedInputs(): Record<string, string> {
    if (!this.#batchSizes.isPacked) return {};
    const fn = this.#packingFunction;
    return Object.fromEntries(
      fn.outputs.map(({ name }) => [
        name,
        this.#buffer(`packed_${name}`, outputType(fn, name), "activation"),
      ]),
    );
  }

  /** What the embedding reads besides the tokens. */
  #embedInputs(section: string, use: Omit<WeightUse, "section">): Record<string, BindingInput> {
    const { isPacked } = this.#batchSizes;
    return {
      tokens: "tokens",
      ...(isPacked && this.#model.positions === "learned" && { position_ids: "position_ids" }),
      ...this.#weights.inputs(this.#model.parameters.embed, { section, ...use }),
    };
  }

  /** The packed tables, and the embedding where it is held here. */
  #embedForward(section: string): void {
    this.#packing(section);
    if (this.#held.embed === undefined) return;
    const program = this.#program("embed_forward", () =>
      this.#model.functions.embed(this.#batchSizes),
    );
    this.#builder.dispatch(
      section,
      "forward embed",
      program,
      this.#embedInputs(section, { use: "forward" }),
      {
        hidden: this.#hidden(0),
      },
    );
  }

  #blockFunction(variant: string | undefined, isLearning = false): MilFunction {
    const key = `${isLearning} ${variant}`;
    const known = this.#blockFunctions.get(key);
    const fn = known ?? this.#model.functions.block({ ...this.#batchSizes, variant, isLearning });
    this.#blockFunctions.set(key, fn);
    return fn;
  }

  /** The masks that a layer's function reads; the trainer fills them for every micro-batch. */
  #dropoutInputs(layer: number, fn: MilFunction): Record<string, string> {
    const masks = fn.inputs.filter(({ name }) => name.startsWith(DROPOUT_MASK));
    if (masks.length > 0 && this.#options.part !== undefined) {
      throw new TrainError(
        "train.dropout.pipeline",
        "dropout is drawn for one micro-batch at a time, and here several are under way",
        { remedy: "Leave --lora-dropout out, or train without layers split over processes." },
      );
    }
    return Object.fromEntries(
      masks.map(({ name, type }) => {
        if (type.kind !== "tensor")
          throw new TrainError("train.plan.taps", `"${name}" is no tensor`);
        return [name, this.#buffer(`${DROPOUT_BUFFER}block.${layer}:${name}`, type, "input")];
      }),
    );
  }

  #blockDerivatives(): BlockDerivatives {
    const { recompute = "none", byteBudget } = this.#options;
    this.#blocks ??= new BlockDerivatives(this.#model.parameters, {
      block: (variant) => this.#blockFunction(variant, true),
      recompute,
      byteBudget,
    });
    return this.#blocks;
  }

  /** A layer's taps and the buffers they stand in. */
  #tapBuffers(layer: number, { forward, taps }: BlockDerivative): Record<string, string> {
    return Object.fromEntries(
      taps.map((tap) => {
        const type = outputType(forward, tap);
        const name = `tap:block.${layer}:${tap}`;
        if (this.#isWhole) return [tap, this.#buffer(name, type, "tap")];
        const group = `taps ${layer} slot ${this.#slot}`;
        return [tap, this.#buffer(`${name} slot ${this.#slot}`, type, "state", group)];
      }),
    );
  }

  /** Forward, head with its gradients, backward as far down as something is trained. */
  forwardBackward(section: string, accumulates: boolean): void {
    this.#forward(section);
    this.#backward(section, accumulates);
  }

  /** Of a process in a pipeline: what it runs forward for a slot's micro-batch, and backward. */
  pipelineSections(slot: number, modes: readonly boolean[]): void {
    this.#slot = slot;
    if (!this.#isWhole) this.#forward(`forward ${slot}` satisfies PipelineSection);
    if (!this.#isLearning) return;
    for (const accumulates of modes) {
      const verb = accumulates ? "backward_accumulate" : "backward";
      const section = `${verb} ${slot}` satisfies PipelineSection;
      if (this.#isWhole) this.forwardBackward(section, accumulates);
      else {
        this.#packing(section);
        this.#backward(section, accumulates);
      }
    }
    this.#slot = 0;
  }

  /** Whether a backward pass comes down to here. */
  get #isLearning(): boolean {
    const [layer] = this.#layers.slice(-1);
    return (
      this.#isWhole || (layer !== undefined && this.#blockDerivatives().of(layer) !== undefined)
    );
  }

  /** Layers held here. */
  get #layers(): readonly number[] {
    const { part } = this.#options;
    const layers = [...this.#model.parameters.blocks.keys()];
    return part === undefined ? layers : layers.slice(part.firstBlock, part.endBlock);
  }

  #forward(section: string): void {
    this.#embedForward(section);
    for (const layer of this.#layers)
      this.#blockForward(section, "forward", layer, this.#blockDerivatives().of(layer));
  }

  #backward(section: string, accumulates: boolean): void {
    const written = new Set<string>();
    /** The first writer of a step replaces what the gradient held, later ones add to it. */
    const gradient = (weight: Weight, group: string): OutputBindingInput => {
      const name = gradientName(weight.name);
      this.#buffer(name, weight.type, "gradient", group);
      const mode = accumulates || written.has(name) ? "accumulate" : "write";
      written.add(name);
      return { buffer: name, mode };
    };
    if (this.#held.head !== undefined) this.#headGradients(section, this.#held.head, gradient);
    for (const layer of this.#layers.toReversed()) {
      const derivative = this.#blockDerivatives().of(layer);
      if (derivative === undefined) return;
      this.#blockBackward(section, layer, derivative, gradient);
    }
    const { embed } = this.#held;
    if (embed !== undefined && this.#blockDerivatives().needsInputGradient(0))
      this.#embedGradients(section, embed, gradient);
  }

  /** A layer with its taps, or without where it has no backward pass. */
  #blockForward(
    section: string,
    verb: string,
    layer: number,
    derivative: BlockDerivative | undefined,
  ): void {
    const stage = this.#block(layer);
    const { variant } = stage;
    const fn = derivative?.forward ?? this.#blockFunction(variant);
    const evaluate = variant === undefined ? "block_evaluate" : `block_evaluate_${variant}`;
    const program = this.#program(derivative?.forwardName ?? evaluate, () => fn);
    this.#builder.dispatch(
      section,
      `${verb} ${stage.group}`,
      program,
      {
        hidden: this.#hidden(layer),
        ...needed(fn, this.#packedInputs()),
        ...this.#dropoutInputs(layer, fn),
        ...this.#weights.inputs(stage, { section, use: "forward" }),
      },
      {
        hidden_out: this.#hidden(layer + 1),
        ...(derivative && this.#tapBuffers(layer, derivative)),
      },
    );
  }

  #blockBackward(
    section: string,
    layer: number,
    derivative: BlockDerivative,
    gradient: GradientBinding,
  ): void {
    const stage = this.#block(layer);
    const { backward, backwardName } = derivative;
    const available: Record<string, BindingInput> = {
      hidden: this.#hidden(layer),
      d_hidden_out: this.#hiddenGradient(layer + 1),
      ...this.#packedInputs(),
      ...this.#dropoutInputs(layer, backward),
      ...this.#weights.inputs(stage, { section, use: "backward", wanted: inputNames(backward) }),
      ...this.#tapBuffers(layer, derivative),
    };
    this.#builder.dispatch(
      section,
      `backward ${stage.group}`,
      this.#program(backwardName, () => backward),
      needed(backward, available),
      {
        ...(this.#blockDerivatives().needsInputGradient(layer) && {
          d_hidden: this.#hiddenGradient(layer),
        }),
        ...this.#gradientOutputs(trained(stage), stage.group, gradient),
      },
    );
  }

  #gradientOutputs(
    weights: readonly Weight[],
    group: string,
    gradient: GradientBinding,
  ): Record<string, OutputBindingInput> {
    return Object.fromEntries(
      weights.map((weight) => [
        `d_${weight.parameter}`,
        gradient(weight, weight.borrowed ? "embed" : group),
      ]),
    );
  }

  #block(layer: number): StageInstance {
    const stage = this.#model.parameters.blocks[layer];
    if (stage !== undefined) return stage;
    throw new TrainError("train.plan.layers", `the model has no layer ${layer}`);
  }

  /** [first row, number of rows] of the head's chunks. */
  #chunks(): readonly (readonly [number, number])[] {
    const count = Math.ceil(this.#rowCount / this.#chunkRows);
    return Array.from({ length: count }, (_, chunk) => {
      const first = chunk * this.#chunkRows;
      return [first, Math.min(this.#chunkRows, this.#rowCount - first)];
    });
  }

  #headInputs(section: string, head: StageInstance, first: number): Record<string, BindingInput> {
    const { config } = this.#model;
    return {
      hidden: { buffer: this.#hidden(config.layerCount), offset: first * config.channelCount },
      targets: { buffer: "targets", offset: first },
      ...this.#weights.inputs(head, { section, use: "head" }),
    };
  }

  #headGradients(section: string, head: StageInstance, gradient: GradientBinding): void {
    const { functions, config } = this.#model;
    const weights = trained(head);
    const isPassedOn = this.#blockDerivatives().needsInputGradient(config.layerCount);
    for (const [first, rowCount] of this.#chunks()) {
      const program = this.#program(`head_gradient_${rowCount}`, () =>
        valueAndGradient(functions.head({ rowCount, dataType: "fp32" }), {
          withRespectTo: [
            ...(isPassedOn ? ["hidden"] : []),
            ...weights.map(({ parameter }) => parameter),
          ],
          gradientOf: ["loss_sum"],
        }),
      );
      this.#builder.dispatch(
        section,
        `head rows ${first} to ${first + rowCount - 1}`,
        program,
        { ...this.#headInputs(section, head, first), d_loss_sum: this.#lossScale() },
        {
          loss_sum: { buffer: "loss_sum", mode: first === 0 ? "write" : "accumulate" },
          ...(isPassedOn && {
            d_hidden: {
              buffer: this.#hiddenGradient(config.layerCount),
              offset: first * config.channelCount,
            },
          }),
          ...this.#gradientOutputs(weights, "head", gradient),
        },
      );
    }
  }

  /** The token table through the gathered rows; other tables of the stage by differentiation. */
  #embedGradients(section: string, embed: StageInstance, gradient: GradientBinding): void {
    const [table] = embed.weights;
    if (table === undefined)
      throw new TrainError("train.plan.weights", "the embed stage has no token table");
    if (table.trainable) this.#tokenTableGradient(section, gradient(table, "embed"));
    const others = trained(embed).filter((weight) => weight !== table);
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
        d_hidden: this.#hiddenGradient(0),
        ...this.#embedInputs(section, { use: "backward", wanted: inputNames(backward) }),
      }),
      this.#gradientOutputs(others, "embed", gradient),
    );
  }

  /** The gradient of the gathered rows: that of the first hidden state, times what rows are multiplied by. */
  #embeddedGradient(section: string): string {
    const { embeddingScale } = this.#model;
    const gradient = this.#hiddenGradient(0);
    if (embeddingScale === 1) return gradient;
    const scaled = this.#buffer("d_embedded", this.#hiddenType, "activation");
    this.#builder.dispatch(
      section,
      "backward embed scale",
      this.#program("embedding_scale", () => scaledRows(this.#hiddenType, embeddingScale)),
      { gradient },
      { scaled },
    );
    return scaled;
  }

  #tokenTableGradient(section: string, target: OutputBindingInput): void {
    const { vocabularySize, channelCount } = this.#model.config;
    const program = "embedding_gradient";
    if (!this.#builder.hasProgram(program)) {
      const fn = embeddingGradient(vocabularySize, channelCount, this.#rowCount);
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
      { indices: "tokens", gradient: this.#embeddedGradient(section) },
      { table_gradient: target },
    );
  }

  update(): void {
    const { stages, copies } = this.#held;
    const { shard, adamw = DEFAULT_ADAMW, muon = DEFAULT_MUON } = this.#options;
    const { adapter } = this.#model.parameters;
    const weights = this.#weights;
    addUpdate(this.#builder, { stages, copies, shard, adamw, muon, adapter, weights });
  }

  /** Forward and loss only. */
  evaluate(): void {
    const section = "evaluate";
    this.#embedForward(section);
    for (const layer of this.#layers) this.#blockForward(section, "evaluate", layer, undefined);
    const { head } = this.#held;
    if (head === undefined) return;
    for (const [first, rowCount] of this.#chunks()) {
      const program = this.#program(`head_loss_${rowCount}`, () =>
        this.#model.functions.head({ rowCount, dataType: "fp32" }),
      );
      this.#builder.dispatch(
        section,
        `evaluate head rows ${first} to ${first + rowCount - 1}`,
        program,
        this.#headInputs(section, head, first),
        { loss_sum: { buffer: "loss_sum", mode: first === 0 ? "write" : "accumulate" } },
      );
    }
  }
}

type GradientBinding = (weight: Weight, group: string) => OutputBindingInput;
type BufferPlace = readonly [
  role: Parameters<PlanBuilder["buffer"]>[2],
  group?: string,
  rms?: number,
];

/** What a stage has gradients of, a borrowed table included. */
function trained(stage: StageInstance): readonly Weight[] {
  return stage.weights.filter(({ trainable }) => trainable);
}

function inputNames(fn: MilFunction): ReadonlySet<string> {
  return new Set(fn.inputs.map(({ name }) => name));
}

/** The bindings a function has inputs for. */
function needed(
  fn: MilFunction,
  available: Readonly<Record<string, BindingInput>>,
): Record<string, BindingInput> {
  const names = inputNames(fn);
  return Object.fromEntries(Object.entries(available).filter(([name]) => names.has(name)));
}

function outputType(fn: MilFunction, name: string): TensorType {
  const type = fn.outputs.find((output) => output.name === name)?.type;
  if (type?.kind !== "tensor")
    throw new TrainError("train.plan.taps", `"${fn.name}" has no tensor output "${name}"`);
  return type;
}
