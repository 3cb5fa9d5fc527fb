import { valueAndGradient } from "../../grad/value-and-gradient.ts";
import { tensorType } from "../../mil/types.ts";
import type { StageInstance } from "../../model/parameters.ts";
import type { BindingInput } from "../../plan/builder.ts";
import { LossScale } from "./loss-scale.ts";
import { gradientOutputs, trained } from "./step-context.ts";
import type { GradientBinding, StepContext } from "./step-context.ts";
import { chooseHeadChunkRows } from "./step-sizes.ts";

/** The head's part of a step, in chunks of rows whose logits exist at once. */
export class HeadSteps {
  readonly #step: StepContext;
  readonly chunkRows: number;

  constructor(step: StepContext) {
    this.#step = step;
    const { options, rowCount, model } = step;
    const { vocabularySize } = model.config;
    this.chunkRows = Math.min(
      rowCount,
      options.headChunkRows ?? chooseHeadChunkRows(rowCount, vocabularySize),
    );
  }

  gradients(
    section: string,
    head: StageInstance,
    gradient: GradientBinding,
    isPassedOn: boolean,
  ): void {
    const { functions, config } = this.#step.model;
    const weights = trained(head);
    for (const [first, rowCount] of this.#chunks()) {
      const program = this.#step.program(`head_gradient_${rowCount}`, () =>
        valueAndGradient(functions.head({ rowCount, dataType: "fp32" }), {
          withRespectTo: [
            ...(isPassedOn ? ["hidden"] : []),
            ...weights.map(({ parameter }) => parameter),
          ],
          gradientOf: ["loss_sum"],
        }),
      );
      this.#step.builder.dispatch(
        section,
        `head rows ${first} to ${first + rowCount - 1}`,
        program,
        { ...this.#inputs(section, head, first), d_loss_sum: this.#lossScale() },
        {
          loss_sum: { buffer: "loss_sum", mode: first === 0 ? "write" : "accumulate" },
          ...(isPassedOn && {
            d_hidden: {
              buffer: this.#step.hiddenGradient(config.layerCount),
              offset: first * config.channelCount,
            },
          }),
          ...gradientOutputs(weights, "head", gradient),
        },
      );
    }
  }

  /** The loss alone. */
  evaluate(section: string, head: StageInstance): void {
    for (const [first, rowCount] of this.#chunks()) {
      const program = this.#step.program(`head_loss_${rowCount}`, () =>
        this.#step.model.functions.head({ rowCount, dataType: "fp32" }),
      );
      this.#step.builder.dispatch(
        section,
        `evaluate head rows ${first} to ${first + rowCount - 1}`,
        program,
        this.#inputs(section, head, first),
        { loss_sum: { buffer: "loss_sum", mode: first === 0 ? "write" : "accumulate" } },
      );
    }
  }

  /** [first row, number of rows] of the head's chunks. */
  #chunks(): readonly (readonly [number, number])[] {
    const count = Math.ceil(this.#step.rowCount / this.chunkRows);
    return Array.from({ length: count }, (_, chunk) => {
      const first = chunk * this.chunkRows;
      return [first, Math.min(this.chunkRows, this.#step.rowCount - first)];
    });
  }

  #inputs(section: string, head: StageInstance, first: number): Record<string, BindingInput> {
    const { config } = this.#step.model;
    return {
      hidden: { buffer: this.#step.hidden(config.layerCount), offset: first * config.channelCount },
      targets: { buffer: "targets", offset: first },
      ...this.#step.weights.inputs(head, { section, use: "head" }),
    };
  }

  /** What the loss is multiplied with, divided by the number of tokens. */
  #lossScale(): string {
    const rms = LossScale.dynamic().scaleFor(this.#step.rowCount) / this.#step.rowCount;
    return this.#step.buffer("loss_scale", tensorType("fp32", []), "input", "", rms);
  }
}
