import { longestSequence } from "../../model/context-length.ts";
import type { Model } from "../../model/model.ts";
import { TrainError } from "../errors.ts";

/** MIL counts in int32. */
const LARGEST_TOKEN_COUNT = 2 ** 31 - 1;
const LOGITS_BYTE_BUDGET = 64 * 2 ** 20;

/** Rows a chunk of the head takes, so that its logits stay within `byteBudget`. */
export function chooseHeadChunkRows(
  rowCount: number,
  vocabularySize: number,
  byteBudget = LOGITS_BYTE_BUDGET,
): number {
  const fitting = Math.max(1, Math.floor(byteBudget / (4 * vocabularySize)));
  if (fitting >= rowCount) return rowCount;
  // Chunks of nearly equal size; a multiple of 16 suits the matrix kernels.
  const even = Math.ceil(rowCount / Math.ceil(rowCount / fitting));
  const rounded = Math.ceil(even / 16) * 16;
  return rounded <= fitting ? rounded : even;
}

/** Throws `TrainError` for sizes that are none, or that the model's context does not hold. */
export function checkStepSizes({
  model: { config },
  batchSize,
  sequenceLength,
  headChunkRows,
}: {
  readonly model: Pick<Model, "config">;
  readonly batchSize: number;
  readonly sequenceLength: number;
  readonly headChunkRows?: number;
}): void {
  for (const [name, value] of [
    ["batch size", batchSize],
    ["sequence length", sequenceLength],
    ["head chunk", headChunkRows ?? 1],
  ] as const) {
    if (!Number.isInteger(value) || value < 1)
      throw new TrainError("train.plan.sizes", `the ${name} must be 1 or more, not ${value}`);
  }
  if (batchSize * sequenceLength > LARGEST_TOKEN_COUNT)
    throw new TrainError(
      "train.plan.sizes",
      `${batchSize} sequences of ${sequenceLength} tokens are ${batchSize * sequenceLength} tokens, a batch holds ${LARGEST_TOKEN_COUNT}`,
      { remedy: "Lower --batch-size; --gradient-accumulation-steps makes updates larger." },
    );
  if (sequenceLength > longestSequence(config))
    throw new TrainError(
      "train.plan.sizes",
      `sequences of ${sequenceLength} tokens do not fit the model's context of ${config.contextLength}`,
      { remedy: "Lower --max-seq-length, or give the model a longer context." },
    );
}
