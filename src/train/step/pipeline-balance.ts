import { functionCost } from "../../plan/function-cost.ts";
import type { Model } from "../../model/model.ts";
import { TrainError } from "../errors.ts";

/** What the stages of a model cost, in floating-point operations of a forward pass of one micro-batch. */
export interface StageCosts {
  readonly embed: number;
  /** By layer. */
  readonly blocks: readonly number[];
  readonly head: number;
}

/** Costs of a model's stages by the ops of their functions. */
export function stageCosts(
  model: Model,
  sizes: { readonly batchSize: number; readonly sequenceLength: number },
): StageCosts {
  const batch = { ...sizes, isPacked: false, dataType: "fp32" as const };
  const byVariant = new Map<string | undefined, number>();
  const blockCost = (variant: string | undefined): number => {
    const known = byVariant.get(variant);
    if (known !== undefined) return known;
    const cost = functionCost(model.functions.block({ ...batch, variant })).flops;
    byVariant.set(variant, cost);
    return cost;
  };
  const rowCount = sizes.batchSize * sizes.sequenceLength;
  return {
    embed: functionCost(model.functions.embed(batch)).flops,
    blocks: model.parameters.blocks.map(({ variant }) => blockCost(variant)),
    head: functionCost(model.functions.head({ rowCount, dataType: "fp32" })).flops,
  };
}

/**
 * Divides blocks into runs, one a process, so that the dearest process is as cheap as can be; of equal ones the runs
 * that are most alike. Returns the first block of each run. Throws `TrainError` `train.pipeline` where there are fewer
 * blocks than processes.
 */
export function balanceBlocks(
  { embed, blocks, head }: StageCosts,
  stageCount: number,
): readonly number[] {
  const blockCount = blocks.length;
  if (stageCount > blockCount) {
    throw new TrainError(
      "train.pipeline",
      `${stageCount} processes are to hold ${blockCount} blocks, each at least one`,
      { remedy: `Give --pipeline-stages ${blockCount} or less.` },
    );
  }
  const before = [0];
  for (const cost of blocks) before.push((before.at(-1) ?? 0) + cost);
  const costOf = (first: number, end: number): number =>
    (before[end] ?? 0) -
    (before[first] ?? 0) +
    (first === 0 ? embed : 0) +
    (end === blockCount ? head : 0);
  interface Division {
    readonly worst: number;
    readonly squares: number;
    readonly firsts: readonly number[];
  }
  /** Of the first `end` blocks over so many processes. */
  let best: (Division | undefined)[] = Array.from({ length: blockCount + 1 }, (_, end) =>
    end === 0 ? { worst: 0, squares: 0, firsts: [] } : undefined,
  );
  for (let stage = 1; stage <= stageCount; stage++) {
    const next: (Division | undefined)[] = Array.from({ length: blockCount + 1 }, () => undefined);
    for (let end = stage; end <= blockCount; end++) {
      for (let first = stage - 1; first < end; first++) {
        const known = best[first];
        if (known === undefined) continue;
        const cost = costOf(first, end);
        const division: Division = {
          worst: Math.max(known.worst, cost),
          squares: known.squares + cost * cost,
          firsts: [...known.firsts, first],
        };
        const held = next[end];
        const isBetter =
          held === undefined ||
          division.worst < held.worst ||
          (division.worst === held.worst && division.squares < held.squares);
        if (isBetter) next[end] = division;
      }
    }
    best = next;
  }
  return best[blockCount]?.firsts ?? [];
}
