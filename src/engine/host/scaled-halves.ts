import { readFileSync } from "node:fs";
import { compiledUrl } from "../../util/source-layout.ts";
import { Instance, Module } from "../../util/webassembly.ts";
import type { KernelExports } from "./kernel-job.ts";
import { SharedMemory } from "./memory.ts";

/** Numbers converted in one go: they and their copies stay in the second-level cache. */
const CHUNK = 1 << 13;
const NUMBERS_AT = 1024;
const LOST_AT = NUMBERS_AT + 4 * CHUNK;
const HALVES_AT = LOST_AT + 4 * CHUNK;

/** fp32 numbers as fp16 times a power of two, with what rounding loses, by WebAssembly's vectors. For one thread. */
export class ScaledHalves {
  readonly #kernels: KernelExports;
  readonly #numbers: Float32Array;
  readonly #lost: Float32Array;
  readonly #halves: Uint16Array;

  /** Throws where the compiled kernels are missing. */
  constructor() {
    const { memory, shared } = new SharedMemory(HALVES_AT + 2 * CHUNK);
    const module = new Module(readFileSync(compiledUrl("engine/host/kernels.wasm")));
    this.#kernels = new Instance(module, { env: { memory } }).exports as unknown as KernelExports;
    this.#numbers = new Float32Array(shared, NUMBERS_AT, CHUNK);
    this.#lost = new Float32Array(shared, LOST_AT, CHUNK);
    this.#halves = new Uint16Array(shared, HALVES_AT, CHUNK);
  }

  /** Adds `lost`, as long as they, to numbers. Returns the largest magnitude; NaN where one of the sums is none. */
  addLost(numbers: Float32Array, lost: Float32Array | undefined): number {
    let largest = 0;
    this.#lost.fill(0);
    for (let start = 0; start < numbers.length; start += CHUNK) {
      const count = Math.min(CHUNK, numbers.length - start);
      const part = numbers.subarray(start, start + count);
      this.#numbers.set(part);
      if (lost !== undefined) this.#lost.set(lost.subarray(start, start + count));
      const found = this.#kernels.addLost(NUMBERS_AT, LOST_AT, count);
      largest = Number.isNaN(found) ? found : Math.max(largest, found);
      if (lost !== undefined) part.set(this.#numbers.subarray(0, count));
    }
    return largest;
  }

  /**
   * Numbers times `scale`, a power of two, to fp16, nearest-even. They become what a reader gets, and `lost` what they
   * were beyond that.
   */
  write(
    numbers: Float32Array,
    lost: Float32Array | undefined,
    target: Uint16Array,
    scale: number,
  ): void {
    for (let start = 0; start < numbers.length; start += CHUNK) {
      const count = Math.min(CHUNK, numbers.length - start);
      const part = numbers.subarray(start, start + count);
      this.#numbers.set(part);
      this.#kernels.roundScaled(NUMBERS_AT, LOST_AT, HALVES_AT, count, scale, 1 / scale);
      target.set(this.#halves.subarray(0, count), start);
      part.set(this.#numbers.subarray(0, count));
      lost?.set(this.#lost.subarray(0, count), start);
    }
  }

  /** fp16 times `factor` to fp32; `source` has at least as many elements as `target`. */
  read(source: Uint16Array, target: Float32Array, factor: number): void {
    for (let start = 0; start < target.length; start += CHUNK) {
      const count = Math.min(CHUNK, target.length - start);
      this.#halves.set(source.subarray(start, start + count));
      this.#kernels.readScaled(HALVES_AT, NUMBERS_AT, count, factor);
      target.set(this.#numbers.subarray(0, count), start);
    }
  }
}
