import { ClusterError } from "./errors.ts";

/** What the stages of a model cost, in any one unit. */
export interface StageCosts {
  readonly embed: number;
  /** By layer. */
  readonly blocks: readonly number[];
  readonly head: number;
}

/** The best way to divide the first so many blocks over the first so many processes. */
interface Division {
  /** Time of the dearest process. */
  readonly worst: number;
  readonly squares: number;
  /** Of the last process. */
  readonly first: number;
  readonly before: Division | undefined;
}

/**
 * Divides blocks into runs, one a process, so that the process that takes longest takes as short as can be; of equal
 * ones the runs that are most alike. `speeds`: how much each process does beside the others; default: as much as they.
 * Returns the first block of each run. Throws `ClusterError` `cluster.pipeline` where there are fewer blocks than
 * processes.
 */
export function balanceBlocks(
  { embed, blocks, head }: StageCosts,
  stageCount: number,
  speeds: readonly number[] = [],
): readonly number[] {
  const blockCount = blocks.length;
  if (stageCount > blockCount) {
    throw new ClusterError(
      "cluster.pipeline",
      `${stageCount} processes are to hold ${blockCount} blocks, each at least one`,
      { remedy: `Give --pipeline-stages ${blockCount} or less.` },
    );
  }
  const before = [0];
  for (const cost of blocks) before.push((before.at(-1) ?? 0) + cost);
  const timeOf = (stage: number, first: number, end: number): number =>
    ((before[end] ?? 0) -
      (before[first] ?? 0) +
      (first === 0 ? embed : 0) +
      (end === blockCount ? head : 0)) /
    (speeds[stage] ?? 1);
  /** By end: of the first `end` blocks. */
  let best: (Division | undefined)[] = Array.from({ length: blockCount + 1 }, (_, end) =>
    end === 0 ? { worst: 0, squares: 0, first: 0, before: undefined } : undefined,
  );
  for (let stage = 0; stage < stageCount; stage++) {
    const next: (Division | undefined)[] = Array.from({ length: blockCount + 1 }, () => undefined);
    const last = blockCount - (stageCount - 1 - stage);
    for (let end = stage + 1; end <= last; end++) {
      for (let first = stage; first < end; first++) {
        const known = best[first];
        if (known === undefined) continue;
        const time = timeOf(stage, first, end);
        const worst = Math.max(known.worst, time);
        const squares = known.squares + time * time;
        const held = next[end];
        if (
          held === undefined ||
          worst < held.worst ||
          (worst === held.worst && squares < held.squares)
        )
          next[end] = { worst, squares, first, before: known };
      }
    }
    best = next;
  }
  const firsts: number[] = [];
  for (let at = best[blockCount]; at?.before !== undefined; at = at.before)
    firsts.unshift(at.first);
  return firsts;
}
