import { fastestShares } from "../../cluster/index.ts";
import type { Cluster } from "../../cluster/index.ts";

/** Updates after which the first one, which still warms up, and these are enough to know speeds. */
export const MEASURED_AFTER = 4;

/** How long this process works on a micro-batch: without what it waits for others. */
export class SpeedMeter {
  readonly #cluster: Pick<Cluster, "waitedMs">;
  #isWarm = false;
  #begunMs = 0;
  #waitedMs = 0;
  #busyMs = 0;
  #batchCount = 0;

  constructor(cluster: Pick<Cluster, "waitedMs">) {
    this.#cluster = cluster;
  }

  begin(): void {
    this.#begunMs = performance.now();
    this.#waitedMs = this.#cluster.waitedMs;
  }

  /** After an update of so many micro-batches. The first is not counted. */
  end(batchCount: number): void {
    if (this.#isWarm) {
      const waitedMs = this.#cluster.waitedMs - this.#waitedMs;
      this.#busyMs += performance.now() - this.#begunMs - waitedMs;
      this.#batchCount += batchCount;
    }
    this.#isWarm = true;
  }

  /** Milliseconds of a micro-batch. */
  get eachMs(): number {
    return this.#busyMs / Math.max(1, this.#batchCount);
  }
}

/** What processes were measured to take for a micro-batch. */
export interface MeasuredSpeeds {
  /** Milliseconds by process, those of a pipeline one after the other. */
  readonly eachMs: readonly number[];
  readonly stageCount: number;
}

/** Micro-batches by replica, so that the slowest ends as soon as can be: a pipeline is as fast as its slowest process. */
export function measuredShares(
  count: number,
  { eachMs, stageCount }: MeasuredSpeeds,
): readonly number[] {
  const replicas = Array.from({ length: eachMs.length / stageCount }, (_, replica) =>
    Math.max(...eachMs.slice(replica * stageCount, (replica + 1) * stageCount)),
  );
  return fastestShares(count, replicas);
}

/** What a user should know of measured speeds. */
export function speedNotice(
  shares: readonly number[],
  { eachMs, stageCount }: MeasuredSpeeds,
): string {
  const times = eachMs.map((ms) => ms.toPrecision(3)).join(", ");
  const took = `a micro-batch takes processes ${times} ms`;
  const again = "the same bits again";
  if (stageCount === 1)
    return `${took}: from here on they take ${shares.join(", ")} of an update; --shares ${shares.join(",")} gives that from the start, and ${again}`;
  const pipelines =
    shares.length === 1
      ? ""
      : `: from here on pipelines take ${shares.join(", ")} of an update; --shares ${shares.join(",")} gives that from the start, and ${again}`;
  return `${took}${pipelines}. Numbers for each process, by how fast its machine is, place blocks too`;
}
