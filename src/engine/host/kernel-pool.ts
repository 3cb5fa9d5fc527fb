import { MessageChannel, Worker } from "node:worker_threads";
import type { MessagePort } from "node:worker_threads";
import { compiledUrl } from "../../util/source-layout.ts";
import { EngineError } from "../errors.ts";
import {
  allocateJobBuffers,
  ITEM_WORDS,
  KERNEL_ROWS,
  MAXIMUM_ITEMS,
  openJobBuffers,
  runItem,
} from "./kernel-job.ts";
import type {
  JobArea,
  JobBuffers,
  KernelExports,
  KernelMemory,
  KernelRunner,
} from "./kernel-job.ts";
import { hostKernels } from "./kernel-module.ts";
import type { ProductSums } from "./kernel-module.ts";
import type { KernelMessage, KernelWorkerData } from "./kernel-worker.ts";
import { Instance } from "../../util/webassembly.ts";
import type { WasmModule } from "../../util/webassembly.ts";

/** Looks for threads that end a token: a few microseconds behind this one. */
const ROWS_LOOKS = 2000;

interface PoolWorker {
  readonly worker: Worker;
  readonly port: MessagePort;
}

/**
 * Runs WebAssembly kernels over shared memories on this thread and `threads - 1` workers. A job returns when all
 * of its items are done. How items fall to threads never changes a result: each writes places of its own.
 */
export class KernelPool implements KernelRunner {
  readonly threads: number;
  readonly #module: WasmModule;
  readonly #area: JobArea;
  readonly #buffers: JobBuffers;
  readonly #workers: PoolWorker[] = [];
  readonly #numbers = new Map<KernelMemory, number>();
  readonly #users = new Map<KernelMemory, number>();
  readonly #kernels = new Map<number, KernelExports>();
  #nextNumber = 0;
  #hasStarted = false;
  #hasRun = false;

  /** Throws `EngineError` where the compiled kernels are missing. */
  constructor(threads: number, sums?: ProductSums) {
    this.#module = hostKernels(sums).module;
    this.threads = threads;
    this.#buffers = allocateJobBuffers();
    this.#area = openJobBuffers(this.#buffers);
  }

  /** The other threads are started by the first job that has a use for them. */
  #start(): void {
    this.#hasStarted = true;
    for (let thread = 1; thread < this.threads; thread++) {
      const { port1, port2 } = new MessageChannel();
      const data: KernelWorkerData = { module: this.#module, buffers: this.#buffers, port: port2 };
      const worker = new Worker(compiledUrl("engine/host/kernel-worker.ts"), {
        workerData: data,
        transferList: [port2],
      });
      // A worker that cannot start leaves its share to the others.
      worker.on("error", () => undefined);
      worker.unref();
      port1.unref();
      this.#workers.push({ worker, port: port1 });
    }
    for (const [{ memory }, number] of this.#numbers)
      this.#tell({ kind: "memory", number, memory });
  }

  readonly #runItem = (item: number): void => {
    runItem(this.#area.job.kind, this.#area, item, this.#kernelsOf);
  };

  readonly #kernelsOf = (memory: number): KernelExports => {
    const kernels = this.#kernels.get(memory);
    if (kernels === undefined) throw new EngineError("engine.cpu.kernels", "a memory is not known");
    return kernels;
  };

  /** The number under which items name a memory. */
  numberOf(memory: KernelMemory): number {
    const known = this.#numbers.get(memory);
    if (known !== undefined) return known;
    const number = this.#nextNumber++;
    this.#numbers.set(memory, number);
    const instance = new Instance(this.#module, { env: { memory: memory.memory } });
    this.#kernels.set(number, instance.exports as unknown as KernelExports);
    this.#tell({ kind: "memory", number, memory: memory.memory });
    return number;
  }

  /** Says that a plan's kernels work on a memory; plans may share one. */
  retain(memory: KernelMemory): void {
    this.#users.set(memory, (this.#users.get(memory) ?? 0) + 1);
  }

  /** Says that a plan is done with a memory; after the last one no thread holds on to it. */
  release(memory: KernelMemory): void {
    const users = (this.#users.get(memory) ?? 1) - 1;
    if (users > 0) {
      this.#users.set(memory, users);
      return;
    }
    this.#users.delete(memory);
    const number = this.#numbers.get(memory);
    if (number === undefined) return;
    this.#numbers.delete(memory);
    this.#kernels.delete(number);
    this.#tell({ kind: "forget", number });
  }

  /**
   * Runs a kernel over all items (`ITEM_WORDS` words each) and returns one number an item, valid until the next
   * job. The first of all jobs starts no threads where it is `brief`: it is done before they are there.
   */
  run(
    kernel: number,
    items: Uint32Array,
    scalars: readonly number[],
    { isBrief = false }: { readonly isBrief?: boolean } = {},
  ): Float64Array {
    const count = items.length / ITEM_WORDS;
    if (isBrief && !this.#hasRun) {
      this.#hasRun = true;
      return this.#offer(kernel, items, scalars);
    }
    this.#hasRun = true;
    if (count <= MAXIMUM_ITEMS) return this.#runPart(kernel, items, scalars);
    const results = new Float64Array(count);
    for (let start = 0; start < count; start += MAXIMUM_ITEMS) {
      const part = items.subarray(start * ITEM_WORDS, (start + MAXIMUM_ITEMS) * ITEM_WORDS);
      results.set(this.#runPart(kernel, part, scalars), start);
    }
    return results;
  }

  #runPart(kernel: number, items: Uint32Array, scalars: readonly number[]): Float64Array {
    const count = items.length / ITEM_WORDS;
    if (count > 1 && !this.#hasStarted) this.#start();
    return this.#offer(kernel, items, scalars);
  }

  #offer(kernel: number, items: Uint32Array, scalars: readonly number[]): Float64Array {
    const count = items.length / ITEM_WORDS;
    this.#area.items.set(items);
    this.#area.scalars.set(scalars);
    const looks = kernel === KERNEL_ROWS ? ROWS_LOOKS : 0;
    this.#area.job.run(count, kernel, this.#runItem, looks);
    return this.#area.results.subarray(0, count);
  }

  async close(): Promise<void> {
    this.#tell({ kind: "stop" });
    this.#area.job.wake();
    for (const { worker, port } of this.#workers) {
      await worker.terminate();
      port.close();
    }
    this.#workers.length = 0;
  }

  #tell(message: KernelMessage): void {
    for (const { port } of this.#workers) port.postMessage(message);
  }
}
