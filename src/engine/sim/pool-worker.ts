import { workerData } from "node:worker_threads";
import { Instance } from "../../util/webassembly.ts";
import type { WasmMemory, WasmModule } from "../../util/webassembly.ts";
import { SharedJob } from "../host/shared-job.ts";
import { kernelsOf, runTask, TASK_WORDS } from "./task.ts";

export interface PoolWorkerData {
  readonly modules: readonly WasmModule[];
  readonly memory: WasmMemory;
  readonly job: SharedArrayBuffer;
  readonly tasks: SharedArrayBuffer;
  /** Address of this thread's scratch. */
  readonly scratch: number;
}

const LOOK_MS = 0.2;

const data = workerData as PoolWorkerData;
const job = new SharedJob(data.job);
const tasks = new Uint32Array(data.tasks);
const kernels = kernelsOf(
  data.modules.map((module) => new Instance(module, { env: { memory: data.memory } }).exports),
);
kernels.useScratch(data.scratch);
const runPart = (part: number): void => {
  runTask(tasks, part * TASK_WORDS, kernels);
};

while (!job.isStopped) {
  const { generation } = job;
  job.take(runPart);
  if (!job.isStopped) job.sleep(generation, LOOK_MS);
}
