import type { MilFunction } from "../../mil/program.ts";
import { staticShape, tensorType } from "../../mil/types.ts";
import type { TensorType } from "../../mil/types.ts";
import type { Model } from "../../model/model.ts";
import type { StageInstance, Weight } from "../../model/parameters.ts";
import type { WeightSpec } from "../../model/weights.ts";
import { PlanWeights } from "../../model/plan-weights.ts";
import { optimize } from "../../passes/pipeline.ts";
import { PlanBuilder } from "../../plan/builder.ts";
import type { BindingInput, OutputBindingInput } from "../../plan/builder.ts";
import { TrainError } from "../errors.ts";
import { embeddingGradient } from "./gradient-functions.ts";
import { heldStages } from "./step-part.ts";
import type { HeldStages } from "./step-part.ts";
import type { TrainingPlanOptions } from "./step-plan-options.ts";
import { gradientName } from "./update-plan.ts";

/** What a process of a pipeline gets from the one before it and gives to the one after it, by slot. */
export const hiddenName = (layer: number, slot: number): string => `hidden.${layer} slot ${slot}`;
export const hiddenGradientName = (layer: number, slot: number): string =>
  `d_hidden.${layer} slot ${slot}`;

/** Where the gradient of a weight goes; `group` names the memory it stands in. */
export type GradientBinding = (weight: Weight, group: string) => OutputBindingInput;

type BufferPlace = readonly [
  role: Parameters<PlanBuilder["buffer"]>[2],
  group?: string,
  rms?: number,
];

/** The plan of a step while it is made: buffers and programs that its stages share, each made when first needed. */
export class StepContext {
  readonly builder: PlanBuilder;
  readonly model: Model;
  readonly options: TrainingPlanOptions;
  /** Rows of a micro-batch, B * S. */
  readonly rowCount: number;
  /** fp32 [B * S, C]. */
  readonly hiddenType: TensorType;
  readonly weights: PlanWeights;
  readonly held: HeldStages;
  /** Of the section that is being made, in a pipeline. */
  slot = 0;
  #packingMade: MilFunction | undefined;

  constructor(options: TrainingPlanOptions) {
    const { model, batchSize, sequenceLength } = options;
    const { config } = model;
    this.options = options;
    this.model = model;
    this.rowCount = batchSize * sequenceLength;
    this.hiddenType = tensorType("fp32", [this.rowCount, config.channelCount]);
    this.builder = new PlanBuilder(`train ${config.family} B${batchSize} S${sequenceLength}`);
    const tokens = tensorType("int32", [batchSize, sequenceLength]);
    this.builder.buffer("tokens", tokens, "input");
    this.builder.buffer("targets", tokens, "input");
    if (options.isPacked === true) {
      this.builder.buffer("position_ids", tokens, "input");
      this.builder.buffer("documents", tokens, "input");
    }
    this.builder.buffer("loss_sum", tensorType("fp32", []), "output");
    this.held = heldStages(model.parameters, options.part);
    this.weights = PlanWeights.declare(this.builder, this.held);
  }

  /** A program made once under its name. */
  program(name: string, make: () => MilFunction): string {
    const { optimize: rewrite = optimize } = this.options;
    if (!this.builder.hasProgram(name)) this.builder.program(name, rewrite(make()));
    return name;
  }

  /** A buffer made once under its name. */
  buffer(name: string, type: TensorType, ...rest: BufferPlace): string {
    return this.builder.hasBuffer(name) ? name : this.builder.buffer(name, type, ...rest);
  }

  /** In a pipeline it lives from the forward to the backward section, or comes from another process. */
  hidden(layer: number): string {
    const { part } = this.options;
    if (part === undefined || (this.isWhole && layer > part.firstBlock))
      return this.buffer(`hidden.${layer}`, this.hiddenType, "activation");
    const name = hiddenName(layer, this.slot);
    return this.buffer(name, this.hiddenType, "state", name);
  }

  hiddenGradient(layer: number): string {
    const { part } = this.options;
    const isExchanged =
      part !== undefined &&
      ((layer === part.firstBlock && layer > 0) || (layer === part.endBlock && !this.isWhole));
    if (!isExchanged) return this.buffer(`d_hidden.${layer}`, this.hiddenType, "activation");
    const name = hiddenGradientName(layer, this.slot);
    return this.buffer(name, this.hiddenType, "state", name);
  }

  /** Whether forward and backward of a micro-batch are one section: everywhere but in a pipeline before its last process. */
  get isWhole(): boolean {
    return this.held.head !== undefined;
  }

  get batchSizes() {
    const { batchSize, sequenceLength, isPacked = false, attentionBlockRows } = this.options;
    const sizes = { batchSize, sequenceLength, isPacked, attentionBlockRows };
    return { ...sizes, dataType: "fp32" } as const;
  }

  /** Mask and rotary tables of a packed batch, for every block of the section. */
  packing(section: string): void {
    if (this.options.isPacked !== true) return;
    const name = this.program("packing", () => this.#packingFunction);
    const inputs = this.model.positions === "rope" ? { position_ids: "position_ids" } : {};
    this.builder.dispatch(
      section,
      "packing",
      name,
      { documents: "documents", ...inputs },
      this.packedInputs(),
    );
  }

  /** The buffers that `packing` writes, under the names blocks read them by. */
  packedInputs(): Record<string, string> {
    if (!this.batchSizes.isPacked) return {};
    const fn = this.#packingFunction;
    return Object.fromEntries(
      fn.outputs.map(({ name }) => [
        name,
        this.buffer(`packed_${name}`, outputType(fn, name), "activation"),
      ]),
    );
  }

  /** Gradients of a section. The first writer of a step replaces what the gradient held, later ones add to it. */
  gradients(accumulates: boolean): GradientBinding {
    const written = new Set<string>();
    return (weight, group) => {
      const name = gradientName(weight.name);
      this.buffer(name, this.gradientType(weight), "gradient", group);
      const mode = accumulates || written.has(name) ? "accumulate" : "write";
      written.add(name);
      return { buffer: name, mode };
    };
  }

  /** Whether a weight's gradient stands as fp16: one dispatch writes all of it, and AdamW alone reads it. */
  hasHalfGradient(weight: WeightSpec): boolean {
    const { halfGradients = false, accumulation = true, part, shard } = this.options;
    if (!halfGradients || accumulation || part !== undefined || shard !== undefined) return false;
    return this.model.parameters.blocks.some(({ weights }) =>
      weights.some(({ name, updateRule }) => name === weight.name && updateRule === undefined),
    );
  }

  /** The type of a weight's gradient. */
  gradientType(weight: WeightSpec): TensorType {
    const { type } = weight;
    return this.hasHalfGradient(weight) ? tensorType("fp16", staticShape(type)) : type;
  }

  /** Adds rows [B * S, C] where a table's rows were looked up. */
  addRowsProgram(): string {
    const name = "embedding_gradient";
    if (!this.builder.hasProgram(name)) {
      const { vocabularySize, channelCount } = this.model.config;
      const fn = embeddingGradient(vocabularySize, channelCount, this.rowCount);
      const ports = { indices: "indices", gradient: "gradient" };
      this.builder.program(name, fn, { kind: "embedding_gradient", ...ports });
    }
    return name;
  }

  get #packingFunction(): MilFunction {
    this.#packingMade ??= this.model.functions.packing(this.batchSizes);
    return this.#packingMade;
  }
}

export function gradientOutputs(
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

/** What a stage has gradients of, a borrowed table included. */
export function trained(stage: StageInstance): readonly Weight[] {
  return stage.weights.filter(({ trainable }) => trainable);
}

export function inputNames(fn: MilFunction): ReadonlySet<string> {
  return new Set(fn.inputs.map(({ name }) => name));
}

/** The bindings a function has inputs for. */
export function needed(
  fn: MilFunction,
  available: Readonly<Record<string, BindingInput>>,
): Record<string, BindingInput> {
  const names = inputNames(fn);
  return Object.fromEntries(Object.entries(available).filter(([name]) => names.has(name)));
}

export function outputType(fn: MilFunction, name: string): TensorType {
  const type = fn.outputs.find((output) => output.name === name)?.type;
  if (type?.kind !== "tensor")
    throw new TrainError("train.plan.taps", `"${fn.name}" has no tensor output "${name}"`);
  return type;
}
