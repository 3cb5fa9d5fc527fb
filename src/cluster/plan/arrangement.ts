import { balanceBlocks } from "../balance.ts";
import { fastestShares } from "../shares.ts";
import type { ClusterStep, PartTimes } from "./cluster-step.ts";

/** Replicas that do the same: one of them is simulated. */
export interface ReplicaKind {
  /** Of its machines, by stage. */
  readonly times: readonly PartTimes[];
  /** Micro-batches of one of them. */
  readonly batchCount: number;
  readonly replicaCount: number;
}

/** Who does what in an update. */
export interface Arrangement {
  /** First block of each stage. */
  readonly firsts: readonly number[];
  /** Micro-batches by replica. */
  readonly shares: readonly number[];
  readonly kinds: readonly ReplicaKind[];
}

const blockMs = ({ blockForward, blockBackward }: PartTimes): number =>
  blockForward + blockBackward;

/**
 * Divides blocks over stages and micro-batches over replicas, as a run does it that knows how fast its machines are. The
 * stages of all replicas hold the same blocks: the slowest machine of a stage decides.
 */
export function arrange(step: ClusterStep): Arrangement {
  const { stageCount, replicaCount, blockCount, times, batchCount, machines } = step;
  const stages = Array.from({ length: stageCount }, (_, stage) => stage);
  const timesOf = (replica: number, stage: number): PartTimes =>
    machines?.[replica * stageCount + stage] ?? times;
  const replicas = Array.from({ length: replicaCount }, (_, replica) =>
    stages.map((stage) => timesOf(replica, stage)),
  );
  const speeds = stages.map(
    (stage) =>
      blockMs(times) / Math.max(...replicas.map((own) => blockMs(own[stage] ?? times))) || 1,
  );
  const firsts = balanceBlocks(
    {
      embed: times.embedForward + times.embedBackward,
      blocks: Array.from({ length: blockCount }, () => blockMs(times)),
      head: times.head,
    },
    stageCount,
    speeds,
  );
  const batchMs = (own: readonly PartTimes[]): number =>
    Math.max(
      ...own.map((machine, stage) => {
        const blocks = (firsts[stage + 1] ?? blockCount) - (firsts[stage] ?? 0);
        const first = stage === 0 ? machine.embedForward + machine.embedBackward : 0;
        const last = stage === stageCount - 1 ? machine.head : 0;
        return blocks * blockMs(machine) + first + last;
      }),
    );
  const shares = fastestShares(batchCount, replicas.map(batchMs));
  const kinds: ReplicaKind[] = [];
  replicas.forEach((own, replica) => {
    const count = shares[replica] ?? 1;
    const index = kinds.findIndex(
      (kind) =>
        kind.batchCount === count && kind.times.every((machine, stage) => machine === own[stage]),
    );
    const known = kinds[index];
    if (known === undefined) kinds.push({ times: own, batchCount: count, replicaCount: 1 });
    else kinds[index] = { ...known, replicaCount: known.replicaCount + 1 };
  });
  return { firsts, shares, kinds };
}
