import { proportionalShares, treeShares } from "../../cluster/index.ts";
import type { Layout } from "../../cluster/index.ts";
import type { Batch } from "../../text/index.ts";
import { countTargets } from "../../text/index.ts";
import { TrainError } from "../errors.ts";
import type { UpdateShare } from "../step/trainer.ts";

/** What an update takes, whoever computes it. */
export interface UpdateSizes {
  readonly batch_size: number;
  readonly gradient_accumulation_steps: number;
  readonly sum_order?: "serial" | "tree";
}

/** How the rows of an update are divided over the replicas. */
export interface BatchShares {
  /** Rows of a micro-batch. */
  readonly rowCount: number;
  /** Micro-batches of each replica, in the order in which they are drawn. */
  readonly microBatches: readonly number[];
}

/** `--shares`: how much each replica, or each process of the pipelines, does beside the others. */
export type Shares =
  | ReplicaShares
  | { readonly kind: "processes"; readonly weights: readonly number[] };

/** What of it says how much each replica does. `auto`: as the first updates show. */
export type ReplicaShares =
  | { readonly kind: "even" | "auto" }
  | { readonly kind: "replicas"; readonly weights: readonly number[] };

const EVEN: ReplicaShares = { kind: "even" };

/** `--shares` for a layout. Throws `TrainError` `train.shares` for what is none of them. */
export function parseShares(text: string, { replicaCount, stageCount }: Layout): Shares {
  if (text === "even" || text === "auto") return { kind: text };
  const weights = text.split(",").map(Number);
  const size = replicaCount * stageCount;
  const isRight = weights.every((weight) => weight > 0 && weight < Infinity);
  if (isRight && weights.length === replicaCount) return { kind: "replicas", weights };
  if (isRight && weights.length === size) return { kind: "processes", weights };
  const counts =
    stageCount === 1 ? `${replicaCount}` : `${replicaCount} (a pipeline) or ${size} (a process)`;
  throw new TrainError(
    "train.shares",
    `--shares takes even, auto, or ${counts} numbers above 0 by comma, not "${text}"`,
    {
      remedy: `As in --shares ${Array.from({ length: size }, (_, i) => (i === 0 ? 2 : 1)).join(",")}.`,
    },
  );
}

/**
 * Divides an update's micro-batches over replicas: runs of whole ones where there are enough, else parts of their rows.
 * `weights`: how much each replica does beside the others.
 * Throws `TrainError` `train.shares` where the rows do not go round, or where another number of processes would give
 * other bits although `--sum-order tree` promises that it does not.
 */
export function divideBatches(
  sizes: UpdateSizes,
  replicaCount: number,
  shares: ReplicaShares = EVEN,
): BatchShares {
  const { batch_size: rows, gradient_accumulation_steps: count, sum_order: order } = sizes;
  const isTree = order === "tree" && replicaCount > 1;
  const weights = shares.kind === "replicas" ? shares.weights : undefined;
  const isEven = weights?.every((weight) => weight === weights[0]) !== false;
  if (shares.kind === "auto") {
    if (isTree) throw treeRefusal(`--shares auto divides them as speeds say`);
    if (count <= replicaCount && replicaCount > 1) {
      throw new TrainError(
        "train.shares",
        `--shares auto has nothing to divide: an update has ${count} micro-batches for ${replicaCount} processes`,
        { remedy: `Give --gradient-accumulation-steps ${2 * replicaCount} or more.` },
      );
    }
  }
  if (count >= replicaCount) {
    const tree = treeShares(count, replicaCount);
    const even = isTree
      ? tree
      : proportionalShares(
          count,
          Array.from({ length: replicaCount }, () => 1),
        );
    const microBatches =
      weights === undefined || isEven ? even : proportionalShares(count, weights);
    if (isTree && microBatches.join() !== tree.join())
      throw treeRefusal(
        `--shares gives ${microBatches.join(", ")} of ${count} micro-batches, the tree has ${tree.join(", ")}`,
      );
    return { rowCount: rows, microBatches };
  }
  if (isTree)
    throw treeRefusal(`${count} micro-batches are too few for ${replicaCount} processes`, {
      remedy: `Give --gradient-accumulation-steps ${replicaCount} or more, or leave --sum-order out.`,
    });
  const total = rows * count;
  if (isEven && total % replicaCount === 0 && rows % (total / replicaCount) === 0)
    return {
      rowCount: total / replicaCount,
      microBatches: Array.from({ length: replicaCount }, () => 1),
    };
  throw new TrainError(
    "train.shares",
    `an update has ${count} micro-batches of ${rows} rows, which ${replicaCount} processes cannot share${isEven ? " evenly" : ` as ${weights?.join(" to ")}`}`,
    {
      remedy: `Give --gradient-accumulation-steps ${replicaCount} or more, or a --batch-size that ${replicaCount} divides.`,
    },
  );
}

function treeRefusal(
  why: string,
  options = { remedy: "Leave --shares out, or --sum-order: sums are then near to one process's." },
): TrainError {
  return new TrainError(
    "train.shares.tree",
    `--sum-order tree gives the bits of one process only where each takes a branch of its tree: ${why}`,
    options,
  );
}

/** What of an update one replica computes. */
export function shareOf(
  { rowCount, microBatches }: BatchShares,
  { batch_size: rows }: Pick<UpdateSizes, "batch_size">,
  replica: number,
): UpdateShare {
  const first = microBatches.slice(0, replica).reduce((sum, count) => sum + count, 0);
  return { first, count: microBatches[replica] ?? 1, partCount: rows / rowCount };
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
