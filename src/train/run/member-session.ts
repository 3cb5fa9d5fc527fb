import { Worker } from "node:worker_threads";
import { compiledUrl } from "../../util/source-layout.ts";
import type { TrainConfig } from "../config/config.ts";

/** What the training thread of such a process is given. */
export interface MemberWorkerData {
  readonly config: TrainConfig;
}

/** How long a process that was asked to end waits for rank 0 to end the run. */
const PATIENCE_MS = 6000;

/**
 * Trains with rank 0 of the group, in a worker thread. Resolves to whether the run ended as rank 0 said. `signal`: this
 * process was asked to end; rank 0 has been asked too and ends the run for all, or else is gone.
 */
export async function followInWorker(config: TrainConfig, signal?: AbortSignal): Promise<boolean> {
  const worker = new Worker(compiledUrl("train/run/member-worker.ts"), {
    workerData: { config } satisfies MemberWorkerData,
  });
  return await new Promise<boolean>((resolve, reject) => {
    signal?.addEventListener("abort", () => {
      setTimeout(() => resolve(false), PATIENCE_MS).unref();
    });
    worker.on("error", reject);
    worker.on("exit", (code) => resolve(code === 0));
  });
}
