import type { HostTensor } from "../../mil/host-tensor.ts";
import { float16Value } from "../../util/float16.ts";
import { Arena } from "./arena.ts";
import { GridProducts } from "./grid-products.ts";
import { ArenaKernels } from "./host-kernels.ts";
import { HalfTensor } from "./half-tensor.ts";
import { Pool } from "./pool.ts";
import type { Simd } from "./pool.ts";
import { roundToHalf } from "./rounding.ts";
import type { Ties } from "./rounding.ts";
import { EXPONENTIAL_KNOTS } from "./fitted-tables.ts";

/** Elements that are worth a task of their own. */
export const TASK_ELEMENTS = 8192;

/** What a simulated engine computes with: shared memory, threads over it, and tables in it. */
export class Machine {
  readonly arena = new Arena();
  readonly pool: Pool;
  readonly hostKernels = new ArenaKernels(this.arena);
  readonly products: GridProducts;
  /** Address of the knots of the fitted exponential, doubles. */
  readonly knots: number;
  readonly #tables = new Map<string, number>();

  /** Throws `EngineError` where compiled kernels are missing. */
  constructor(threads: number, simd?: Simd) {
    this.pool = new Pool(threads, this.arena, simd);
    this.products = new GridProducts(this.arena, this.pool);
    this.knots = this.arena.keep(EXPONENTIAL_KNOTS.byteLength);
    this.arena.doubles(this.knots, EXPONENTIAL_KNOTS.length).set(EXPONENTIAL_KNOTS);
  }

  /** The tensor in the arena. Its numbers are fp16 numbers already. */
  place(tensor: HostTensor, isKept = false): HalfTensor {
    if (tensor instanceof HalfTensor) return tensor;
    const placed = HalfTensor.allocate(this.arena, tensor.dataType, tensor.shape, isKept);
    placed.numbers().set(tensor.data);
    return placed;
  }

  /** Address of the 65536 results, rounded to fp16, of a function of one fp16 number; computed when first used. */
  table(name: string, compute: (x: number) => number, ties: Ties): number {
    const key = `${ties} ${name}`;
    const known = this.#tables.get(key);
    if (known !== undefined) return known;
    const results = new Float64Array(65536);
    for (let bits = 0; bits < results.length; bits++) results[bits] = compute(float16Value(bits));
    roundToHalf(results, ties);
    const address = this.arena.keep(4 * results.length);
    this.arena.floats(address, results.length).set(results);
    this.#tables.set(key, address);
    return address;
  }

  /** Rounds `count` fp32 numbers to fp16, from one place to another or in place; the host's ties go to even. */
  round(from: number, to: number, count: number, ties: Ties = "half-even"): void {
    this.pool.split("round", [from, to, Number(ties === "half-away")], count, TASK_ELEMENTS);
  }

  /** Copies `count` fp32 numbers, or adds them to those at `to`. */
  write(from: number, to: number, count: number, isAdded: boolean): void {
    this.pool.split(isAdded ? "accumulate" : "copy", [from, to], count, TASK_ELEMENTS);
  }

  close(): Promise<void> {
    return this.pool.close();
  }
}
