import type { Arena } from "./arena.ts";
import type { ProductRules } from "./arithmetic.ts";
import { gridMode, PLAIN_MODE } from "./grid-mode.ts";
import type { Numerics } from "./numerics.ts";
import type { KernelCall, Pool } from "./pool.ts";

/** A matrix in the arena: element (i, j) stands at `address + 4 * (i * rowStep + j * columnStep)`. */
export interface MatrixView {
  readonly address: number;
  readonly rowStep: number;
  readonly columnStep: number;
}

export interface ProductSizes {
  readonly rows: number;
  readonly depth: number;
  readonly columns: number;
}

/** One of several products of the same sizes; `result` is the address of [rows, columns]. */
export interface Product {
  readonly left: MatrixView;
  readonly right: MatrixView;
  readonly result: number;
}

/** `zero`: products of blocks in which bounds show that nothing counts; they are not computed. */
export const GRID_PATHS = ["zero", "narrow", "medium", "wide", "plain"] as const;
export type GridPath = (typeof GRID_PATHS)[number];

const GROUP = 4;
const PANEL = 8;
const SCALE = 2 ** 16;
const BOUNDS_BYTES = 16;
/** Steps of the depth that have a bound of their own, 4 bytes. */
const DEPTH_BLOCK = 64;
/** Multiply-accumulates that are worth a task of their own. */
const TASK_PRODUCTS = 2 ** 18;
/** Numbers that are worth a task of packing. */
const PACK_NUMBERS = 8192;
/** Tiles of a task whose operands, by chunks of the depth (grid.ts), stay in a core's caches. */
const TASK_GROUPS = 8;
const TASK_PANELS = 16;

interface Packed {
  readonly numbers: number;
  readonly bounds: number;
  readonly hasMagnitudes: boolean;
}

/**
 * Products on the engine's grid. Operands are packed with bounds of their products; the kernel picks for each tile
 * of 4 rows and 8 columns the narrowest path that is exact for it, so that the path never changes a bit.
 */
export class GridProducts {
  readonly #arena: Arena;
  readonly #pool: Pool;
  readonly #counters: number;

  constructor(arena: Arena, pool: Pool) {
    this.#arena = arena;
    this.#pool = pool;
    this.#counters = arena.keep(8 * GRID_PATHS.length);
    this.#counts().fill(0n);
  }

  /** Multiply-accumulates so far, by path: how often the bounds let the fast one run. */
  get counts(): Readonly<Record<GridPath, number>> {
    const [zero = 0, narrow = 0, medium = 0, wide = 0, plain = 0] = Array.from(
      this.#counts(),
      Number,
    );
    return { zero, narrow, medium, wide, plain };
  }

  /** Several products at once. Operands may be the same; results must not overlap anything. */
  multiply(
    products: readonly Product[],
    sizes: ProductSizes,
    rules: ProductRules,
    numerics: Numerics,
  ): void {
    const { rows, depth, columns } = sizes;
    if (rows === 0 || columns === 0) return;
    const calls: KernelCall[] = [];
    const lefts = new Map<number, Packed>();
    const rights = new Map<number, Packed>();
    const isExact = numerics === "exact";
    const hasNumbers = isExact && rules.special === "numbers";
    for (const { left, right } of products) {
      if (!lefts.has(left.address)) {
        const packed = this.#packed(rows, depth, GROUP, false);
        lefts.set(left.address, packed);
        const steps = { laneStep: left.rowStep, depthStep: left.columnStep };
        pushPacking(
          calls,
          left.address,
          steps,
          { lanes: rows, depth, width: GROUP },
          packed,
          1,
          hasNumbers,
        );
      }
      if (!rights.has(right.address)) {
        const packed = this.#packed(columns, depth, PANEL, isExact);
        rights.set(right.address, packed);
        const steps = { laneStep: right.columnStep, depthStep: right.rowStep };
        const extent = { lanes: columns, depth, width: PANEL };
        pushPacking(calls, right.address, steps, extent, packed, isExact ? SCALE : 1, hasNumbers);
      }
    }
    this.#pool.run(calls);
    calls.length = 0;
    const mode = isExact ? gridMode(rules) : PLAIN_MODE;
    for (const { left, right, result } of products) {
      const a = lefts.get(left.address);
      const b = rights.get(right.address);
      if (a === undefined || b === undefined) continue;
      const fixed = [
        ...[a.numbers, a.bounds, b.numbers, b.bounds, result],
        ...[rows, depth, columns, mode, this.#counters],
      ];
      pushTiles(calls, fixed, sizes);
    }
    this.#pool.run(calls);
    for (const { numbers, bounds } of [...lefts.values(), ...rights.values()]) {
      this.#arena.release(numbers);
      this.#arena.release(bounds);
    }
  }

  #counts(): BigUint64Array {
    return new BigUint64Array(this.#arena.memory.buffer, this.#counters, GRID_PATHS.length);
  }

  #packed(lanes: number, depth: number, width: number, hasMagnitudes: boolean): Packed {
    const groups = Math.ceil(lanes / width);
    const each = hasMagnitudes ? 8 : 4;
    return {
      hasMagnitudes,
      numbers: this.#arena.allocate(groups * width * depth * each),
      bounds: this.#arena.allocate(groups * (BOUNDS_BYTES + 4 * Math.ceil(depth / DEPTH_BLOCK))),
    };
  }
}

function pushPacking(
  calls: KernelCall[],
  source: number,
  { laneStep, depthStep }: { readonly laneStep: number; readonly depthStep: number },
  { lanes, depth, width }: Record<"lanes" | "depth" | "width", number>,
  { numbers, bounds, hasMagnitudes }: Packed,
  scale: number,
  hasNumbers: boolean,
): void {
  const groups = Math.ceil(lanes / width);
  const each = Math.max(1, Math.ceil(PACK_NUMBERS / (width * Math.max(1, depth))));
  const fixed = [
    ...[source, laneStep, depthStep, lanes, depth, width, numbers, bounds, scale],
    ...[Number(hasMagnitudes), Number(hasNumbers)],
  ];
  for (let first = 0; first < groups; first += each) {
    calls.push({ kernel: "pack", numbers: [...fixed, first, Math.min(groups, first + each)] });
  }
}

/** Tasks are blocks of the result: of `TASK_GROUPS` x `TASK_PANELS` tiles, more where the depth is small. */
function pushTiles(
  calls: KernelCall[],
  fixed: readonly number[],
  { rows, depth, columns }: ProductSizes,
): void {
  const groups = Math.ceil(rows / GROUP);
  const panels = Math.ceil(columns / PANEL);
  const tiles = TASK_PRODUCTS / (GROUP * PANEL * Math.max(1, depth));
  const taskGroups = Math.min(groups, Math.max(TASK_GROUPS, Math.ceil(tiles / TASK_PANELS)));
  const taskPanels = Math.min(panels, Math.max(TASK_PANELS, Math.ceil(tiles / taskGroups)));
  for (let panel = 0; panel < panels; panel += taskPanels) {
    for (let group = 0; group < groups; group += taskGroups) {
      calls.push({
        kernel: "multiply",
        numbers: [
          ...fixed,
          ...[group, Math.min(groups, group + taskGroups)],
          ...[panel, Math.min(panels, panel + taskPanels)],
        ],
      });
    }
  }
}
