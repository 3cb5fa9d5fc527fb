export const MAXIMUM_TASKS = 1 << 14;
/** A kernel and up to 15 arguments. */
export const TASK_WORDS = 16;

/** What the product kernel wants for itself on each thread: a tile and an expanded group (grid.ts). */
export const SCRATCH_BYTES = 336 + 128 * 128;

/** WebAssembly modules and the kernels in them. Every argument is a 32-bit integer. */
export const MODULES = {
  grid: ["multiply"],
  pack: ["pack"],
  elementwise: ["binary", "lookup", "round", "copy", "accumulate"],
  move: ["move"],
  reduce: ["rowSums", "columnSums", "extremes", "softmax", "exponentialSums", "normalize"],
} as const;

export type ModuleName = keyof typeof MODULES;
export type KernelName = (typeof MODULES)[ModuleName][number];

export const MODULE_NAMES = Object.keys(MODULES) as readonly ModuleName[];
const KERNEL_NAMES: readonly KernelName[] = Object.values(MODULES).flat();
export const KERNEL_INDICES = Object.fromEntries(
  KERNEL_NAMES.map((name, index) => [name, index]),
) as Readonly<Record<KernelName, number>>;

type Kernel = (...numbers: readonly number[]) => void;

export interface Kernels {
  /** By `KERNEL_INDICES`. */
  readonly run: readonly Kernel[];
  /** Gives the thread a scratch of `SCRATCH_BYTES`. */
  readonly useScratch: (address: number) => void;
}

/** Exports of the modules, in the order of `MODULE_NAMES`, as kernels. */
export function kernelsOf(exports: readonly Readonly<Record<string, unknown>>[]): Kernels {
  const all: Readonly<Record<string, unknown>> = Object.assign({}, ...exports);
  return {
    run: KERNEL_NAMES.map((name) => all[name] as Kernel),
    useScratch: all["useScratch"] as (address: number) => void,
  };
}

/** Spreading the words would cost more than a small task. */
export function runTask(tasks: Uint32Array, at: number, kernels: Kernels): void {
  const kernel = kernels.run[tasks[at] ?? 0];
  const word = (i: number): number => tasks[at + i] ?? 0;
  kernel?.(
    word(1),
    word(2),
    word(3),
    word(4),
    word(5),
    word(6),
    word(7),
    word(8),
    word(9),
    word(10),
    word(11),
    word(12),
    word(13),
    word(14),
    word(15),
  );
}
