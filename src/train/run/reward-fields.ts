import type { Rewards } from "../step/reward-sums.ts";

/** What events tell of pairs of answers. */
export function rewardFields(rewards: Rewards | undefined) {
  if (rewards === undefined) return {};
  const { chosen, rejected, accuracy } = rewards;
  return {
    chosen_reward: chosen,
    rejected_reward: rejected,
    reward_margin: chosen - rejected,
    reward_accuracy: accuracy,
  };
}
