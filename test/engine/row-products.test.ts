import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { createCpuEngine } from "../../src/engine/cpu/index.ts";
import { ROW_CODES } from "../../src/engine/cpu/rows/instructions.ts";
import { hostKernels } from "../../src/engine/host/kernel-module.ts";
import type { ProductSums } from "../../src/engine/host/kernel-module.ts";
import { Random } from "../../src/util/random.ts";
import { Instance, Memory } from "../../src/util/webassembly.ts";

/** Bytes: a state, instructions, then numbers. */
const [STATE, PROGRAM, NUMBERS] = [1024, 2048, 65_536];
const INSTRUCTION_WORDS = 24;
const MOST_ROWS = 32;

interface Sizes {
  readonly rows: number;
  readonly depth: number;
  readonly columns: number;
}

/** The kernels of row programs over a memory of their own. */
class Kernels {
  readonly #memory = new Memory({ initial: 96, maximum: 96, shared: true });
  readonly #run: (...numbers: readonly number[]) => void;

  constructor(sums: ProductSums) {
    const { exports } = new Instance(hostKernels(sums).module, { env: { memory: this.#memory } });
    this.#run = exports["runRows"] as (...numbers: readonly number[]) => void;
  }

  /** x [rows, depth] times w [columns, depth] turned, in one chunk or in several; `type` 1 and 2: w as fp16 and bf16. */
  product(
    x: Float32Array,
    w: Float32Array | Uint16Array,
    { rows, depth, columns }: Sizes,
    { perChunk = columns, type = 0 } = {},
  ): Uint32Array {
    const { buffer } = this.#memory;
    const bytes = (count: number): number => 16 * Math.ceil((4 * count) / 16);
    const inTiles = 4 * Math.floor((rows + 1) / 4);
    const weights = NUMBERS + bytes(rows * depth);
    const result = weights + bytes(columns * depth);
    const tiles = inTiles === 0 ? 0 : result + bytes(rows * columns);
    const room = tiles + bytes(inTiles * depth);
    new Float32Array(buffer, NUMBERS, x.length).set(x);
    if (w instanceof Float32Array) new Float32Array(buffer, weights, w.length).set(w);
    else new Uint16Array(buffer, weights, w.length).set(w);
    new Float32Array(buffer, result, rows * columns).fill(NaN);
    const chunks = Math.ceil(columns / perChunk);
    const words = new Uint32Array(buffer, PROGRAM, 4 * INSTRUCTION_WORDS).fill(0);
    const code = type === 0 ? ROW_CODES.product : ROW_CODES.productOf16;
    const operands = [NUMBERS, weights, result, rows, depth, columns, perChunk];
    const rest = type === 0 ? [tiles] : [type, tiles, room];
    if (tiles !== 0) words.set([ROW_CODES.rowsInTiles, 0, 0, NUMBERS, tiles, rows, depth]);
    const at = tiles === 0 ? 0 : INSTRUCTION_WORDS;
    words.set([code, 0, chunks, ...operands, ...rest], at);
    new Uint8Array(buffer, STATE, 128 + chunks).fill(0);
    this.#run(PROGRAM, STATE, 0, 0, 1);
    return new Uint32Array(buffer, result, rows * columns).slice();
  }
}

/** fp16 patterns and bf16 patterns of all kinds but what is no number. */
function patterns(random: Random, count: number, type: number): Uint16Array {
  const largest = type === 1 ? 0x7bff : 0x4fff;
  return Uint16Array.from({ length: count }, () => {
    const sign = random.below(2) << 15;
    return sign | random.below(largest + 1);
  });
}

/** Both builds; a machine that cannot fuse runs the same one twice. */
describe.each(["fused", "separate"] as const)("rows times a matrix, sums %s", (sums) => {
  let kernels: Kernels;
  beforeAll(() => {
    kernels = new Kernels(sums);
  });
  const sizes = {
    rows: fc.integer({ min: 1, max: MOST_ROWS }),
    // Up to 768 numbers eight rows stand together.
    depth: fc.oneof(
      { arbitrary: fc.integer({ min: 1, max: 150 }), weight: 7 },
      { arbitrary: fc.integer({ min: 765, max: 805 }), weight: 1 },
    ),
    columns: fc.integer({ min: 1, max: 40 }),
    seed: fc.integer(),
  };

  it("gives each row the bits that it has alone, whatever rows and columns stand beside it", () => {
    fc.assert(
      fc.property(
        fc.record({ ...sizes, perChunk: fc.integer({ min: 1, max: 40 }), type: fc.nat(2) }),
        ({ rows, depth, columns, seed, perChunk, type }) => {
          const random = new Random(seed);
          const x = Float32Array.from({ length: rows * depth }, () => random.normal());
          const count = columns * depth;
          const w =
            type === 0
              ? Float32Array.from({ length: count }, () => random.normal())
              : patterns(random, count, type);
          const all = kernels.product(x, w, { rows, depth, columns }, { perChunk, type });
          for (let row = 0; row < rows; row++) {
            const one = x.subarray(row * depth, (row + 1) * depth);
            const alone = kernels.product(one, w, { rows: 1, depth, columns }, { type });
            expect(all.subarray(row * columns, (row + 1) * columns)).toEqual(alone);
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  it("gives what sums in double precision give", () => {
    fc.assert(
      fc.property(fc.record(sizes), ({ rows, depth, columns, seed }) => {
        const random = new Random(seed);
        const x = Float32Array.from({ length: rows * depth }, () => random.normal());
        const w = Float32Array.from({ length: columns * depth }, () => random.normal());
        const patterns = kernels.product(x, w, { rows, depth, columns });
        const sums = new Float32Array(patterns.buffer);
        for (const [index, sum] of sums.entries()) {
          const [row, column] = [Math.floor(index / columns), index % columns];
          let wanted = 0;
          let size = 0;
          for (let k = 0; k < depth; k++) {
            const product = (x[row * depth + k] ?? 0) * (w[column * depth + k] ?? 0);
            wanted += product;
            size += Math.abs(product);
          }
          expect(Math.abs(sum - wanted)).toBeLessThanOrEqual(1e-6 * size);
        }
      }),
      { numRuns: 60 },
    );
  });

  it("keeps what is infinite or no number in 16 bits, of rows together as of rows alone", () => {
    const [rows, depth, columns] = [7, 24, 5];
    const random = new Random(4);
    const x = Float32Array.from({ length: rows * depth }, () => random.normal());
    for (const [type, special] of [
      [1, 0x7c00],
      [1, 0xfc00],
      [1, 0x7e01],
      [2, 0x7f80],
      [2, 0x7fc1],
    ] as const) {
      const w = patterns(random, columns * depth, type);
      w[depth + 3] = special;
      w[3 * depth + 20] = special;
      const all = new Float32Array(
        kernels.product(x, w, { rows, depth, columns }, { type }).buffer,
      );
      for (let row = 0; row < rows; row++) {
        const one = x.subarray(row * depth, (row + 1) * depth);
        const alone = new Float32Array(
          kernels.product(one, w, { rows: 1, depth, columns }, { type }).buffer,
        );
        const together = all.slice(row * columns, (row + 1) * columns);
        expect(Array.from(together)).toEqual(Array.from(alone));
        expect(Array.from(together, Number.isFinite)).toEqual([true, false, true, false, true]);
      }
    }
  });
});

describe("how products and sums are rounded", () => {
  // (1 + 2^-12)^2 needs a bit more than fp32 has; added to what is left of its negative, that bit is all there is. Both
  // stand in the same lane of even vectors, the negative first.
  const factor = 1 + 2 ** -12;
  const x = Float32Array.from({ length: 12 }, (_, at) => (at === 0 ? 1 : at === 8 ? factor : 0));
  const w = Float32Array.from(x, (number, at) => (at === 0 ? -(1 + 2 ** -11) : number));

  it.each([1, 4, 8])("is what the build is named after, with %i rows", (rows) => {
    const all = new Float32Array(rows * 12);
    for (let row = 0; row < rows; row++) all.set(x, 12 * row);
    for (const sums of ["fused", "separate"] as const) {
      const bits = new Kernels(sums).product(all, w, { rows, depth: 12, columns: 1 });
      const wanted = hostKernels(sums).sums === "fused" ? 2 ** -24 : 0;
      expect(Array.from(new Float32Array(bits.buffer))).toEqual(
        Array.from({ length: rows }, () => wanted),
      );
    }
  });

  it("is told by the engine", async () => {
    const engine = await createCpuEngine({ threads: 1, sums: "separate" });
    expect(engine.description.rowSums).toBe("separate");
    await engine.close();
    const usual = await createCpuEngine({ threads: 1 });
    expect(usual.description.rowSums).toBe(hostKernels().sums);
    await usual.close();
  });
});
