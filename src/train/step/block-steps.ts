import type { MilFunction } from "../../mil/program.ts";
import { DROPOUT_MASK } from "../../model/adapters/products.ts";
import type { StageInstance } from "../../model/parameters.ts";
import type { BindingInput } from "../../plan/builder.ts";
import { TrainError } from "../errors.ts";
import { BlockDerivatives } from "./block-derivatives.ts";
import type { BlockDerivative } from "./block-derivatives.ts";
import { DROPOUT_BUFFER } from "./dropout.ts";
import { gradientOutputs, inputNames, needed, outputType, trained } from "./step-context.ts";
import type { GradientBinding, StepContext } from "./step-context.ts";
import { withHalfOutputs } from "./gradient-functions.ts";

/** One run of a layer's function. */
interface ForwardRun {
  /** For people. */
  readonly verb: string;
  /** What unpacked weights live for. */
  readonly use: string;
  readonly layer: number;
  /** Of the program. */
  readonly name: string;
  readonly fn: MilFunction;
}

/** The layers' part of a step. */
export class BlockSteps {
  readonly #step: StepContext;
  #blocks: BlockDerivatives | undefined;
  readonly #functions = new Map<string, MilFunction>();

  constructor(step: StepContext) {
    this.#step = step;
  }

  get derivatives(): BlockDerivatives {
    const { recompute = "none", byteBudget, isBudgetSoft = false } = this.#step.options;
    this.#blocks ??= new BlockDerivatives(this.#step.model.parameters, {
      block: (variant) => this.#function(variant, true),
      recompute,
      byteBudget,
      isBudgetSoft,
    });
    return this.#blocks;
  }

  /** A layer with its taps, or without where it has no backward pass. */
  forward(
    section: string,
    verb: string,
    layer: number,
    derivative: BlockDerivative | undefined,
  ): void {
    const { variant } = this.#block(layer);
    const fn = derivative?.forward ?? this.#function(variant);
    const evaluate = variant === undefined ? "block_evaluate" : `block_evaluate_${variant}`;
    const name = derivative?.forwardName ?? evaluate;
    const taps = derivative && this.#tapBuffers(layer, derivative);
    this.#dispatch(section, { verb, use: "forward", layer, name, fn }, taps);
  }

  /** A layer as it is without its adapter. */
  reference(section: string, layer: number): void {
    const { variant } = this.#block(layer);
    const name = variant === undefined ? "block_reference" : `block_reference_${variant}`;
    const sizes = { ...this.#step.batchSizes, variant, withoutAdapter: true };
    const fn = this.#step.model.functions.block(sizes);
    this.#dispatch(section, { verb: "reference", use: "reference", layer, name, fn });
  }

  #dispatch(
    section: string,
    { verb, use, layer, name, fn }: ForwardRun,
    taps: Readonly<Record<string, string>> = {},
  ): void {
    const stage = this.#block(layer);
    const program = this.#step.program(name, () => fn);
    this.#step.builder.dispatch(
      section,
      `${verb} ${stage.group}`,
      program,
      {
        hidden: this.#step.hidden(layer),
        ...needed(fn, this.#step.packedInputs()),
        ...this.#dropoutInputs(layer, fn),
        ...this.#step.weights.inputs(stage, { section, use, wanted: inputNames(fn) }),
      },
      { hidden_out: this.#step.hidden(layer + 1), ...taps },
    );
  }

  backward(
    section: string,
    layer: number,
    derivative: BlockDerivative,
    gradient: GradientBinding,
  ): void {
    const stage = this.#block(layer);
    const { backward, backwardName } = derivative;
    const available: Record<string, BindingInput> = {
      hidden: this.#step.hidden(layer),
      d_hidden_out: this.#step.hiddenGradient(layer + 1),
      ...this.#step.packedInputs(),
      ...this.#dropoutInputs(layer, backward),
      ...this.#step.weights.inputs(stage, {
        section,
        use: "backward",
        wanted: inputNames(backward),
      }),
      ...this.#tapBuffers(layer, derivative),
    };
    this.#step.builder.dispatch(
      section,
      `backward ${stage.group}`,
      this.#step.program(backwardName, () => this.#withHalfGradients(stage, backward)),
      needed(backward, available),
      {
        ...(this.derivatives.needsInputGradient(layer) && {
          d_hidden: this.#step.hiddenGradient(layer),
        }),
        ...gradientOutputs(trained(stage), stage.group, gradient),
      },
    );
  }

  #withHalfGradients(stage: StageInstance, backward: MilFunction): MilFunction {
    const halves = trained(stage).filter((weight) => this.#step.hasHalfGradient(weight));
    return withHalfOutputs(
      backward,
      halves.map(({ parameter }) => `d_${parameter}`),
    );
  }

  #function(variant: string | undefined, isLearning = false): MilFunction {
    const key = `${isLearning} ${variant}`;
    const known = this.#functions.get(key);
    const fn =
      known ?? this.#step.model.functions.block({ ...this.#step.batchSizes, variant, isLearning });
    this.#functions.set(key, fn);
    return fn;
  }

  /** The masks that a layer's function reads; the trainer fills them for every micro-batch. */
  #dropoutInputs(layer: number, fn: MilFunction): Record<string, string> {
    const masks = fn.inputs.filter(({ name }) => name.startsWith(DROPOUT_MASK));
    if (masks.length > 0 && this.#step.options.part !== undefined) {
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
        return [name, this.#step.buffer(`${DROPOUT_BUFFER}block.${layer}:${name}`, type, "input")];
      }),
    );
  }

  /** A layer's taps and the buffers they stand in. */
  #tapBuffers(layer: number, { forward, taps }: BlockDerivative): Record<string, string> {
    return Object.fromEntries(
      taps.map((tap) => {
        const type = outputType(forward, tap);
        const name = `tap:block.${layer}:${tap}`;
        if (this.#step.isWhole) return [tap, this.#step.buffer(name, type, "tap")];
        const group = `taps ${layer} slot ${this.#step.slot}`;
        return [tap, this.#step.buffer(`${name} slot ${this.#step.slot}`, type, "state", group)];
      }),
    );
  }

  #block(layer: number): StageInstance {
    const stage = this.#step.model.parameters.blocks[layer];
    if (stage !== undefined) return stage;
    throw new TrainError("train.plan.layers", `the model has no layer ${layer}`);
  }
}
