import { workerData } from "node:worker_threads";
import { Instance } from "../cpu/webassembly.ts";
import type { WasmMemory, WasmModule } from "../cpu/webassembly.ts";
import { CONTROL_GENERATION, CONTROL_STOP, kernelsOf, runTasks } from "./task.ts";

export interface PoolWorkerData {
  readonly modules: readonly WasmModule[];
  readonly memory: WasmMemory;
  readonly control: SharedArrayBuffer;
  readonly tasks: SharedArrayBuffer;
  /** Address of this thread's scratch. */
  readonly scratch: number;
}

/** A thread looks for the next job this long before it sleeps: waking takes some 50 microseconds. */
const SPIN_MS = 0.2;

const data = workerData as PoolWorkerData;
const control = new Int32Array(data.control);
const queue = { control, tasks: new Uint32Array(data.tasks) };
const kernels = kernelsOf(
  data.modules.map((module) => new Instance(module, { env: { memory: data.memory } }).exports),
);
kernels.useScratch(data.scratch);

function awaitJob(generation: number): void {
  const until = performance.now() + SPIN_MS;
  do {
    for (let i = 0; i < 100; i++) {
      if (Atomics.load(control, CONTROL_GENERATION) !== generation) return;
    }
  } while (performance.now() < until);
  Atomics.wait(control, CONTROL_GENERATION, generation);
}

while (Atomics.load(control, CONTROL_STOP) === 0) {
  const generation = Atomics.load(control, CONTROL_GENERATION);
  runTasks(queue, kernels);
  if (Atomics.load(control, CONTROL_STOP) === 0) awaitJob(generation);
}
