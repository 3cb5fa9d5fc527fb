/** One thing that a process of a pipeline does in an update, with the number of its micro-batch. */
export interface PipelineTurn {
  readonly kind: "forward" | "backward";
  readonly batch: number;
}

/**
 * What stage `stage` of `stageCount` does for an update of `batchCount` micro-batches, in order: as many forward passes
 * as there are stages after it, then one forward and one backward in turn (1F1B), then the backward passes that are
 * left. The last stage runs both at once.
 */
export function pipelineTurns(
  stage: number,
  stageCount: number,
  batchCount: number,
): readonly PipelineTurn[] {
  const ahead = Math.min(stageCount - 1 - stage, batchCount);
  const turns: PipelineTurn[] = [];
  for (let batch = 0; batch < ahead; batch++) turns.push({ kind: "forward", batch });
  for (let batch = ahead; batch < batchCount; batch++) {
    turns.push({ kind: "forward", batch }, { kind: "backward", batch: batch - ahead });
  }
  for (let batch = batchCount - ahead; batch < batchCount; batch++)
    turns.push({ kind: "backward", batch });
  return turns;
}

/** Micro-batches whose forward pass is done and whose backward pass is not, at most. */
export function slotCountOf(stage: number, stageCount: number, batchCount: number): number {
  return Math.max(1, Math.min(stageCount - stage, batchCount));
}
