import { tensorType } from "../../mil/types.ts";
import type { BindingInput, OutputBindingInput, PlanBuilder } from "../../plan/builder.ts";
import { LossScale } from "./loss-scale.ts";
import { answerLosses, PREFERENCE_KERNEL, preferenceLoss } from "./preference.ts";
import type { PairSizes, PreferenceSettings } from "./preference.ts";

/** What a trainer reads of a step on pairs: fp32 [P] each. */
export const CHOSEN_REWARDS = "chosen_rewards";
export const REJECTED_REWARDS = "rejected_rewards";
/** fp32 [P]: 1 for a pair that is there, 0 for one that fills the batch up. */
export const PAIR_WEIGHTS = "pair_weights";

/** The part of a step's plan that knows of pairs: each token's loss, the reference's sums, the loss of preferences. */
export class PreferencePlan {
  readonly #builder: PlanBuilder;
  readonly #settings: PreferenceSettings;
  readonly #sizes: PairSizes;

  constructor(builder: PlanBuilder, settings: PreferenceSettings, sizes: PairSizes) {
    this.#builder = builder;
    this.#settings = settings;
    this.#sizes = sizes;
    const ofPairs = tensorType("fp32", [sizes.pairCount]);
    builder.buffer(PAIR_WEIGHTS, ofPairs, "input");
    builder.buffer(CHOSEN_REWARDS, ofPairs, "output");
    builder.buffer(REJECTED_REWARDS, ofPairs, "output");
    const ofRows = tensorType("fp32", [2 * sizes.pairCount]);
    builder.buffer("reference_losses", ofRows, "state");
  }

  /** Where the losses of a chunk of rows go; `first`: its first row. */
  tokenLosses(first: number): OutputBindingInput & BindingInput {
    return { buffer: this.#perToken("token_losses"), offset: first };
  }

  /** The gradients of those losses, as `judge` gives them. */
  tokenGradients(first: number): BindingInput {
    return { buffer: this.#gradients(), offset: first };
  }

  /** Keeps the sums over answers of the token losses that were computed without the adapter. */
  keepReference(section: string): void {
    const name = "answer_losses";
    if (!this.#builder.hasProgram(name))
      this.#builder.program(name, answerLosses(this.#sizes), PREFERENCE_KERNEL);
    this.#builder.dispatch(
      section,
      "reference sums",
      name,
      { token_losses: this.tokenLosses(0) },
      { answer_losses: "reference_losses" },
    );
  }

  /** The loss over pairs and their rewards; with `lossScale`, the gradients of the token losses. */
  judge(section: string, lossScale?: string): void {
    const name = lossScale === undefined ? "preference_loss" : "preference_gradient";
    if (!this.#builder.hasProgram(name)) {
      const fn = preferenceLoss(this.#settings, this.#sizes, lossScale !== undefined);
      this.#builder.program(name, fn, PREFERENCE_KERNEL);
    }
    this.#builder.dispatch(
      section,
      lossScale === undefined ? "judge pairs" : "learn from pairs",
      name,
      {
        token_losses: this.tokenLosses(0),
        reference_losses: "reference_losses",
        pair_weights: PAIR_WEIGHTS,
        ...(lossScale !== undefined && { loss_scale: lossScale }),
      },
      {
        loss_sum: "loss_sum",
        chosen_rewards: CHOSEN_REWARDS,
        rejected_rewards: REJECTED_REWARDS,
        ...(lossScale !== undefined && { d_token_losses: this.#gradients() }),
      },
    );
  }

  /** Where nothing is learned yet, a pair's gradient is half of beta. */
  #gradients(): string {
    const { pairCount } = this.#sizes;
    const scale = LossScale.dynamic().scaleFor(pairCount) / pairCount;
    return this.#perToken("d_token_losses", (scale * this.#settings.beta) / 2);
  }

  #perToken(name: string, rms?: number): string {
    if (this.#builder.hasBuffer(name)) return name;
    const { pairCount, sequenceLength } = this.#sizes;
    const type = tensorType("fp32", [2 * pairCount * sequenceLength]);
    return this.#builder.buffer(name, type, "activation", undefined, rms);
  }
}
