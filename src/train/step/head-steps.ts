import { valueAndGradient } from "../../grad/value-and-gradient.ts";
import type { MilFunction } from "../../mil/program.ts";
import { tensorType } from "../../mil/types.ts";
import type { StageInstance } from "../../model/parameters.ts";
import type { BindingInput } from "../../plan/builder.ts";
import { TrainError } from "../errors.ts";
import { LossScale } from "./loss-scale.ts";
import type { PreferencePlan } from "./preference-plan.ts";
import { gradientOutputs, trained } from "./step-context.ts";
import type { GradientBinding, StepContext } from "./step-context.ts";
import { chooseHeadChunkRows } from "./step-sizes.ts";
import { headByTargetRows, TARGET_ROWS, targetRows } from "./target-rows.ts";
import type { HeadByRows } from "./target-rows.ts";

/** Buffers of a micro-batch: the rows of the targets' gradients, and which rows they are. */
const ROW_GRADIENTS = `d_${TARGET_ROWS}`;
const INDICES = "target_indices";

/** The head's part of a step, in chunks of rows whose logits exist at once. */
export class HeadSteps {
  readonly #step: StepContext;
  readonly chunkRows: number;
  /** The parameter whose rows the host looks up for the targets, where the plan wants that and the head allows it. */
  readonly #matrix: string | undefined;

  constructor(step: StepContext) {
    this.#step = step;
    const { options, rowCount, model } = step;
    const { vocabularySize } = model.config;
    this.chunkRows = Math.min(
      rowCount,
      options.headChunkRows ?? chooseHeadChunkRows(rowCount, vocabularySize),
    );
    const isWanted = options.targetRows === true && options.preference === undefined;
    this.#matrix = isWanted ? this.#byRows(1)?.matrix : undefined;
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

  /** The rows that stand for a micro-batch's targets: they depend on nothing that is computed, so they come first. */
  lookUpTargets(section: string, head: StageInstance): void {
    const parameter = this.#matrix;
    if (parameter === undefined) return;
    const { builder, model, rowCount, hiddenType, weights } = this.#step;
    const { vocabularySize, channelCount } = model.config;
    const program = this.#step.program("target_rows", () =>
      targetRows(vocabularySize, channelCount, rowCount),
    );
    const table = weights.inputs(head, { section, use: "head" })[parameter];
    if (table === undefined)
      throw new TrainError("train.plan.weights", `the head has no "${parameter}"`);
    builder.dispatch(
      section,
      "target rows",
      program,
      { table, targets: "targets" },
      {
        target_rows: this.#step.buffer(TARGET_ROWS, hiddenType, "activation"),
        indices: this.#step.buffer(INDICES, tensorType("int32", [rowCount]), "activation"),
      },
    );
  }

  /** What the targets' rows learn beside all rows of their matrix: added where they were looked up. */
  rowGradients(section: string, head: StageInstance, gradient: GradientBinding): void {
    const matrix = trained(head).find(({ parameter }) => parameter === this.#matrix);
    if (matrix === undefined) return;
    this.#step.builder.dispatch(
      section,
      "backward target rows",
      this.#step.addRowsProgram(),
      { indices: INDICES, gradient: ROW_GRADIENTS },
      { table_gradient: gradient(matrix, matrix.borrowed ? "embed" : "head") },
    );
  }

  /** With `pairs`, of their loss, which is known once each row's own is. */
  gradients(
    section: string,
    head: StageInstance,
    gradient: GradientBinding,
    isPassedOn: boolean,
    pairs?: PreferencePlan,
  ): void {
    const { config } = this.#step.model;
    const weights = trained(head);
    const learnsRows = this.#learnsRows(head);
    const isPerRow = pairs !== undefined;
    if (pairs !== undefined) {
      this.rowLosses(section, head, pairs, "judge");
      pairs.judge(section, this.#lossScale());
    }
    for (const [first, rowCount] of this.#chunks()) {
      const program = this.#step.program(`head_gradient_${rowCount}`, () =>
        valueAndGradient(this.#function(rowCount, isPerRow), {
          withRespectTo: [
            ...(isPassedOn ? ["hidden"] : []),
            ...(learnsRows ? [TARGET_ROWS] : []),
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
          ...(learnsRows && {
            [`d_${TARGET_ROWS}`]: {
              buffer: this.#step.buffer(ROW_GRADIENTS, this.#step.hiddenType, "activation"),
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
      const program = this.#step.program(`head_loss_${rowCount}`, () => this.#function(rowCount));
      this.#step.builder.dispatch(
        section,
        `evaluate head rows ${first} to ${first + rowCount - 1}`,
        program,
        this.#inputs(section, head, first),
        { loss_sum: { buffer: "loss_sum", mode: first === 0 ? "write" : "accumulate" } },
      );
    }
  }

  #learnsRows(head: StageInstance): boolean {
    return trained(head).some(({ parameter }) => parameter === this.#matrix);
  }

  #function(rowCount: number, isPerRow = false): MilFunction {
    const byRows = this.#matrix === undefined ? undefined : this.#byRows(rowCount)?.function;
    return byRows ?? this.#step.model.functions.head({ rowCount, dataType: "fp32", isPerRow });
  }

  #byRows(rowCount: number): HeadByRows | undefined {
    return headByTargetRows(this.#step.model.functions.head({ rowCount, dataType: "fp32" }));
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
      ...(this.#matrix !== undefined && {
        [TARGET_ROWS]: { buffer: TARGET_ROWS, offset: first * config.channelCount },
      }),
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
