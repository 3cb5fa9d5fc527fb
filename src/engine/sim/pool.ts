import { readFileSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { messageOf } from "../../util/errors.ts";
import { compiledUrl } from "../../util/source-layout.ts";
import { Instance, Module } from "../cpu/webassembly.ts";
import type { WasmMemory, WasmModule } from "../cpu/webassembly.ts";
import { EngineError } from "../errors.ts";
import type { PoolWorkerData } from "./pool-worker.ts";
import {
  CONTROL_COMPLETED,
  CONTROL_COUNT,
  CONTROL_GENERATION,
  CONTROL_LENGTH,
  CONTROL_NEXT,
  CONTROL_STOP,
  firstTask,
  KERNEL_NAMES,
  kernelsOf,
  MAXIMUM_TASKS,
  MODULE_NAMES,
  runTask,
  runTasks,
  TASK_WORDS,
} from "./task.ts";
import type { KernelName, Kernels, ModuleName } from "./task.ts";

const TILE_BYTES = 256;
/** Tiles of threads stand in the arena's lowest 64 KiB. */
const MAXIMUM_THREADS = 128;

export interface KernelCall {
  readonly kernel: KernelName;
  readonly numbers: readonly number[];
}

/** Threads that run kernels over one shared memory, the calling thread among them. */
export class Pool {
  readonly threads: number;
  readonly #kernels: Kernels;
  readonly #control = new Int32Array(new SharedArrayBuffer(CONTROL_LENGTH * 4));
  readonly #tasks = new Uint32Array(new SharedArrayBuffer(MAXIMUM_TASKS * TASK_WORDS * 4));
  readonly #workers: Worker[] = [];
  #generation = 0;

  /** Throws `EngineError` where compiled kernels are missing. */
  constructor(threads: number, memory: WasmMemory) {
    this.threads = Math.max(1, Math.min(threads, MAXIMUM_THREADS));
    const modules = MODULE_NAMES.map(loadModule);
    this.#kernels = kernelsOf(
      modules.map((module) => new Instance(module, { env: { memory } }).exports),
    );
    this.#kernels.useTile(TILE_BYTES);
    Atomics.store(this.#control, CONTROL_NEXT, -1);
    for (let thread = 1; thread < this.threads; thread++) {
      const workerData: PoolWorkerData = {
        modules,
        memory,
        control: this.#control.buffer,
        tasks: this.#tasks.buffer,
        tile: (thread + 1) * TILE_BYTES,
      };
      const worker = new Worker(compiledUrl(import.meta.url, "./pool-worker.ts"), { workerData });
      // A worker that cannot start leaves its share to the others.
      worker.on("error", () => undefined);
      worker.unref();
      this.#workers.push(worker);
    }
  }

  /** Runs the calls in any order and on any thread; returns when all are done. */
  run(calls: readonly KernelCall[]): void {
    for (let start = 0; start < calls.length; start += MAXIMUM_TASKS)
      this.#runSome(calls.slice(start, start + MAXIMUM_TASKS));
  }

  /**
   * One kernel over [0, count), whose last two arguments are a part's begin and end. Parts have at least `least`
   * elements and begin at multiples of it.
   */
  split(kernel: KernelName, numbers: readonly number[], count: number, least: number): void {
    if (count === 0) return;
    const parts = Math.max(1, Math.min(Math.floor(count / least), this.threads * 4));
    const size = Math.ceil(count / parts / least) * least;
    const calls: KernelCall[] = [];
    for (let begin = 0; begin < count; begin += size) {
      calls.push({ kernel, numbers: [...numbers, begin, Math.min(count, begin + size)] });
    }
    this.run(calls);
  }

  async close(): Promise<void> {
    Atomics.store(this.#control, CONTROL_STOP, 1);
    Atomics.add(this.#control, CONTROL_GENERATION, 1);
    Atomics.notify(this.#control, CONTROL_GENERATION);
    await Promise.all(this.#workers.splice(0).map((worker) => worker.terminate()));
  }

  #runSome(calls: readonly KernelCall[]): void {
    const control = this.#control;
    const tasks = this.#tasks;
    calls.forEach(({ kernel, numbers }, index) => {
      const at = index * TASK_WORDS;
      tasks[at] = KERNEL_NAMES.indexOf(kernel);
      for (let i = 0; i < numbers.length; i++) tasks[at + 1 + i] = numbers[i] ?? 0;
    });
    const count = calls.length;
    if (count <= 1 || this.#workers.length === 0) {
      for (let task = 0; task < count; task++) runTask(tasks, task * TASK_WORDS, this.#kernels);
      return;
    }
    Atomics.store(control, CONTROL_COUNT, count);
    Atomics.store(control, CONTROL_COMPLETED, 0);
    this.#generation++;
    Atomics.store(control, CONTROL_NEXT, firstTask(this.#generation));
    Atomics.add(control, CONTROL_GENERATION, 1);
    Atomics.notify(control, CONTROL_GENERATION);
    runTasks({ control, tasks }, this.#kernels);
    this.#awaitCompletion(count);
    Atomics.store(control, CONTROL_NEXT, -1);
  }

  /** The others finish their last tasks soon: worth looking some times before sleeping. */
  #awaitCompletion(count: number): void {
    for (let i = 0; i < 20_000; i++) {
      if (Atomics.load(this.#control, CONTROL_COMPLETED) >= count) return;
    }
    for (;;) {
      const completed = Atomics.load(this.#control, CONTROL_COMPLETED);
      if (completed >= count) return;
      Atomics.wait(this.#control, CONTROL_COMPLETED, completed, 100);
    }
  }
}

function loadModule(name: ModuleName): WasmModule {
  const wasm = compiledUrl(import.meta.url, `./${name}.wasm`);
  try {
    return new Module(readFileSync(wasm));
  } catch (error) {
    throw new EngineError(
      "engine.sim.kernel",
      `the simulator's kernel cannot be loaded from ${wasm.pathname}: ${messageOf(error)}`,
      { remedy: "Build it: npm run build", cause: error },
    );
  }
}
