import { setTimeout as delay } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { launchedProcess } from "../../cluster/index.ts";
import { AnecdoteError } from "../../util/errors.ts";
import { compiledUrl } from "../../util/source-layout.ts";
import { noteStuckThread } from "../../util/stuck-thread.ts";
import { listCheckpoints } from "../../runs/checkpoint.ts";
import type { TrainConfig } from "../config/config.ts";
import { trainApart } from "./apart.ts";
import { withCpuBehind } from "./cpu-behind.ts";
import { ControlBlock } from "./control.ts";
import { logInterruption } from "../../runs/event-log.ts";
import type { RunCommand, TrainEvent } from "../../runs/events.ts";
import { RunControl } from "../../runs/run-control.ts";
import type { SharedRun } from "./emergency-save.ts";
import type { TrainProgress } from "./run-context.ts";
import { revived } from "./session-options.ts";
import type { SessionOptions, ToldError } from "./session-options.ts";

export type { SessionOptions } from "./session-options.ts";
import { RunLock } from "../../runs/run-lock.ts";

const LEAVE_AFTER_MS = 500;
/** How often the run's folder is looked at for what others ask. */
const ORDERS_EVERY_MS = 100;
/** Where others train too, a step that does not end is likely one whose partner is gone, and mpirun does not wait long. */
const STUCK_IN_GROUP_MS = 5000;

/** What saves for a thread that hangs: loaded beside the first steps, so that nobody waits for it. */
const loadSaver = async () => import("./emergency-save.ts");

/** What the training thread is given. */
export interface WorkerData {
  readonly config: TrainConfig;
  readonly control: SharedArrayBuffer;
  readonly energy?: SharedArrayBuffer;
}

/** Messages from the training thread. */
export type WorkerMessage =
  | { readonly kind: "event"; readonly event: TrainEvent }
  | { readonly kind: "progress"; readonly text: string; readonly at?: TrainProgress }
  | { readonly kind: "shared"; readonly run: SharedRun }
  | ({ readonly kind: "error" } & ToldError);

/**
 * Runs a training in a worker thread, so that the calling thread stays responsive and can save even while a
 * native call hangs. Resolves with the last event (as `runTraining`); rejects with what went wrong, also where
 * another process trains in the same folder. A Neural Engine that "auto" chose and that fails is left for the CPU.
 */
export async function trainInWorker(
  config: TrainConfig,
  options: SessionOptions = {},
): Promise<TrainEvent> {
  const own = options.lock === undefined ? RunLock.take(config.output_dir) : undefined;
  try {
    // Rank 0 cannot begin again with another engine while the others train on.
    if (launchedProcess() !== undefined) {
      return await trainLocked(config, { stuckAfterMs: STUCK_IN_GROUP_MS, ...options });
    }
    return await withCpuBehind(config, options, { here: trainLocked, apart: trainApart });
  } finally {
    own?.release();
  }
}

/** The same for whoever holds the lock of the run's folder, without the CPU behind it. */
export async function trainLocked(
  config: TrainConfig,
  options: SessionOptions,
): Promise<TrainEvent> {
  const { stuckAfterMs = 30_000 } = options;
  const control = new ControlBlock();
  const worker = new Worker(compiledUrl("train/run/worker.ts"), {
    workerData: {
      ...{ config, control: control.buffer },
      ...(options.energy !== undefined && { energy: options.energy.buffer }),
    } satisfies WorkerData,
  });
  let last: TrainEvent | undefined;
  let shared: SharedRun | undefined;
  let stuckTimer: NodeJS.Timeout | undefined;
  let rescued = false;
  let hangs = false;
  let hasFailed = false;
  let giveUp = (): void => undefined;
  let isLeaving = false;
  /** Of this process's first step, once it is known. */
  let startStep: number | undefined;
  const stop = (): void => {
    if (isLeaving) return;
    const isTraining = startStep !== undefined && control.step > startStep;
    options.onStop?.(isTraining ? "save" : "leave");
    control.requestInterrupt();
    if (!isTraining) {
      isLeaving = true;
      giveUp();
      return;
    }
    stuckTimer ??= setTimeout(rescue, stuckAfterMs);
  };
  const rescue = (): void => {
    if (control.isSaving || control.isSavingBeside) {
      // A slow disk is no engine that hangs.
      stuckTimer = setTimeout(rescue, stuckAfterMs);
      return;
    }
    rescued = true;
    hangs = true;
    giveUp();
  };
  const orders = RunControl.open(config.output_dir);
  const ordersTimer = setInterval(() => {
    for (const command of orders.take()) obey(command);
  }, ORDERS_EVERY_MS);
  const obey = (command: RunCommand): void => {
    switch (command) {
      case "pause":
        control.requestPause();
        break;
      case "resume":
        control.endPause();
        break;
      case "save":
        control.requestSave();
        break;
      case "stop":
        stop();
        break;
    }
  };
  try {
    await new Promise<void>((resolve, reject) => {
      giveUp = resolve;
      options.signal?.addEventListener("abort", stop);
      if (options.signal?.aborted === true) stop();
      worker.on("message", (message: WorkerMessage) => {
        switch (message.kind) {
          case "event":
            if (isLeaving) break;
            if (message.event.kind === "start") startStep = message.event.step;
            last = message.event;
            options.onEvent?.(message.event);
            break;
          case "progress":
            options.onProgress?.(message.text, message.at);
            break;
          case "shared":
            shared = message.run;
            void loadSaver();
            break;
          case "error":
            hasFailed = true;
            hangs = message.code === "engine.ane.timeout";
            void (hangs ? saveIfWhole(control, shared, config, options) : Promise.resolve()).then(
              () => reject(revived(message)),
              reject,
            );
            break;
        }
      });
      worker.on("error", reject);
      // The last messages may come in the same turn as the end, before what they promise.
      worker.on("exit", () => {
        if (!hasFailed) resolve();
      });
    });
  } finally {
    clearTimeout(stuckTimer);
    clearInterval(ordersTimer);
    orders.close();
    options.signal?.removeEventListener("abort", stop);
    // A thread that hangs in native code never ends: nobody may wait for it.
    if (hangs || !(await endsSoon(worker, isLeaving))) {
      noteStuckThread();
      worker.unref();
    }
  }
  if (isLeaving) {
    const event = leftEvent(config, startStep);
    options.onEvent?.(event);
    return event;
  }
  if (rescued) {
    const event = (await loadSaver()).saveFromMainThread(control, shared, config);
    options.onEvent?.(event);
    return event;
  }
  if (last === undefined) {
    throw new AnecdoteError("train.worker", "the training thread ended without a word");
  }
  return last;
}

/** Ends the thread. False where it is to be left at once and is in native code, which may take long. */
async function endsSoon(worker: Worker, isLeaving: boolean): Promise<boolean> {
  const end = worker.terminate().then(() => true);
  return isLeaving ? Promise.race([end, delay(LEAVE_AFTER_MS, false)]) : end;
}

/** Of a run that was stopped before this process had trained a step: the checkpoint it was resumed from stands. */
function leftEvent(config: TrainConfig, startStep: number | undefined): TrainEvent {
  const saved = config.resume ? (listCheckpoints(config.output_dir).at(-1)?.step ?? 0) : 0;
  const step = startStep ?? saved;
  return step > 0
    ? logInterruption(config.output_dir, step)
    : { t: Date.now() / 1000, kind: "interrupted", step };
}

/** The last whole step, where there is one that the last checkpoint lacks. */
async function saveIfWhole(
  control: ControlBlock,
  shared: SharedRun | undefined,
  config: TrainConfig,
  { onEvent }: SessionOptions,
): Promise<void> {
  try {
    const event = (await loadSaver()).saveFromMainThread(control, shared, config);
    onEvent?.(event);
  } catch (error) {
    // Nothing whole to save; the error that follows says why the run ends.
    if (!(error instanceof AnecdoteError)) throw error;
  }
}
