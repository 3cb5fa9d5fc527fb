import { readFileSync } from "node:fs";
import { messageOf } from "../util/errors.ts";
import type { RandomState } from "../util/random.ts";
import { compiledUrl } from "../util/source-layout.ts";
import { Instance, Memory, Module } from "../util/webassembly.ts";
import type { WasmModule } from "../util/webassembly.ts";
import { ModelError } from "./errors.ts";

/** Points that are drawn at once; what is written of them stays in a processor's nearer caches. */
const POINTS = 4096;
/** Bytes from the start of a thread's memory: the generator, points (f64 x, y), their squares (f64), numbers (fp32). */
const STATE = 1024;
const POINT_PLACE = 4096;
const SQUARE_PLACE = POINT_PLACE + 16 * POINTS;
const NUMBER_PLACE = SQUARE_PLACE + 8 * POINTS + 64;
const PAGES = Math.ceil((NUMBER_PLACE + 8 * POINTS) / 65536);

/** The exports of assembly/normal.ts. */
interface NormalKernels {
  drawPoints(state: number, points: number, squares: number, count: number): void;
  normalNumbers(
    points: number,
    squares: number,
    target: number,
    count: number,
    standardDeviation: number,
  ): void;
}

/** The compiled kernels, for threads to share. Throws `ModelError` where the build's file is missing. */
export function normalModule(): WasmModule {
  const url = compiledUrl("model/normal.wasm");
  try {
    return new Module(readFileSync(url));
  } catch (error) {
    throw new ModelError(
      "model.kernels",
      `the kernels that draw weights cannot be loaded from ${url.pathname}: ${messageOf(error)}`,
      { remedy: "Build them: npm run build", cause: error },
    );
  }
}

/**
 * Fills arrays with normal numbers: pairs from points drawn in the unit disc (Marsaglia's polar method), one generator
 * an array. The same bits on every machine.
 */
export class NormalNumbers {
  readonly #kernels: NormalKernels;
  readonly #state: Uint32Array;
  readonly #numbers: Float32Array;

  constructor(module: WasmModule) {
    const memory = new Memory({ initial: PAGES, maximum: PAGES, shared: true });
    const instance = new Instance(module, { env: { memory } });
    this.#kernels = instance.exports as unknown as NormalKernels;
    this.#state = new Uint32Array(memory.buffer, STATE, 4);
    this.#numbers = new Float32Array(memory.buffer, NUMBER_PLACE, 2 * POINTS);
  }

  /** Fills an array with numbers of a standard deviation around 0, from a generator that is in `state`. */
  fill(state: RandomState, standardDeviation: number, target: Float32Array): void {
    this.#state.set(state);
    for (let start = 0; start < target.length; start += this.#numbers.length) {
      const count = Math.min(this.#numbers.length, target.length - start);
      const points = Math.ceil(count / 2);
      this.#kernels.drawPoints(STATE, POINT_PLACE, SQUARE_PLACE, points);
      // The kernel takes two points at once; what stands behind the last is computed and left.
      const even = points + (points % 2);
      this.#kernels.normalNumbers(POINT_PLACE, SQUARE_PLACE, NUMBER_PLACE, even, standardDeviation);
      target.set(this.#numbers.subarray(0, count), start);
    }
  }
}
