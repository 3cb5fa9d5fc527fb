import type { LoadedPlan } from "../../engine/engine.ts";
import { checkBatch } from "../../text/index.ts";
import type { Batch } from "../../text/index.ts";
import { TrainError } from "../errors.ts";
import { PAIR_WEIGHTS } from "./preference-plan.ts";

/**
 * Puts a batch where a plan's sections read it. A plan for packed rows takes plain ones too: each is one document.
 * Throws `TextError` for a batch that is not what it says, `TrainError` for one of other sizes than the plan's, and
 * for packed rows where the plan would let documents see each other.
 */
export function writeBatch(loaded: LoadedPlan, batch: Batch): void {
  checkBatch(batch);
  const { batchSize, sequenceLength, inputs, targets, packing } = batch;
  const shape = loaded.plan.buffers.get("tokens")?.type.shape ?? [];
  if (shape[0] !== batchSize || shape[1] !== sequenceLength) {
    throw new TrainError(
      "train.batch",
      `a batch has ${batchSize} rows of ${sequenceLength} tokens, the plan takes ${shape.join(" of ")}`,
    );
  }
  loaded.view("tokens").set(inputs);
  loaded.view("targets").set(targets);
  writePairs(loaded, batch);
  const isPackedPlan = loaded.plan.buffers.has("documents");
  if (!isPackedPlan) {
    if (packing === undefined) return;
    throw new TrainError(
      "train.batch.packed",
      "a batch has several documents in a row, and the plan was built for one",
      { remedy: "Build the plan with isPacked." },
    );
  }
  const positions = loaded.view("position_ids");
  const documents = loaded.view("documents");
  if (packing === undefined) {
    for (let i = 0; i < positions.length; i++) positions[i] = i % sequenceLength;
    documents.fill(0);
    return;
  }
  positions.set(packing.positions);
  documents.set(packing.documents);
}

/** Throws `TrainError` where a batch is pairs of answers and the plan is not for them, or the other way round. */
function writePairs(loaded: LoadedPlan, { pairs }: Batch): void {
  const arePlanned = loaded.plan.buffers.has(PAIR_WEIGHTS);
  if (!arePlanned && pairs === undefined) return;
  if (pairs === undefined || !arePlanned) {
    const [given, planned] = ["pairs of answers", "rows by themselves"];
    throw new TrainError(
      "train.batch.pairs",
      `the plan is for ${arePlanned ? given : planned}, the batch is ${arePlanned ? planned : given}`,
      { remedy: "Build the plan with preference for batches of pairs, and only for them." },
    );
  }
  const weights = loaded.view(PAIR_WEIGHTS);
  for (const [pair, isThere] of pairs.isThere.entries()) weights[pair] = isThere ? 1 : 0;
}
