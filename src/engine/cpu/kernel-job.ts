/**
 * The protocol between the engine's thread and its kernel workers, all in shared memory.
 *
 * A job is a list of items that any thread may take in any order. `NEXT` holds the job's generation in its upper
 * bits and the next item in its lower ones, so that a thread which saw an earlier job can never take an item of
 * this one: its compare-and-exchange fails. -1 means that there is no job.
 */
export const CONTROL_NEXT = 0;
export const CONTROL_COUNT = 1;
export const CONTROL_COMPLETED = 2;
/** Raised for every job; workers sleep on it. */
export const CONTROL_GENERATION = 3;
export const CONTROL_KERNEL = 4;
export const CONTROL_LENGTH = 8;

const ITEM_BITS = 20;
/** Items of one job; longer ones are run in parts. */
export const MAXIMUM_ITEMS = 1 << 16;
/** Unsigned 32-bit words of an item: the memory's number, addresses and sizes in the kernel's own order. */
export const ITEM_WORDS = 8;
export const SCALAR_COUNT = 16;

export const NO_JOB = -1;

export function firstItem(generation: number): number {
  return (generation & 0x7ff) << ITEM_BITS;
}

export function itemNumber(next: number): number {
  return next & ((1 << ITEM_BITS) - 1);
}

export const KERNEL_ADAMW = 1;
export const KERNEL_SUM_OF_SQUARES = 2;
export const KERNEL_EMBEDDING_GRADIENT = 3;
export const KERNEL_FLOAT32_TO_FLOAT16 = 4;
export const KERNEL_FLOAT16_TO_FLOAT32 = 5;

/** What every thread of a pool shares. */
export interface JobArea {
  readonly control: Int32Array;
  readonly items: Uint32Array;
  readonly scalars: Float64Array;
  /** One number an item. */
  readonly results: Float64Array;
}

export interface JobBuffers {
  readonly control: SharedArrayBuffer;
  readonly items: SharedArrayBuffer;
  readonly scalars: SharedArrayBuffer;
  readonly results: SharedArrayBuffer;
}

export function allocateJobBuffers(): JobBuffers {
  return {
    control: new SharedArrayBuffer(CONTROL_LENGTH * 4),
    items: new SharedArrayBuffer(MAXIMUM_ITEMS * ITEM_WORDS * 4),
    scalars: new SharedArrayBuffer(SCALAR_COUNT * 8),
    results: new SharedArrayBuffer(MAXIMUM_ITEMS * 8),
  };
}

export function openJobBuffers(buffers: JobBuffers): JobArea {
  return {
    control: new Int32Array(buffers.control),
    items: new Uint32Array(buffers.items),
    scalars: new Float64Array(buffers.scalars),
    results: new Float64Array(buffers.results),
  };
}

/** The exports of assembly/kernels.ts. */
export interface KernelExports {
  adamw(...numbers: readonly number[]): void;
  sumOfSquares(x: number, count: number): number;
  embeddingGradient(...numbers: readonly number[]): void;
  float32ToFloat16(source: number, target: number, count: number): void;
  float16ToFloat32(source: number, target: number, count: number): void;
  addFloat16(source: number, target: number, count: number): void;
}

/** Takes items until there are none left. `kernelsOf` gives the kernels over a memory. */
export function runItems(area: JobArea, kernelsOf: (memory: number) => KernelExports): void {
  const { control } = area;
  for (;;) {
    const next = Atomics.load(control, CONTROL_NEXT);
    if (next === NO_JOB) return;
    const item = itemNumber(next);
    const count = Atomics.load(control, CONTROL_COUNT);
    if (item >= count) return;
    if (Atomics.compareExchange(control, CONTROL_NEXT, next, next + 1) !== next) continue;
    runItem(area, item, kernelsOf);
    if (Atomics.add(control, CONTROL_COMPLETED, 1) + 1 === count)
      Atomics.notify(control, CONTROL_COMPLETED);
  }
}

function runItem(area: JobArea, item: number, kernelsOf: (memory: number) => KernelExports): void {
  const { items, scalars } = area;
  const start = item * ITEM_WORDS;
  const word = (place: number): number => items[start + place] ?? 0;
  const scalar = (place: number): number => scalars[place] ?? 0;
  const kernels = kernelsOf(word(0));
  switch (Atomics.load(area.control, CONTROL_KERNEL)) {
    case KERNEL_ADAMW:
      kernels.adamw(
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
      area.results[item] = kernels.sumOfSquares(word(1), word(2));
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
    case KERNEL_FLOAT32_TO_FLOAT16:
      kernels.float32ToFloat16(word(1), word(2), word(3));
      return;
    case KERNEL_FLOAT16_TO_FLOAT32:
      kernels.float16ToFloat32(word(1), word(2), word(3));
      return;
    default:
  }
}
