import type { Batch } from "../../text/index.ts";
import { countTargets } from "../../text/index.ts";
import { TrainError } from "../errors.ts";

/** What an update takes, whoever computes it. */
export interface UpdateSizes {
  readonly batch_size: number;
  readonly gradient_accumulation_steps: number;
}

/** How the rows of an update are divided over the replicas. */
export interface BatchShares {
  /** Rows of a micro-batch. */
  readonly rowCount: number;
  /** Micro-batches of each replica, in the order in which they are drawn. */
  readonly microBatches: readonly number[];
}

/**
 * Divides an update's micro-batches over replicas: runs of whole ones where there are enough, else parts of their rows.
 * `weights`: how much each replica does beside the others; default: as much as they.
 * Throws `TrainError` `train.shares` where the rows do not go round.
 */
export function divideBatches(
  { batch_size: rows, gradient_accumulation_steps: count }: UpdateSizes,
  replicaCount: number,
  weights: readonly number[] = Array.from({ length: replicaCount }, () => 1),
): BatchShares {
  if (count >= replicaCount) return { rowCount: rows, microBatches: proportional(count, weights) };
  const isEven = weights.every((weight) => weight === weights[0]);
  const total = rows * count;
  if (isEven && total % replicaCount === 0 && rows % (total / replicaCount) === 0)
    return { rowCount: total / replicaCount, microBatches: weights.map(() => 1) };
  throw new TrainError(
    "train.shares",
    `an update has ${count} micro-batches of ${rows} rows, which ${replicaCount} processes cannot share${isEven ? " evenly" : ` as ${weights.join(" to ")}`}`,
    {
      remedy: `Give --gradient-accumulation-steps ${replicaCount} or more, or a --batch-size that ${replicaCount} divides.`,
    },
  );
}

/** Whole numbers that sum to `count`, near to the weights, each at least 1. */
function proportional(count: number, weights: readonly number[]): readonly number[] {
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

/** `--shares`: numbers by comma; nothing for "even". Throws `TrainError` for what is neither. */
export function parseShares(text: string, replicaCount: number): readonly number[] | undefined {
  if (text === "even") return undefined;
  const weights = text.split(",").map(Number);
  if (weights.length === replicaCount && weights.every((weight) => weight > 0)) return weights;
  throw new TrainError(
    "train.shares",
    `--shares takes even, or ${replicaCount} numbers above 0 by comma, not "${text}"`,
    {
      remedy: `As in --shares ${Array.from({ length: replicaCount }, (_, i) => (i === 0 ? 2 : 1)).join(",")}.`,
    },
  );
}

/** A batch's rows in parts of `rowCount` rows. */
export function partsOf(batch: Batch, rowCount: number): readonly Batch[] {
  const { batchSize, sequenceLength, inputs, targets, packing } = batch;
  if (batchSize === rowCount) return [batch];
  const length = rowCount * sequenceLength;
  return Array.from({ length: batchSize / rowCount }, (_, part) => {
    const cut = (numbers: Int32Array): Int32Array =>
      numbers.slice(part * length, (part + 1) * length);
    const own = cut(targets);
    return {
      ...{ batchSize: rowCount, sequenceLength },
      ...{ inputs: cut(inputs), targets: own, validTargetCount: countTargets(own) },
      ...(packing !== undefined && {
        packing: { positions: cut(packing.positions), documents: cut(packing.documents) },
      }),
    };
  });
}
