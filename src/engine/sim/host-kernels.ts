import { bindDispatch } from "../../plan/regions.ts";
import type { Region } from "../../plan/regions.ts";
import type { Dispatch, Plan } from "../../plan/plan.ts";
import { Instance } from "../../util/webassembly.ts";
import type { BufferView } from "../engine.ts";
import { kernelSuits, prepareKernel, scratchBytes } from "../host/host-kernels.ts";
import type { KernelPlace } from "../host/host-kernels.ts";
import { ITEM_WORDS, runItem } from "../host/kernel-job.ts";
import type { KernelExports, KernelRunner } from "../host/kernel-job.ts";
import { hostKernels } from "../host/kernel-module.ts";
import type { Arena } from "./arena.ts";

/** The host's kernels over a simulated engine's memory, on the thread that asks: the bits of the CPU engine. */
export class ArenaKernels implements KernelRunner {
  readonly #arena: Arena;
  #kernels: KernelExports | undefined;

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  /** There is one memory. */
  readonly numberOf = (): number => 0;

  readonly run = (kernel: number, items: Uint32Array, scalars: readonly number[]): Float64Array => {
    const count = items.length / ITEM_WORDS;
    const results = new Float64Array(count);
    const area = { items, scalars: Float64Array.from(scalars), results };
    for (let item = 0; item < count; item++) runItem(kernel, area, item, () => this.#exports);
    return results;
  };

  /**
   * Runs the kernel of a dispatch over its buffers where it suits them; whether it did. Otherwise the MIL function is
   * to be run.
   */
  runDispatch(plan: Plan, dispatch: Dispatch, viewOf: (region: Region) => BufferView): boolean {
    const arena = this.#arena;
    const bound = bindDispatch(plan, dispatch);
    const place = (region: Region): KernelPlace => ({
      memory: arena,
      byteOffset: viewOf(region).byteOffset,
    });
    const room = scratchBytes(plan, bound);
    const address = room && arena.allocate(room.byteLength);
    const scratch = (): KernelPlace | undefined =>
      address === undefined ? undefined : { memory: arena, byteOffset: address };
    const places = { place, scratch };
    if (!kernelSuits(plan, bound, places)) return false;
    prepareKernel(plan, bound, { ...places, pool: this, view: viewOf })();
    return true;
  }

  get #exports(): KernelExports {
    this.#kernels ??= new Instance(hostKernels().module, { env: { memory: this.#arena.memory } })
      .exports as unknown as KernelExports;
    return this.#kernels;
  }
}
