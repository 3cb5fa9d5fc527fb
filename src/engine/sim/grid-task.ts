/** What the threads of a pool share besides the memory they multiply in. */
export const CONTROL_GENERATION = 0;
/** Generation in the upper bits, next task in the lower: a thread that saw an earlier job takes nothing. */
export const CONTROL_NEXT = 1;
export const CONTROL_COUNT = 2;
export const CONTROL_COMPLETED = 3;
export const CONTROL_STOP = 4;
export const CONTROL_LENGTH = 8;

const TASK_BITS = 18;
export const MAXIMUM_TASKS = 1 << 16;
/** kernel, left, right, result, rows, depth, columns, result stride, truncate */
export const TASK_WORDS = 9;

export const GRID_KERNELS = ["narrow", "medium", "wide", "plain"] as const;
export type GridKernel = (typeof GRID_KERNELS)[number];

export type GridExports = Readonly<Record<GridKernel, (...numbers: readonly number[]) => void>>;

export interface GridShared {
  readonly control: Int32Array;
  readonly tasks: Uint32Array;
}

export function firstTask(generation: number): number {
  return (generation & 0xfff) << TASK_BITS;
}

/** Takes tasks until none is left. */
export function runTasks({ control, tasks }: GridShared, kernels: GridExports): void {
  for (;;) {
    const next = Atomics.load(control, CONTROL_NEXT);
    if (next < 0) return;
    const task = next & ((1 << TASK_BITS) - 1);
    const count = Atomics.load(control, CONTROL_COUNT);
    if (task >= count) return;
    if (Atomics.compareExchange(control, CONTROL_NEXT, next, next + 1) !== next) continue;
    const start = task * TASK_WORDS;
    const kernel = GRID_KERNELS[tasks[start] ?? 0] ?? "wide";
    kernels[kernel](...tasks.subarray(start + 1, start + TASK_WORDS));
    if (Atomics.add(control, CONTROL_COMPLETED, 1) + 1 === count)
      Atomics.notify(control, CONTROL_COMPLETED);
  }
}
