import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { RandomState } from "../util/random.ts";
import { compiledUrl } from "../util/source-layout.ts";
import type { WasmModule } from "../util/webassembly.ts";
import { ModelError } from "./errors.ts";
import { NormalNumbers, normalModule } from "./normal-numbers.ts";

/** An array of normal numbers that is to be drawn. */
export interface NormalArray {
  /** The generator it begins with. */
  readonly state: RandomState;
  readonly standardDeviation: number;
  readonly target: Float32Array;
}

/** What a drawing thread is given: all arrays, and what the threads agree by. */
export interface DrawWorkerData {
  readonly module: WasmModule;
  readonly arrays: readonly NormalArray[];
  readonly progress: SharedArrayBuffer;
}

/** Words of `progress`: the next array to be taken, and how many are done. */
const NEXT = 0;
const DONE = 1;
const FAILED = 2;
const WORDS = 3;

/** A thread takes some 30 ms to start, in which one draws as many numbers. */
const NUMBERS_A_THREAD = 4e6;
const MOST_THREADS = 16;

let module: WasmModule | undefined;

/**
 * Draws arrays, over threads where they are long and in shared memory. Each array has a generator of its own, so the
 * number of threads and who takes which changes nothing.
 */
export function drawNormals(
  arrays: readonly NormalArray[],
  threads: number = availableParallelism(),
): void {
  if (arrays.length === 0) return;
  module ??= normalModule();
  const shared = arrays.filter(({ target }) => target.buffer instanceof SharedArrayBuffer);
  const rest = arrays.filter(({ target }) => !(target.buffer instanceof SharedArrayBuffer));
  const numberCount = shared.reduce((sum, { target }) => sum + target.length, 0);
  const wanted = Math.min(
    threads,
    MOST_THREADS,
    shared.length,
    Math.ceil(numberCount / NUMBERS_A_THREAD),
  );
  // The longest first: nobody begins a long one when the others are done.
  const sorted = shared.toSorted((a, b) => b.target.length - a.target.length);
  const progress = new SharedArrayBuffer(4 * WORDS);
  const words = new Int32Array(progress);
  const data: DrawWorkerData = { module, arrays: sorted, progress };
  const workers = Array.from({ length: Math.max(0, wanted - 1) }, () => {
    const worker = new Worker(compiledUrl("model/draw-worker.ts"), { workerData: data });
    // A thread that cannot start leaves its share to the others.
    worker.on("error", () => undefined);
    worker.unref();
    return worker;
  });
  const numbers = new NormalNumbers(module);
  for (const { state, standardDeviation, target } of rest) {
    numbers.fill(state, standardDeviation, target);
  }
  drawInTurn(data, numbers);
  for (
    let done = Atomics.load(words, DONE);
    done < sorted.length;
    done = Atomics.load(words, DONE)
  ) {
    Atomics.wait(words, DONE, done);
  }
  for (const worker of workers) void worker.terminate();
  if (Atomics.load(words, FAILED) > 0) {
    throw new ModelError("model.weights.drawn", "a thread could not draw its share of the weights");
  }
}

/** Draws arrays that nobody has taken, until there are none left; one thread of several does this. */
export function drawInTurn({ arrays, progress }: DrawWorkerData, numbers: NormalNumbers): void {
  const words = new Int32Array(progress);
  for (;;) {
    const array = arrays[Atomics.add(words, NEXT, 1)];
    if (array === undefined) return;
    try {
      numbers.fill(array.state, array.standardDeviation, array.target);
    } catch {
      Atomics.add(words, FAILED, 1);
    }
    Atomics.add(words, DONE, 1);
    Atomics.notify(words, DONE);
  }
}
