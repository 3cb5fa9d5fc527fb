import { existsSync, readFileSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { messageOf } from "../../util/errors.ts";
import { buildLate, compiledUrl } from "../../util/source-layout.ts";
import { Instance, Module, relaxedModule } from "../../util/webassembly.ts";
import type { WasmModule } from "../../util/webassembly.ts";
import { EngineError } from "../errors.ts";
import { SharedJob } from "../host/shared-job.ts";
import type { Arena } from "./arena.ts";
import type { PoolWorkerData } from "./pool-worker.ts";
import {
  KERNEL_INDICES,
  kernelsOf,
  MAXIMUM_TASKS,
  MODULE_NAMES,
  runTask,
  SCRATCH_BYTES,
  TASK_WORDS,
} from "./task.ts";
import type { KernelName, Kernels, ModuleName } from "./task.ts";

const MAXIMUM_THREADS = 128;
/** Tasks a thread: all wait for the last one, so that it should be short. */
const PARTS_PER_THREAD = 12;
/** Looks at whether the others are done, before sleeping: some 0.1 ms. */
const LOOKS = 20_000;

/** Which builds of the kernels run: "relaxed" where the machine has it. Both give the same bits. */
export type Simd = "relaxed" | "plain";

export interface KernelCall {
  readonly kernel: KernelName;
  readonly numbers: readonly number[];
}

/** Threads that run kernels over one shared memory, the calling thread among them. */
export class Pool {
  readonly threads: number;
  readonly #kernels: Kernels;
  readonly #job = new SharedJob();
  readonly #tasks = new Uint32Array(new SharedArrayBuffer(MAXIMUM_TASKS * TASK_WORDS * 4));
  readonly #workers: Worker[] = [];
  readonly #runPart = (part: number): void => {
    runTask(this.#tasks, part * TASK_WORDS, this.#kernels);
  };

  /** Throws `EngineError` where compiled kernels are missing. */
  constructor(threads: number, arena: Arena, simd: Simd = "relaxed") {
    const { memory } = arena;
    this.threads = Math.max(1, Math.min(threads, MAXIMUM_THREADS));
    const modules = MODULE_NAMES.map((name) => loadModule(name, simd));
    this.#kernels = kernelsOf(
      modules.map((module) => new Instance(module, { env: { memory } }).exports),
    );
    this.#kernels.useScratch(arena.keep(SCRATCH_BYTES));
    for (let thread = 1; thread < this.threads; thread++) {
      const workerData: PoolWorkerData = {
        modules,
        memory,
        job: this.#job.buffer,
        tasks: this.#tasks.buffer,
        scratch: arena.keep(SCRATCH_BYTES),
      };
      const worker = new Worker(compiledUrl("engine/sim/pool-worker.ts"), { workerData });
      // A worker that cannot start leaves its share to the others.
      worker.on("error", () => undefined);
      worker.unref();
      this.#workers.push(worker);
    }
  }

  /** Into how many tasks a large job is best split. */
  get parts(): number {
    return PARTS_PER_THREAD * this.threads;
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
    const parts = Math.max(1, Math.min(Math.floor(count / least), this.parts));
    const size = Math.ceil(count / parts / least) * least;
    const calls: KernelCall[] = [];
    for (let begin = 0; begin < count; begin += size) {
      calls.push({ kernel, numbers: [...numbers, begin, Math.min(count, begin + size)] });
    }
    this.run(calls);
  }

  async close(): Promise<void> {
    this.#job.stop();
    await Promise.all(this.#workers.splice(0).map((worker) => worker.terminate()));
  }

  #runSome(calls: readonly KernelCall[]): void {
    const tasks = this.#tasks;
    calls.forEach(({ kernel, numbers }, index) => {
      const at = index * TASK_WORDS;
      tasks[at] = KERNEL_INDICES[kernel];
      for (let i = 0; i < numbers.length; i++) tasks[at + 1 + i] = numbers[i] ?? 0;
    });
    const count = calls.length;
    if (count <= 1 || this.#workers.length === 0) {
      for (let task = 0; task < count; task++) this.#runPart(task);
    } else this.#job.run(count, 0, this.#runPart, LOOKS);
  }
}

/** Built with relaxed SIMD where there is such a build and it can run: the same bits in fewer instructions. */
function loadModule(name: ModuleName, simd: Simd): WasmModule {
  const wasm = compiledUrl(`engine/sim/${name}.wasm`);
  const relaxed = compiledUrl(`engine/sim/${name}.relaxed.wasm`);
  // A checkout that was started without being built whole has none of them.
  if (!existsSync(wasm)) buildLate();
  try {
    const module = simd === "relaxed" ? relaxedModule(relaxed) : undefined;
    return module ?? new Module(readFileSync(wasm));
  } catch (error) {
    throw new EngineError(
      "engine.sim.kernel",
      `the simulator's kernel cannot be loaded from ${wasm.pathname}: ${messageOf(error)}`,
      { remedy: "Build it: npm run build", cause: error },
    );
  }
}
