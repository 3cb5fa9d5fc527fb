import { receiveMessageOnPort, workerData } from "node:worker_threads";
import type { MessagePort } from "node:worker_threads";
import { KERNEL_ROWS, openJobBuffers, runItem } from "./kernel-job.ts";
import type { JobBuffers, KernelExports } from "./kernel-job.ts";
import { Instance } from "../../util/webassembly.ts";
import type { WasmMemory, WasmModule } from "../../util/webassembly.ts";

/** What a worker is told besides jobs: memories that come and go. */
export type KernelMessage =
  | { readonly kind: "memory"; readonly number: number; readonly memory: WasmMemory }
  | { readonly kind: "forget"; readonly number: number }
  | { readonly kind: "stop" };

export interface KernelWorkerData {
  readonly module: WasmModule;
  readonly buffers: JobBuffers;
  readonly port: MessagePort;
}

const { module, buffers, port } = workerData as KernelWorkerData;
const area = openJobBuffers(buffers);
const kernels = new Map<number, KernelExports>();
let isStopped = false;

/** Messages are read between jobs: the thread sleeps on the generation and never on its event loop. */
function readMessages(): void {
  for (;;) {
    const received = receiveMessageOnPort(port);
    if (received === undefined) return;
    const message = received.message as KernelMessage;
    switch (message.kind) {
      case "memory": {
        const instance = new Instance(module, { env: { memory: message.memory } });
        kernels.set(message.number, instance.exports as unknown as KernelExports);
        break;
      }
      case "forget":
        kernels.delete(message.number);
        break;
      case "stop":
        isStopped = true;
        break;
    }
  }
}

function kernelsOf(memory: number): KernelExports {
  const known = kernels.get(memory);
  if (known !== undefined) return known;
  readMessages();
  const told = kernels.get(memory);
  if (told === undefined) throw new Error(`kernel worker: memory ${memory} was never announced`);
  return told;
}

const runPart = (item: number): void => {
  runItem(area.job.kind, area, item, kernelsOf);
};

/** Another token of one text mostly follows at once; waking takes longer than what lies between two. */
const ROWS_LOOK_MS = 0.2;
/** How long it took from the last job to this one: where that is longer than it looks, others have use for the core. */
let pauseMs = 0;

while (!isStopped) {
  const { generation } = area.job;
  readMessages();
  area.job.take(runPart);
  if (isStopped) break;
  const endedMs = performance.now();
  const looks = area.job.kind === KERNEL_ROWS && pauseMs < 2 * ROWS_LOOK_MS;
  area.job.sleep(generation, looks ? ROWS_LOOK_MS : 0);
  pauseMs = performance.now() - endedMs;
}
