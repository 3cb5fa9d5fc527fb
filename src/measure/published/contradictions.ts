import { quantile } from "./accuracy.ts";
import { callKey } from "./repeats.ts";
import { describeRow, rowCase } from "./row-case.ts";
import type { MeasuredRow } from "./measured-row.ts";
import { grouped } from "../../util/grouped.ts";

/** Rows that measured one and the same call and disagree. */
export interface Contradiction {
  readonly chip: string;
  readonly what: string;
  /** What each row took, ms, ascending. */
  readonly ms: readonly number[];
  /** The largest relative error that any one prediction has at least on one of them. */
  readonly leastError: number;
}

/** Groups of rows that are alike in all that a model can see. */
export function contradictions(rows: readonly MeasuredRow[]): readonly Contradiction[] {
  return [...grouped(rows, callKey).values()].flatMap((group) => {
    const [first] = group;
    const ms = group.map((row) => row.ms).sort((a, b) => a - b);
    const [low = 0, high = 0] = [ms[0], ms.at(-1)];
    if (first === undefined || low === high) return [];
    const chip = rowCase(first).chip.name;
    return [{ chip, what: describeRow(first), ms, leastError: (high - low) / (high + low) }];
  });
}

/** How finely predictions between a group's smallest and largest time are tried. */
const STEPS = 60;
/** Groups that are tried together; the others count as met exactly, so that the result stays a bound. */
const MOST_GROUPS = 3;

/**
 * A quantile of relative errors below which no model of the rows' fields comes, whatever it predicts: rows that stand
 * alone count as met exactly, and of groups that disagree every prediction is tried.
 */
export function leastQuantile(
  rows: readonly MeasuredRow[],
  fraction: number,
  groups: readonly Contradiction[] = contradictions(rows),
): number {
  const worst = [...groups].sort((a, b) => b.leastError - a.leastError).slice(0, MOST_GROUPS);
  const alone = rows.length - worst.reduce((count, { ms }) => count + ms.length, 0);
  let least = Infinity;
  const tryGroups = (index: number, errors: readonly number[]): void => {
    const group = worst[index];
    if (group === undefined) {
      least = Math.min(least, quantile([...errors, ...Array<number>(alone).fill(0)], fraction));
      return;
    }
    const [low = 0, high = 0] = [group.ms[0], group.ms.at(-1)];
    for (let step = 0; step <= STEPS; step++) {
      const predicted = low + ((high - low) * step) / STEPS;
      tryGroups(index + 1, [...errors, ...group.ms.map((ms) => Math.abs(predicted / ms - 1))]);
    }
  };
  tryGroups(0, []);
  return least;
}
