import { readFileSync } from "node:fs";
import { compiledUrl } from "../../util/source-layout.ts";
import type { KernelExports } from "./kernel-job.ts";
import { SharedMemory } from "./memory.ts";
import { Instance, Module } from "../../util/webassembly.ts";

/** Numbers converted in one go: they and their copies stay in the second-level cache. */
const CHUNK = 1 << 13;
const SINGLES_AT = 1024;
const HALVES_AT = SINGLES_AT + 4 * CHUNK;

/**
 * Converts between fp32 and fp16 with WebAssembly's vectors, wherever the numbers stand: native memory too, which
 * no WebAssembly reaches, through a small memory of its own. For one thread. NaNs keep their payload on the way to
 * fp32.
 */
export class HalfConverter {
  readonly #kernels: KernelExports;
  readonly #singles: Float32Array;
  readonly #halves: Uint16Array;

  /** Throws where the compiled kernels are missing. */
  constructor() {
    const { memory, shared } = new SharedMemory(HALVES_AT + 2 * CHUNK);
    const module = new Module(readFileSync(compiledUrl("engine/host/kernels.wasm")));
    const instance = new Instance(module, { env: { memory } });
    this.#kernels = instance.exports as unknown as KernelExports;
    this.#singles = new Float32Array(shared, SINGLES_AT, CHUNK);
    this.#halves = new Uint16Array(shared, HALVES_AT, CHUNK);
  }

  /** Nearest-even; `target` has at least as many elements. */
  toHalves(source: Float32Array, target: Uint16Array): void {
    for (let start = 0; start < source.length; start += CHUNK) {
      const count = Math.min(CHUNK, source.length - start);
      this.#singles.set(source.subarray(start, start + count));
      this.#kernels.float32ToFloat16(SINGLES_AT, HALVES_AT, count);
      target.set(this.#halves.subarray(0, count), start);
    }
  }

  /** Exact, times `factor`, a power of two; `source` has at least as many elements. */
  toSingles(source: Uint16Array, target: Float32Array, factor = 1): void {
    for (let start = 0; start < target.length; start += CHUNK) {
      const count = Math.min(CHUNK, target.length - start);
      this.#halves.set(source.subarray(start, start + count));
      if (factor === 1) this.#kernels.float16ToFloat32(HALVES_AT, SINGLES_AT, count);
      else this.#kernels.readScaled(HALVES_AT, SINGLES_AT, count, factor);
      target.set(this.#singles.subarray(0, count), start);
    }
  }

  /** `target` += `source` times `factor`, a power of two, in fp32. */
  add(source: Uint16Array, target: Float32Array, factor = 1): void {
    for (let start = 0; start < target.length; start += CHUNK) {
      const count = Math.min(CHUNK, target.length - start);
      this.#halves.set(source.subarray(start, start + count));
      this.#singles.set(target.subarray(start, start + count));
      this.#kernels.addFloat16(HALVES_AT, SINGLES_AT, count, factor);
      target.set(this.#singles.subarray(0, count), start);
    }
  }
}
