import type { TrainerState } from "../../runs/state.ts";

type BestState = NonNullable<TrainerState["best"]>;

/** Which step of a run is the best by the loss on the data it is judged on, and how long ago that was. */
export class BestSoFar {
  #state: BestState | undefined;
  /** Before the first step. */
  #initialLoss: number | undefined;

  adopt(state: BestState | undefined): void {
    this.#state = state;
    this.#initialLoss = state?.initialLoss;
  }

  /** What a checkpoint keeps of it. */
  get state(): BestState | undefined {
    return this.#state;
  }

  get step(): number | undefined {
    return this.#state?.step;
  }

  /** Takes an evaluation in and says whether it is the best; one before the first step is held against them all. */
  count(step: number, evalLoss: number): boolean {
    if (step === 0) {
      this.#initialLoss = evalLoss;
      return false;
    }
    const isBest = this.#state === undefined || evalLoss < this.#state.evalLoss;
    const evaluationsSince = isBest ? 0 : (this.#state?.evaluationsSince ?? 0) + 1;
    const { step: bestStep, evalLoss: bestLoss } =
      isBest || this.#state === undefined ? { step, evalLoss } : this.#state;
    this.#state = {
      ...{ step: bestStep, evalLoss: bestLoss, evaluationsSince },
      ...(this.#initialLoss !== undefined && { initialLoss: this.#initialLoss }),
    };
    return isBest;
  }

  /** Whether so many evaluations in a row were no better. */
  isOver(patience: number | undefined): boolean {
    return patience !== undefined && (this.#state?.evaluationsSince ?? 0) >= patience;
  }

  /** Whether all that was learned made nothing better. */
  get isWorseThanBefore(): boolean {
    const { evalLoss } = this.#state ?? {};
    return (
      evalLoss !== undefined && this.#initialLoss !== undefined && evalLoss >= this.#initialLoss
    );
  }
}
