import { differentiate } from "../../grad/differentiate.ts";
import type { Derivative } from "../../grad/differentiate.ts";
import { GradError } from "../../grad/errors.ts";
import type { MilFunction } from "../../mil/program.ts";
import type { Parameters } from "../../model/parameters.ts";
import { TrainError } from "../errors.ts";

/** What of the forward pass is kept for the backward one. */
export type Recompute = "none" | "auto" | "full";

/** A block's two halves, shared by all layers of a variant that differentiate by the same inputs. */
export interface BlockDerivative extends Derivative {
  /** Keys in the plan's programs. */
  readonly forwardName: string;
  readonly backwardName: string;
}

interface Settings {
  /** The function of a variant of the model's blocks. */
  readonly block: (variant: string | undefined) => MilFunction;
  readonly recompute: Recompute;
  /** For all layers together. */
  readonly byteBudget: number | undefined;
  /** The smallest number there is where the budget is not enough. Default: that is an error. */
  readonly isBudgetSoft?: boolean;
}

/**
 * Derivatives of a model's blocks. A layer that is not trained, and below which nothing is, has none: it keeps nothing
 * and has no backward pass.
 */
export class BlockDerivatives {
  readonly #settings: Settings;
  readonly #parameters: Parameters;
  /** Number of the lowest stage with a trained weight. */
  readonly #lowest: number;
  readonly #byInputs = new Map<string, BlockDerivative>();

  /** Throws `TrainError` for a model of which nothing is trained. */
  constructor(parameters: Parameters, settings: Settings) {
    this.#parameters = parameters;
    this.#settings = settings;
    this.#lowest = parameters.stages.findIndex((stage) =>
      stage.weights.some(({ trainable }) => trainable),
    );
    if (this.#lowest < 0) {
      throw new TrainError("train.plan.frozen", "every weight of the model is frozen", {
        remedy: "Leave some of them to be trained.",
      });
    }
  }

  /** Whether something is trained that a layer's input depends on. The head counts as the layer after the last. */
  needsInputGradient(layer: number): boolean {
    return this.#lowest < layer + 1;
  }

  /** The derivative of the lowest layer that has one: what `plan` prints. */
  get shown(): Derivative | undefined {
    for (const layer of this.#parameters.blocks.keys()) {
      const derivative = this.of(layer);
      if (derivative !== undefined) return derivative;
    }
    return undefined;
  }

  /** Throws `TrainError` where the taps do not fit the budget, `GradError` for an op without a derivative. */
  of(layer: number): BlockDerivative | undefined {
    const withRespectTo = this.#inputsOf(layer);
    if (withRespectTo.length === 0) return undefined;
    const variant = this.#parameters.blocks[layer]?.variant;
    const key = [variant ?? "", ...withRespectTo].join(" ");
    const known = this.#byInputs.get(key);
    if (known !== undefined) return known;
    const suffix = this.#byInputs.size === 0 ? "" : `_${this.#byInputs.size + 1}`;
    const made: BlockDerivative = {
      ...this.#differentiate(variant, withRespectTo),
      forwardName: `block_forward${suffix}`,
      backwardName: `block_backward${suffix}`,
    };
    this.#byInputs.set(key, made);
    return made;
  }

  /** What a layer differentiates by: its own input first, where that is needed, then its trained weights. */
  #inputsOf(layer: number): readonly string[] {
    const { weights = [] } = this.#parameters.blocks[layer] ?? {};
    return [
      ...(this.needsInputGradient(layer) ? ["hidden"] : []),
      ...weights.flatMap(({ trainable, parameter }) => (trainable ? [parameter] : [])),
    ];
  }

  #differentiate(variant: string | undefined, withRespectTo: readonly string[]): Derivative {
    const { recompute, byteBudget, block } = this.#settings;
    const fn = block(variant);
    const request = { withRespectTo, heldInputs: ["hidden"], recompute };
    if (byteBudget === undefined) return differentiate(fn, request);
    const layerCount = [...this.#parameters.blocks.keys()].filter(
      (layer) => this.#inputsOf(layer).length > 0,
    ).length;
    try {
      return differentiate(fn, {
        ...request,
        byteBudget: Math.floor(byteBudget / layerCount),
      });
    } catch (error) {
      if (!(error instanceof GradError) || error.code !== "grad.budget") throw error;
      const { smallestBytes } = differentiate(fn, request);
      if (this.#settings.isBudgetSoft === true)
        return differentiate(fn, { ...request, byteBudget: smallestBytes });
      const smallest = smallestBytes * layerCount;
      throw new TrainError(
        "train.plan.budget",
        `${byteBudget} bytes are not enough for what the backward pass of ${layerCount} layers reads with recompute "${recompute}"; the smallest possible number is ${smallest}`,
        {
          remedy:
            recompute === "auto"
              ? `Allow ${smallest} bytes or more, or lower the batch size.`
              : 'Use recompute "auto", which stays within the bytes allowed.',
          cause: error,
        },
      );
    }
  }
}
