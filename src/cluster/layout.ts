import { ClusterError } from "./errors.ts";

/** How processes are arranged: every replica is a pipeline of stages. */
export interface Layout {
  /** Pipelines that train on different batches, D. */
  readonly replicaCount: number;
  /** Processes that hold one model together, P. */
  readonly stageCount: number;
}

/** Where one process stands in it. */
export interface Place {
  readonly replica: number;
  readonly stage: number;
}

/** Throws `ClusterError` `cluster.layout` where the processes do not make whole pipelines. */
export function layoutOf(size: number, stageCount: number): Layout {
  if (size % stageCount !== 0) {
    const fits = Array.from({ length: size }, (_, index) => index + 1).filter(
      (count) => size % count === 0,
    );
    throw new ClusterError(
      "cluster.layout",
      `${size} processes make no whole pipelines of ${stageCount} stages`,
      { remedy: `With ${size} processes --pipeline-stages may be ${fits.join(", ")}.` },
    );
  }
  return { replicaCount: size / stageCount, stageCount };
}

/** Processes that follow each other make a pipeline: they are likely on one machine, or next to each other. */
export function placeOf(rank: number, { stageCount }: Layout): Place {
  return { replica: Math.floor(rank / stageCount), stage: rank % stageCount };
}

export function rankOf({ replica, stage }: Place, { stageCount }: Layout): number {
  return replica * stageCount + stage;
}
