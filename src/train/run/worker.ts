// The training thread. It posts events; what stops it comes through the control block's shared memory,
// since the thread does not turn its event loop while the runtime computes.
import { parentPort, workerData } from "node:worker_threads";
import { ControlBlock } from "./control.ts";
import { EnergyBlock } from "../costs/energy-block.ts";
import { sharedRun } from "./emergency-save.ts";
import { runTraining } from "./run.ts";
import { toldError } from "./session-options.ts";
import type { WorkerData, WorkerMessage } from "./session.ts";

const { config, control, energy } = workerData as WorkerData;

function post(message: WorkerMessage): void {
  parentPort?.postMessage(message);
}

try {
  await runTraining(config, {
    control: new ControlBlock(control),
    ...(energy !== undefined && { energy: new EnergyBlock(energy) }),
    onEvent: (event) => post({ kind: "event", event }),
    onProgress: (text, at) => post({ kind: "progress", text, ...(at && { at }) }),
    onReady: (loaded, files) => post({ kind: "shared", run: sharedRun(loaded, files) }),
  });
} catch (error) {
  post({ kind: "error", ...toldError(error) });
}
