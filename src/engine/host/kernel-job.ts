import type { SharedMemory } from "./memory.ts";
import { SharedJob } from "./shared-job.ts";

/** Items of one job; longer ones are run in parts. */
export const MAXIMUM_ITEMS = 1 << 16;
/** Unsigned 32-bit words of an item: the memory's number, addresses and sizes in the kernel's own order. */
export const ITEM_WORDS = 8;
export const SCALAR_COUNT = 16;

export const KERNEL_ADAMW = 1;
export const KERNEL_SUM_OF_SQUARES = 2;
export const KERNEL_EMBEDDING_GRADIENT = 3;
export const KERNEL_ROWS = 4;

/** Memory that kernels work on. */
export type KernelMemory = Pick<SharedMemory, "memory" | "shared">;

/** Runs kernels over all of some items. */
export interface KernelRunner {
  /** The number under which items name a memory. */
  readonly numberOf: (memory: KernelMemory) => number;
  /** `ITEM_WORDS` words an item; one number an item, valid until the next job. */
  readonly run: (kernel: number, items: Uint32Array, scalars: readonly number[]) => Float64Array;
}

/** What every thread of a pool shares. */
export interface JobArea {
  readonly job: SharedJob;
  readonly items: Uint32Array;
  readonly scalars: Float64Array;
  /** One number an item. */
  readonly results: Float64Array;
}

export interface JobBuffers {
  readonly job: SharedArrayBuffer;
  readonly items: SharedArrayBuffer;
  readonly scalars: SharedArrayBuffer;
  readonly results: SharedArrayBuffer;
}

export function allocateJobBuffers(): JobBuffers {
  return {
    job: new SharedJob().buffer,
    items: new SharedArrayBuffer(MAXIMUM_ITEMS * ITEM_WORDS * 4),
    scalars: new SharedArrayBuffer(SCALAR_COUNT * 8),
    results: new SharedArrayBuffer(MAXIMUM_ITEMS * 8),
  };
}

export function openJobBuffers(buffers: JobBuffers): JobArea {
  return {
    job: new SharedJob(buffers.job),
    items: new Uint32Array(buffers.items),
    scalars: new Float64Array(buffers.scalars),
    results: new Float64Array(buffers.results),
  };
}

/** The exports of assembly/kernels.ts. */
export interface KernelExports {
  adamw(...numbers: readonly number[]): void;
  sumOfSquares(x: number, count: number, isHalf: number): number;
  embeddingGradient(...numbers: readonly number[]): void;
  float32ToFloat16(source: number, target: number, count: number): void;
  float16ToFloat32(source: number, target: number, count: number): void;
  addFloat16(source: number, target: number, count: number, factor: number): void;
  addLost(numbers: number, lost: number, count: number): number;
  roundScaled(...numbers: readonly number[]): void;
  readScaled(source: number, target: number, count: number, factor: number): void;
  runRows(...numbers: readonly number[]): void;
  sumWithProduct(sum: number, a: number, b: number): number;
}

/** One item of a job of that kind. `kernelsOf` gives the kernels over a memory. */
export function runItem(
  kind: number,
  area: Omit<JobArea, "job">,
  item: number,
  kernelsOf: (memory: number) => KernelExports,
): void {
  const { items, scalars } = area;
  const start = item * ITEM_WORDS;
  const word = (place: number): number => items[start + place] ?? 0;
  const scalar = (place: number): number => scalars[place] ?? 0;
  const kernels = kernelsOf(word(0));
  switch (kind) {
    case KERNEL_ADAMW:
      kernels.adamw(
        word(7),
        word(1),
        word(2),
        word(3),
        word(4),
        word(5),
        scalar(0),
        scalar(1),
        scalar(2),
        scalar(3),
        scalar(4),
        scalar(5),
        scalar(6),
        scalar(7),
        word(6) === 1 ? scalar(8) : 1,
        scalar(9),
      );
      return;
    case KERNEL_SUM_OF_SQUARES:
      area.results[item] = kernels.sumOfSquares(word(1), word(2), word(3));
      return;
    case KERNEL_EMBEDDING_GRADIENT:
      kernels.embeddingGradient(
        word(1),
        word(2),
        word(3),
        word(4),
        word(5),
        word(6),
        word(7),
        scalar(0),
        scalar(1),
      );
      return;
    case KERNEL_ROWS:
      kernels.runRows(word(1), word(2), word(3), word(4), word(5));
      return;
    default:
  }
}
