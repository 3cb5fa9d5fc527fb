import { valueAndGradient } from "../../grad/value-and-gradient.ts";
import { tensorType } from "../../mil/types.ts";
import type { StageInstance } from "../../model/parameters.ts";
import type { BindingInput } from "../../plan/builder.ts";
import { LossScale } from "./loss-scale.ts";
import type { PreferencePlan } from "./preference-plan.ts";
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

  /** Each row's own loss, into where the plan of pairs reads it. */
  rowLosses(
    section: string,
    head: StageInstance,
    pairs: PreferencePlan,
    verb: "reference" | "judge",
  ): void {
    for (const [first, rowCount] of this.#chunks()) {
      const program = this.#step.program(`head_losses_${rowCount}`, () =>
        this.#step.model.functions.head({ rowCount, dataType: "fp32", isPerRow: true }),
      );
      this.#step.builder.dispatch(
        section,
        `${verb} head rows ${first} to ${first + rowCount - 1}`,
        program,
        this.#inputs(section, head, first, verb === "reference" ? "reference" : "head"),
        { losses: pairs.tokenLosses(first) },
      );
    }
  }

  /** With `pairs`, of their loss, which is known once each row's own is. */
  gradients(
    section: string,
    head: StageInstance,
    gradient: GradientBinding,
    isPassedOn: boolean,
    pairs?: PreferencePlan,
  ): void {
    const { functions, config } = this.#step.model;
    const weights = trained(head);
    const isPerRow = pairs !== undefined;
    if (pairs !== undefined) {
      this.rowLosses(section, head, pairs, "judge");
      pairs.judge(section, this.#lossScale());
    }
    for (const [first, rowCount] of this.#chunks()) {
      const program = this.#step.program(`head_gradient_${rowCount}`, () =>
        valueAndGradient(functions.head({ rowCount, dataType: "fp32", isPerRow }), {
          withRespectTo: [
            ...(isPassedOn ? ["hidden"] : []),
            ...weights.map(({ parameter }) => parameter),
          ],
          gradientOf: [isPerRow ? "losses" : "loss_sum"],
        }),
      );
      this.#step.builder.dispatch(
        section,
        `head rows ${first} to ${first + rowCount - 1}`,
        program,
        {
          ...this.#inputs(section, head, first),
          ...(pairs === undefined
            ? { d_loss_sum: this.#lossScale() }
            : { d_losses: pairs.tokenGradients(first) }),
        },
        {
          ...(pairs === undefined
            ? { loss_sum: { buffer: "loss_sum", mode: first === 0 ? "write" : "accumulate" } }
            : { losses: pairs.tokenLosses(first) }),
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
  evaluate(section: string, head: StageInstance, pairs?: PreferencePlan): void {
    if (pairs !== undefined) {
      this.rowLosses(section, head, pairs, "judge");
      pairs.judge(section);
      return;
    }
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

  #inputs(
    section: string,
    head: StageInstance,
    first: number,
    use = "head",
  ): Record<string, BindingInput> {
    const { config } = this.#step.model;
    return {
      hidden: { buffer: this.#step.hidden(config.layerCount), offset: first * config.channelCount },
      targets: { buffer: "targets", offset: first },
      ...this.#step.weights.inputs(head, { section, use }),
    };
  }

  /** What the loss is multiplied with, divided by the number of tokens, or of pairs. */
  #lossScale(): string {
    const { options, rowCount } = this.#step;
    const count = options.preference === undefined ? rowCount : options.batchSize / 2;
    const rms = LossScale.dynamic().scaleFor(count) / count;
    return this.#step.buffer("loss_scale", tensorType("fp32", []), "input", "", rms);
  }
}
