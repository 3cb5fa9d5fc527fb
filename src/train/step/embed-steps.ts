import { differentiate } from "../../grad/differentiate.ts";
import type { StageInstance } from "../../model/parameters.ts";
import type { WeightUse } from "../../model/plan-weights.ts";
import type { BindingInput, OutputBindingInput } from "../../plan/builder.ts";
import { TrainError } from "../errors.ts";
import { scaledRows } from "./gradient-functions.ts";
import { gradientOutputs, inputNames, needed, trained } from "./step-context.ts";
import type { GradientBinding, StepContext } from "./step-context.ts";

/** The embedding's part of a step. */
export class EmbedSteps {
  readonly #step: StepContext;

  constructor(step: StepContext) {
    this.#step = step;
  }

  /** What the embedding reads besides the tokens. */
  #embedInputs(section: string, use: Omit<WeightUse, "section">): Record<string, BindingInput> {
    const { isPacked } = this.#step.batchSizes;
    return {
      tokens: "tokens",
      ...(isPacked && this.#step.model.positions === "learned" && { position_ids: "position_ids" }),
      ...this.#step.weights.inputs(this.#step.model.parameters.embed, { section, ...use }),
    };
  }

  /** The packed tables, and the embedding where it is held here. */
  forward(section: string): void {
    this.#step.packing(section);
    if (this.#step.held.embed === undefined) return;
    const program = this.#step.program("embed_forward", () =>
      this.#step.model.functions.embed(this.#step.batchSizes),
    );
    this.#step.builder.dispatch(
      section,
      "forward embed",
      program,
      this.#embedInputs(section, { use: "forward" }),
      {
        hidden: this.#step.hidden(0),
      },
    );
  }

  /** The token table through the gathered rows; other tables of the stage by differentiation. */
  gradients(section: string, embed: StageInstance, gradient: GradientBinding): void {
    const [table] = embed.weights;
    if (table === undefined)
      throw new TrainError("train.plan.weights", "the embed stage has no token table");
    if (table.trainable) this.#tokenTableGradient(section, gradient(table, "embed"));
    const others = trained(embed).filter((weight) => weight !== table);
    if (others.length === 0) return;
    const backward = differentiate(this.#step.model.functions.embed(this.#step.batchSizes), {
      withRespectTo: others.map(({ parameter }) => parameter),
      recompute: "full",
    }).backward;
    this.#step.builder.dispatch(
      section,
      "backward embed positions",
      this.#step.program("embed_backward", () => backward),
      needed(backward, {
        d_hidden: this.#step.hiddenGradient(0),
        ...this.#embedInputs(section, { use: "backward", wanted: inputNames(backward) }),
      }),
      gradientOutputs(others, "embed", gradient),
    );
  }

  /** The gradient of the gathered rows: that of the first hidden state, times what rows are multiplied by. */
  #embeddedGradient(section: string): string {
    const { embeddingScale } = this.#step.model;
    const gradient = this.#step.hiddenGradient(0);
    if (embeddingScale === 1) return gradient;
    const scaled = this.#step.buffer("d_embedded", this.#step.hiddenType, "activation");
    this.#step.builder.dispatch(
      section,
      "backward embed scale",
      this.#step.program("embedding_scale", () =>
        scaledRows(this.#step.hiddenType, embeddingScale),
      ),
      { gradient },
      { scaled },
    );
    return scaled;
  }

  #tokenTableGradient(section: string, target: OutputBindingInput): void {
    this.#step.builder.dispatch(
      section,
      "backward embed tokens",
      this.#step.addRowsProgram(),
      { indices: "tokens", gradient: this.#embeddedGradient(section) },
      { table_gradient: target },
    );
  }
}
