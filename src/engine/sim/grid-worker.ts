import { workerData } from "node:worker_threads";
import { Instance } from "../cpu/webassembly.ts";
import type { WasmMemory, WasmModule } from "../cpu/webassembly.ts";
import { CONTROL_GENERATION, CONTROL_STOP, runTasks } from "./grid-task.ts";
import type { GridExports } from "./grid-task.ts";

export interface GridWorkerData {
  readonly module: WasmModule;
  readonly memory: WasmMemory;
  readonly control: SharedArrayBuffer;
  readonly tasks: SharedArrayBuffer;
}

const data = workerData as GridWorkerData;
const control = new Int32Array(data.control);
const shared = { control, tasks: new Uint32Array(data.tasks) };
const instance = new Instance(data.module, { env: { memory: data.memory } });
const kernels = instance.exports as unknown as GridExports;

while (Atomics.load(control, CONTROL_STOP) === 0) {
  const generation = Atomics.load(control, CONTROL_GENERATION);
  runTasks(shared, kernels);
  if (Atomics.load(control, CONTROL_STOP) === 0)
    Atomics.wait(control, CONTROL_GENERATION, generation);
}
