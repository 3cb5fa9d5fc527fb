import { readFileSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { messageOf } from "../../util/errors.ts";
import { float16Value } from "../../util/float16.ts";
import { compiledUrl } from "../../util/source-layout.ts";
import { Instance, Memory, Module } from "../cpu/webassembly.ts";
import type { WasmMemory, WasmModule } from "../cpu/webassembly.ts";
import { EngineError } from "../errors.ts";
import { GRID, gridDot } from "./arithmetic.ts";
import type { OutputRounding } from "./arithmetic.ts";
import {
  CONTROL_COMPLETED,
  CONTROL_COUNT,
  CONTROL_GENERATION,
  CONTROL_LENGTH,
  CONTROL_NEXT,
  CONTROL_STOP,
  firstTask,
  GRID_KERNELS,
  MAXIMUM_TASKS,
  runTasks,
  TASK_WORDS,
} from "./grid-task.ts";
import type { GridExports, GridKernel } from "./grid-task.ts";
import type { GridWorkerData } from "./grid-worker.ts";
import type { Numerics } from "./numerics.ts";

/** A matrix inside an array of fp16 numbers: element (i, j) stands at `start + i * rowStep + j * columnStep`. */
export interface MatrixView {
  readonly data: Float64Array;
  readonly start: number;
  readonly rowStep: number;
  readonly columnStep: number;
}

export interface ProductSizes {
  readonly rows: number;
  readonly depth: number;
  readonly columns: number;
}

const PAGE_BYTES = 65536;
const MAXIMUM_PAGES = 32768;
const ROW_BLOCK = 32;
/** Columns of a task: a panel block of this width stays in a core's second-level cache. */
const COLUMN_BLOCK = 128;
const PANEL = 8;

/**
 * Products on the engine's grid over WebAssembly threads. Left rows and right panels are packed into one shared
 * memory; a range test per block of rows and columns picks the narrowest kernel that is exact for it, so that
 * the path never changes a bit.
 */
export class GridProducts {
  readonly #module: WasmModule;
  readonly #memory: WasmMemory & { grow(pages: number): number };
  readonly #kernels: GridExports;
  readonly #control = new Int32Array(new SharedArrayBuffer(CONTROL_LENGTH * 4));
  readonly #tasks = new Uint32Array(new SharedArrayBuffer(MAXIMUM_TASKS * TASK_WORDS * 4));
  readonly #workers: Worker[] = [];
  #pages: number;
  #generation = 0;
  /** Multiply-accumulates so far, by kernel: how often the range test let the fast one run. */
  readonly counts: Record<GridKernel, number> = { narrow: 0, medium: 0, wide: 0, plain: 0 };

  /** Throws `EngineError` where the compiled kernel is missing. */
  constructor(threads: number) {
    const wasm = compiledUrl(import.meta.url, "./grid.wasm");
    try {
      this.#module = new Module(readFileSync(wasm));
    } catch (error) {
      throw new EngineError(
        "engine.sim.kernel",
        `the simulator's kernel cannot be loaded from ${wasm.pathname}: ${messageOf(error)}`,
        { remedy: "Build it: npm run build", cause: error },
      );
    }
    this.#pages = 64;
    const size = { initial: this.#pages, maximum: MAXIMUM_PAGES, shared: true } as const;
    this.#memory = new Memory(size) as WasmMemory & { grow(pages: number): number };
    const instance = new Instance(this.#module, { env: { memory: this.#memory } });
    this.#kernels = instance.exports as unknown as GridExports;
    Atomics.store(this.#control, CONTROL_NEXT, -1);
    for (let thread = 1; thread < threads; thread++) {
      const workerData: GridWorkerData = {
        module: this.#module,
        memory: this.#memory,
        control: this.#control.buffer,
        tasks: this.#tasks.buffer,
      };
      const worker = new Worker(compiledUrl(import.meta.url, "./grid-worker.ts"), { workerData });
      // A worker that cannot start leaves its share to the others.
      worker.on("error", () => undefined);
      worker.unref();
      this.#workers.push(worker);
    }
  }

  /** One product; the result is [rows, columns] fp16 numbers. */
  multiply(
    left: MatrixView,
    right: MatrixView,
    sizes: ProductSizes,
    result: Float64Array,
    resultStart: number,
    rounding: OutputRounding,
    numerics: Numerics,
  ): void {
    const { rows, depth, columns } = sizes;
    if (rows === 0 || columns === 0) return;
    const panels = Math.ceil(columns / PANEL);
    const leftAt = PAGE_BYTES;
    const rightAt = leftAt + align(rows * depth * 4);
    const resultAt = rightAt + align(panels * depth * PANEL * 4);
    this.#reserve(resultAt + rows * columns * 4);
    const numbers = new Float32Array(this.#memory.buffer);
    const scale = numerics === "exact" ? GRID : 1;
    const rowRanges = packLeft(left, sizes, numbers, leftAt / 4);
    const columnRanges = packRight(right, sizes, numbers, rightAt / 4, scale);
    let count = 0;
    const isFinite = rowRanges.finite && columnRanges.finite;
    if (isFinite || numerics === "fp16") {
      for (let row = 0, block = 0; row < rows; row += ROW_BLOCK, block++) {
        const rowCount = Math.min(ROW_BLOCK, rows - row);
        for (let column = 0, part = 0; column < columns; column += COLUMN_BLOCK, part++) {
          const columnCount = Math.min(COLUMN_BLOCK, columns - column);
          const kernel =
            numerics === "fp16"
              ? "plain"
              : chooseKernel(
                  rowRanges.maximum[block] ?? Infinity,
                  rowRanges.sum[block] ?? Infinity,
                  columnRanges.maximum[part] ?? Infinity,
                  depth,
                );
          this.counts[kernel] += rowCount * columnCount * depth;
          this.#tasks.set(
            [
              GRID_KERNELS.indexOf(kernel),
              leftAt + row * depth * 4,
              rightAt + column * depth * 4,
              resultAt + (row * columns + column) * 4,
              rowCount,
              depth,
              columnCount,
              columns * 4,
              rounding === "truncate" ? 1 : 0,
            ],
            count * TASK_WORDS,
          );
          if (++count === MAXIMUM_TASKS) {
            this.#run(count);
            count = 0;
          }
        }
      }
      this.#run(count);
      result.set(new Float32Array(this.#memory.buffer, resultAt, rows * columns), resultStart);
      return;
    }
    this.#slow(left, right, sizes, result, resultStart, rounding);
  }

  /** Infinities and what is not a number: the reference itself. */
  #slow(
    left: MatrixView,
    right: MatrixView,
    { rows, depth, columns }: ProductSizes,
    result: Float64Array,
    resultStart: number,
    rounding: OutputRounding,
  ): void {
    const row = new Float64Array(depth);
    for (let i = 0; i < rows; i++) {
      for (let k = 0; k < depth; k++)
        row[k] = left.data[left.start + i * left.rowStep + k * left.columnStep] ?? 0;
      for (let j = 0; j < columns; j++) {
        const start = right.start + j * right.columnStep;
        const bits = gridDot(row, 0, right.data, start, depth, right.rowStep, rounding);
        result[resultStart + i * columns + j] = float16Value(bits);
      }
    }
    this.counts.wide += rows * depth * columns;
  }

  #run(count: number): void {
    if (count === 0) return;
    const control = this.#control;
    Atomics.store(control, CONTROL_COUNT, count);
    Atomics.store(control, CONTROL_COMPLETED, 0);
    this.#generation++;
    Atomics.store(control, CONTROL_NEXT, firstTask(this.#generation));
    if (count > 1 && this.#workers.length > 0) {
      Atomics.add(control, CONTROL_GENERATION, 1);
      Atomics.notify(control, CONTROL_GENERATION);
    }
    runTasks({ control, tasks: this.#tasks }, this.#kernels);
    for (;;) {
      const completed = Atomics.load(control, CONTROL_COMPLETED);
      if (completed >= count) break;
      Atomics.wait(control, CONTROL_COMPLETED, completed, 100);
    }
    Atomics.store(control, CONTROL_NEXT, -1);
  }

  #reserve(byteLength: number): void {
    const pages = Math.ceil(byteLength / PAGE_BYTES);
    if (pages > MAXIMUM_PAGES) {
      throw new EngineError(
        "engine.sim.memory",
        `one product needs ${byteLength} bytes, the simulator's memory holds ${MAXIMUM_PAGES * PAGE_BYTES}`,
        { remedy: "Use a smaller batch or split the product." },
      );
    }
    if (pages <= this.#pages) return;
    this.#memory.grow(pages - this.#pages);
    this.#pages = pages;
  }

  async close(): Promise<void> {
    Atomics.store(this.#control, CONTROL_STOP, 1);
    Atomics.add(this.#control, CONTROL_GENERATION, 1);
    Atomics.notify(this.#control, CONTROL_GENERATION);
    await Promise.all(this.#workers.splice(0).map((worker) => worker.terminate()));
  }
}

interface Ranges {
  /** Largest magnitude of a block. */
  readonly maximum: Float64Array;
  /** Largest sum of magnitudes of one row in a block. */
  readonly sum: Float64Array;
  readonly finite: boolean;
}

function align(byteLength: number): number {
  return Math.ceil(byteLength / 64) * 64;
}

function packLeft(
  view: MatrixView,
  { rows, depth }: ProductSizes,
  target: Float32Array,
  at: number,
): Ranges {
  const blocks = Math.ceil(rows / ROW_BLOCK);
  const maximum = new Float64Array(blocks);
  const sum = new Float64Array(blocks);
  const { data, rowStep, columnStep } = view;
  let finite = true;
  for (let row = 0; row < rows; row++) {
    const block = Math.floor(row / ROW_BLOCK);
    let largest = maximum[block] ?? 0;
    let total = 0;
    let from = view.start + row * rowStep;
    let to = at + row * depth;
    for (let k = 0; k < depth; k++, from += columnStep) {
      const value = data[from] ?? 0;
      target[to++] = value;
      const magnitude = Math.abs(value);
      total += magnitude;
      if (magnitude > largest) largest = magnitude;
    }
    if (!(total < Infinity)) finite = false;
    maximum[block] = largest;
    sum[block] = Math.max(sum[block] ?? 0, total);
  }
  return { maximum, sum, finite };
}

function packRight(
  view: MatrixView,
  { depth, columns }: ProductSizes,
  target: Float32Array,
  at: number,
  scale: number,
): Ranges {
  const blocks = Math.ceil(columns / COLUMN_BLOCK);
  const maximum = new Float64Array(blocks);
  const { data, rowStep, columnStep } = view;
  let finite = true;
  const panels = Math.ceil(columns / PANEL);
  for (let panel = 0; panel < panels; panel++) {
    const block = Math.floor((panel * PANEL) / COLUMN_BLOCK);
    const width = Math.min(PANEL, columns - panel * PANEL);
    let largest = maximum[block] ?? 0;
    let to = at + panel * depth * PANEL;
    for (let k = 0; k < depth; k++) {
      let from = view.start + k * rowStep + panel * PANEL * columnStep;
      for (let j = 0; j < width; j++, from += columnStep) {
        const value = data[from] ?? 0;
        target[to + j] = value * scale;
        const magnitude = Math.abs(value);
        if (magnitude > largest) largest = magnitude;
        else if (magnitude !== magnitude) finite = false;
      }
      for (let j = width; j < PANEL; j++) target[to + j] = 0;
      to += PANEL;
    }
    if (largest === Infinity) finite = false;
    maximum[block] = largest;
  }
  return { maximum, sum: maximum, finite };
}

/** The narrowest kernel whose arithmetic is exact for operands of these magnitudes. */
function chooseKernel(
  leftMaximum: number,
  leftSum: number,
  rightMaximum: number,
  depth: number,
): GridKernel {
  // Each rounding adds half a unit at most.
  const total = leftSum * rightMaximum * GRID + depth / 2;
  if (leftMaximum * rightMaximum * GRID < 2 ** 22 && total < 2 ** 31) return "narrow";
  return total < 2 ** 52 ? "medium" : "wide";
}
