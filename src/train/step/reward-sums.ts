import type { LoadedPlan } from "../../engine/engine.ts";
import type { Batch } from "../../text/index.ts";
import { CHOSEN_REWARDS, REJECTED_REWARDS } from "./preference-plan.ts";

/** Means over pairs of answers: beta times log-probabilities against the reference's. */
export interface Rewards {
  readonly chosen: number;
  readonly rejected: number;
  /** Share of pairs of which the better answer has the larger reward. */
  readonly accuracy: number;
}

/** Plain data, so that a checkpoint can keep it. */
export interface RewardTotals {
  readonly chosen: number;
  readonly rejected: number;
  readonly correct: number;
  readonly count: number;
}

/** Adds up the rewards of pairs, batch by batch. */
export class RewardSums {
  #totals: RewardTotals = { chosen: 0, rejected: 0, correct: 0, count: 0 };

  /** What the plan says of a batch that it has just judged; nothing where its rows are no pairs. */
  add(loaded: LoadedPlan, batch: Batch | undefined): void {
    if (batch?.pairs === undefined) return;
    const chosen = loaded.view(CHOSEN_REWARDS);
    const rejected = loaded.view(REJECTED_REWARDS);
    for (const [pair, isThere] of batch.pairs.isThere.entries()) {
      if (!isThere) continue;
      const [better = 0, worse = 0] = [chosen[pair], rejected[pair]];
      const correct = better > worse ? 1 : 0;
      this.addTotals({ chosen: better, rejected: worse, correct, count: 1 });
    }
  }

  addTotals({ chosen, rejected, correct, count }: RewardTotals): void {
    const before = this.#totals;
    this.#totals = {
      chosen: before.chosen + chosen,
      rejected: before.rejected + rejected,
      correct: before.correct + correct,
      count: before.count + count,
    };
  }

  get totals(): RewardTotals {
    return this.#totals;
  }

  /** Absent where nothing was added. */
  get means(): Rewards | undefined {
    const { chosen, rejected, correct, count } = this.#totals;
    if (count === 0) return undefined;
    return { chosen: chosen / count, rejected: rejected / count, accuracy: correct / count };
  }
}
