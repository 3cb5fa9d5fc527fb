import { halves } from "../engine/collective.ts";

/** Whole numbers that sum to `count`, near to the weights, each at least 1. */
export function proportionalShares(count: number, weights: readonly number[]): readonly number[] {
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const spare = count - weights.length;
  // Of equal claims the earlier ones are served first.
  const exact = weights.map((weight) => Math.max(0, (weight / sum) * count - 1));
  const exactSum = exact.reduce((total, value) => total + value, 0);
  const scaled = exact.map((value) => (exactSum === 0 ? 0 : (value / exactSum) * spare));
  const shares = scaled.map((value) => 1 + Math.floor(value));
  const order = scaled
    .map((value, index) => ({ index, rest: value - Math.floor(value) }))
    .sort((a, b) => b.rest - a.rest || a.index - b.index);
  let left = count - shares.reduce((total, value) => total + value, 0);
  for (let turn = 0; left > 0; turn++, left--) {
    const { index } = order[turn % order.length] ?? { index: 0 };
    shares[index] = (shares[index] ?? 0) + 1;
  }
  return shares;
}

/**
 * Whole numbers that sum to `count`, each at least 1, so that whoever takes longest takes as short as can be. `eachMs`:
 * what one takes, by member.
 */
export function fastestShares(count: number, eachMs: readonly number[]): readonly number[] {
  const [first = 0] = eachMs;
  if (eachMs.every((ms) => ms === first))
    return proportionalShares(
      Math.max(count, eachMs.length),
      eachMs.map(() => 1),
    );
  const shares = eachMs.map(() => 1);
  for (let left = count - shares.length; left > 0; left--) {
    let best = 0;
    const endOf = (member: number): number => ((shares[member] ?? 0) + 1) * (eachMs[member] ?? 0);
    for (let member = 1; member < shares.length; member++)
      if (endOf(member) < endOf(best)) best = member;
    shares[best] = (shares[best] ?? 0) + 1;
  }
  return shares;
}

/**
 * Whole numbers that sum to `count`, so that members who each add theirs in a tree, and then each other's in a tree,
 * add all in the very tree in which one would (`halves`). Of at least as many as there are members.
 */
export function treeShares(count: number, memberCount: number): readonly number[] {
  if (memberCount === 1) return [count];
  const [leftCount, rightCount] = halves(count);
  const [leftMembers, rightMembers] = halves(memberCount);
  return [...treeShares(leftCount, leftMembers), ...treeShares(rightCount, rightMembers)];
}
