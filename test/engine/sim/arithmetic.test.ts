import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import {
  GRID,
  gridDot,
  gridMatmul,
  gridProduct,
  gridResult,
  narrowSum,
  PRODUCT_CEILING,
  truncatedFloat16Bits,
} from "../../../src/engine/sim/arithmetic.ts";
import { Machine } from "../../../src/engine/sim/machine.ts";
import { roundToHalf } from "../../../src/engine/sim/rounding.ts";
import {
  FUNCTION_TABLES,
  tableExp,
  tableLog,
  tableRsqrt,
  tabulate,
} from "../../../src/engine/sim/tables.ts";
import { float16Bits, float16Value, roundToFloat16 } from "../../../src/util/float16.ts";
import { Random } from "../../../src/util/random.ts";
import { multiply } from "./multiply.ts";

const half = fc.integer({ min: 0, max: 65535 }).map(float16Value);
const finiteHalf = half.filter(Number.isFinite);
const smallHalf = fc.double({ min: -2, max: 2, noNaN: true }).map(roundToFloat16);

function normals(seed: number, count: number, deviation: number): Float64Array {
  const random = new Random(seed);
  return new Float64Array(count).map(() => random.normal() * deviation);
}

/** The published measurement: rows of N(0, 1/N) times columns of N(0, 1/N), relative L2 error against doubles. */
function productError(machine: Machine, size: number, rows: number, columns: number): number {
  const x = normals(1, rows * size, 1 / Math.sqrt(size));
  const w = normals(2, size * columns, 1 / Math.sqrt(size));
  const got = multiply(
    machine,
    { data: x.map(roundToFloat16), rowStep: size, columnStep: 1 },
    { data: w.map(roundToFloat16), rowStep: 1, columnStep: size },
    { rows, depth: size, columns },
  );
  let error = 0;
  let norm = 0;
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      let exact = 0;
      for (let k = 0; k < size; k++) exact += (x[i * size + k] ?? 0) * (w[j * size + k] ?? 0);
      error += ((got[i * columns + j] ?? 0) - exact) ** 2;
      norm += exact ** 2;
    }
  }
  return Math.sqrt(error / norm);
}

describe("the product grid", () => {
  test("products below one and a half units vanish, ties go to even", () => {
    const unit = 2 ** -16;
    expect(gridProduct(unit, 1)).toBe(0);
    expect(gridProduct(-unit, 1)).toBe(0);
    expect(gridProduct(1.5 * unit, 1)).toBe(2);
    expect(gridProduct(1.4990234375 * unit, 1)).toBe(0);
    expect(gridProduct(2.5 * unit, 1)).toBe(2);
    expect(gridProduct(3.5 * unit, 1)).toBe(4);
    expect(gridProduct(NaN, 1)).toBe(0);
  });

  test("the sum decides over infinity, at the published ceiling, whatever its length", () => {
    expect(gridResult(Math.floor(PRODUCT_CEILING * GRID), "nearest")).toBe(float16Bits(32752));
    expect(gridResult(Math.ceil(PRODUCT_CEILING * GRID), "nearest")).toBe(0x7c00);
    for (const length of [4, 8, 32, 64, 128]) {
      const ones = new Float64Array(length).fill(1);
      const at = (total: number): number =>
        gridDot(
          ones,
          0,
          new Float64Array(length).fill(roundToFloat16(total / length)),
          0,
          length,
          1,
          "nearest",
        );
      expect(float16Value(at(32736))).toBe(32736);
      expect(float16Value(at(32768))).toBe(Infinity);
    }
    // A partial sum beyond it does no harm.
    expect(
      float16Value(gridDot([200, 200, -200, 1], 0, [200, 200, 200, 1], 0, 4, 1, "nearest")),
    ).toBe(Infinity);
    expect(float16Value(gridDot([200, -200, 1], 0, [200, 200, 1], 0, 3, 1, "nearest"))).toBe(1);
  });

  test("the order of the terms never matters", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(finiteHalf, finiteHalf), { maxLength: 40 }), (pairs) => {
        const dot = (terms: readonly (readonly [number, number])[]): number =>
          gridDot(
            terms.map(([a]) => a),
            0,
            terms.map(([, b]) => b),
            0,
            terms.length,
            1,
            "nearest",
          );
        expect(dot(pairs.toReversed())).toBe(dot(pairs));
      }),
    );
  });

  test("truncation never leaves zero's side and stays within one step", () => {
    fc.assert(
      fc.property(fc.double({ min: -60000, max: 60000, noNaN: true }), (value) => {
        const cut = float16Value(truncatedFloat16Bits(value));
        expect(Math.abs(cut)).toBeLessThanOrEqual(Math.abs(value));
        expect(Math.abs(cut - value)).toBeLessThanOrEqual(
          Math.max(2 ** -24, Math.abs(value) * 2 ** -10),
        );
      }),
    );
  });
});

describe.each(["relaxed", "plain"] as const)("the kernel with %s SIMD", (simd) => {
  const machine = new Machine(2, simd);
  afterAll(() => machine.close());

  /** Operands stand row by row, or transposed. */
  function kernelBits(
    left: readonly number[] | Float64Array,
    right: readonly number[] | Float64Array,
    { rows, depth, columns }: Record<"rows" | "depth" | "columns", number>,
    rounding: "nearest" | "truncate" = "nearest",
  ): number[][] {
    const turn = (data: ArrayLike<number>, height: number, width: number): number[] =>
      Array.from(
        { length: height * width },
        (_, i) => data[(i % height) * width + Math.floor(i / height)] ?? 0,
      );
    const sizes = { rows, depth, columns };
    const lefts = [
      { data: left, rowStep: depth, columnStep: 1 },
      { data: turn(left, rows, depth), rowStep: 1, columnStep: rows },
    ];
    const rights = [
      { data: right, rowStep: columns, columnStep: 1 },
      { data: turn(right, depth, columns), rowStep: 1, columnStep: depth },
    ];
    return lefts.flatMap((a) =>
      rights.map((b) => Array.from(multiply(machine, a, b, sizes, rounding), float16Bits)),
    );
  }

  const sizes = fc.tuple(
    fc.integer({ min: 1, max: 9 }),
    fc.integer({ min: 1, max: 20 }),
    fc.integer({ min: 1, max: 19 }),
  );

  test.each(["nearest", "truncate"] as const)(
    "gives the reference's bits for any numbers, %s",
    (rounding) => {
      for (const number of [smallHalf, finiteHalf, half]) {
        fc.assert(
          fc.property(
            sizes.chain(([rows, depth, columns]) =>
              fc.record({
                rows: fc.constant(rows),
                depth: fc.constant(depth),
                columns: fc.constant(columns),
                left: fc.array(number, { minLength: rows * depth, maxLength: rows * depth }),
                right: fc.array(number, { minLength: depth * columns, maxLength: depth * columns }),
              }),
            ),
            ({ rows, depth, columns, left, right }) => {
              const wanted = gridMatmul(left, right, rows, depth, columns, rounding);
              for (const got of kernelBits(left, right, { rows, depth, columns }, rounding))
                expect(got).toEqual([...wanted]);
            },
          ),
          { numRuns: 60 },
        );
      }
    },
  );

  test.each([
    ["narrow", 0.05, 0.05],
    ["narrow", 0.2, 0.2],
    ["medium", 3, 3],
    ["medium", 60, 40],
    ["wide", 900, 900],
  ] as const)("the %s path gives the same bits on larger products", (path, a, b) => {
    const before = machine.products.counts[path];
    const left = normals(5, 70 * 150, a).map(roundToFloat16);
    const right = normals(6, 150 * 140, b).map(roundToFloat16);
    for (const rounding of ["nearest", "truncate"] as const) {
      const wanted = [...gridMatmul(left, right, 70, 150, 140, rounding)];
      for (const got of kernelBits(left, right, { rows: 70, depth: 150, columns: 140 }, rounding))
        expect(got).toEqual(wanted);
    }
    expect(machine.products.counts[path]).toBeGreaterThan(before);
  });

  test("a few large products in a long sum take the wider terms for their blocks alone", () => {
    const before = { ...machine.products.counts };
    const [rows, depth, columns] = [9, 200, 19];
    const left = normals(7, rows * depth, 0.2).map(roundToFloat16);
    const right = normals(8, depth * columns, 0.2).map(roundToFloat16);
    for (let row = 0; row < rows; row++) left[row * depth + 70 + row] = 1000 - row;
    for (let column = 0; column < columns; column++) right[72 * columns + column] = 3 + column / 16;
    const wanted = [...gridMatmul(left, right, rows, depth, columns)];
    for (const got of kernelBits(left, right, { rows, depth, columns }))
      expect(got).toEqual(wanted);
    const { narrow, medium } = machine.products.counts;
    expect(narrow).toBeGreaterThan(before.narrow);
    expect(medium).toBeGreaterThan(before.medium);
  });

  test("operands at the edges of the paths, ties and the dead zone give the same bits", () => {
    const edges = [0.0014, 0.0047, 1 / 512, 3 / 1024, 0.0039, 0.7, 8, 127, 363, 2048, 4096, 65504];
    const number = fc
      .tuple(
        fc.constantFrom(...edges),
        fc.constantFrom(-1, 1),
        fc.constantFrom(1, 0.5, 1.5, 1.0009765625),
      )
      .map(([edge, sign, factor]) => roundToFloat16(edge * sign * factor));
    fc.assert(
      fc.property(
        fc.array(number, { minLength: 15, maxLength: 15 }),
        fc.array(number, { minLength: 24, maxLength: 24 }),
        (left, right) => {
          const wanted = [...gridMatmul(left, right, 5, 3, 8)];
          for (const got of kernelBits(left, right, { rows: 5, depth: 3, columns: 8 }))
            expect(got).toEqual(wanted);
        },
      ),
      { numRuns: 300 },
    );
  });

  test("sums beside the ceiling, and beside what 24 bits hold, are rounded once", () => {
    const left = [128, 128, 2 ** -8, 2 ** -8];
    const right = [127, 128, 127.9375, 255.9, 64.03, 191.97, 1, 0.5];
    const numbers = (seed: number, from: readonly number[], count: number): number[] => {
      const random = new Random(seed);
      return Array.from({ length: count }, () =>
        roundToFloat16((from[random.below(from.length)] ?? 0) * (1 + random.below(3) / 1024)),
      );
    };
    for (let seed = 1; seed < 20; seed++) {
      const a = numbers(seed, left, 8 * 4);
      const b = numbers(seed + 100, right, 4 * 16);
      for (const rounding of ["nearest", "truncate"] as const) {
        const wanted = [...gridMatmul(a, b, 8, 4, 16, rounding)];
        for (const got of kernelBits(a, b, { rows: 8, depth: 4, columns: 16 }, rounding))
          expect(got).toEqual(wanted);
      }
    }
  });

  test("tiles cut by the edge, blocks of zeros and large products in later chunks of the depth", () => {
    const before = { ...machine.products.counts };
    const [rows, depth, columns] = [13, 450, 21];
    const left = normals(11, rows * depth, 0.3).map(roundToFloat16);
    const right = normals(12, depth * columns, 0.3).map(roundToFloat16);
    // A block whose products all stay below a unit and a half, one of zeros, and one with products above 64.
    for (let row = 0; row < rows; row++) {
      for (let k = 128; k < 192; k++) left[row * depth + k] = 2 ** -16;
      for (let k = 192; k < 256; k++) left[row * depth + k] = 0;
      left[row * depth + 300] = 700 + row;
    }
    for (const rounding of ["nearest", "truncate"] as const) {
      const wanted = [...gridMatmul(left, right, rows, depth, columns, rounding)];
      for (const got of kernelBits(left, right, { rows, depth, columns }, rounding))
        expect(got).toEqual(wanted);
    }
    for (const path of ["zero", "narrow", "medium"] as const)
      expect(machine.products.counts[path]).toBeGreaterThan(before[path]);
  });

  test("the dead zone ends at the same product for every pair of numbers beside it", () => {
    const magnitude = fc.integer({ min: 1, max: 0x7bff });
    fc.assert(
      fc.property(fc.array(magnitude, { minLength: 8, maxLength: 8 }), (codes) => {
        const left = codes.map(float16Value);
        // The neighbours of 1.5 * 2^-16 / a, a step of fp16 below and above it.
        const right = left.flatMap((a) => {
          const code = float16Bits(Math.min(65504, (1.5 * 2 ** -16) / a));
          return [-1, 0, 1].map((step) => float16Value(Math.max(0, Math.min(0x7bff, code + step))));
        });
        const sizes = { rows: 8, depth: 1, columns: 24 };
        const wanted = [...gridMatmul(left, right, 8, 1, 24)];
        for (const got of kernelBits(left, right, sizes)) expect(got).toEqual(wanted);
      }),
      { numRuns: 200 },
    );
  });

  test("the approximate mode is the fp32 product, rounded to fp16 once", () => {
    const random = new Random(5);
    const sizes = { rows: 5, depth: 32, columns: 13 };
    const numbers = (count: number): Float64Array =>
      new Float64Array(count).map(() => roundToFloat16(random.normal()));
    const a = numbers(sizes.rows * sizes.depth);
    const b = numbers(sizes.depth * sizes.columns);
    const left = { data: a, rowStep: sizes.depth, columnStep: 1 };
    const right = { data: b, rowStep: sizes.columns, columnStep: 1 };
    const result = multiply(machine, left, right, sizes, "nearest", "fp16");
    for (let i = 0; i < result.length; i++) {
      const [row, column] = [Math.floor(i / sizes.columns), i % sizes.columns];
      let sum = 0;
      for (let k = 0; k < sizes.depth; k++) {
        const product = (a[row * sizes.depth + k] ?? 0) * (b[k * sizes.columns + column] ?? 0);
        sum = Math.fround(sum + Math.fround(product));
      }
      expect(result[i]).toBe(roundToFloat16(sum));
    }
  });

  test("operands are read where they stand, whatever their steps", () => {
    const data = normals(9, 200, 1).map(roundToFloat16);
    const left = { data, start: 10, rowStep: 2, columnStep: 7 };
    const right = { data, start: 40, rowStep: 3, columnStep: 16 };
    const sizes = { rows: 3, depth: 5, columns: 9 };
    const dense = (matrix: typeof left, rows: number, columns: number): number[] =>
      Array.from(
        { length: rows * columns },
        (_, i) =>
          data[
            matrix.start +
              Math.floor(i / columns) * matrix.rowStep +
              (i % columns) * matrix.columnStep
          ] ?? 0,
      );
    const wanted = gridMatmul(dense(left, 3, 5), dense(right, 5, 9), 3, 5, 9);
    const got = multiply(machine, left, right, sizes);
    expect(Array.from(got, float16Bits)).toEqual([...wanted]);
  });
});

describe("the published error of GEMM", () => {
  const machine = new Machine(2);
  afterAll(() => machine.close());

  test.each([
    [512, 0.00257800397, 256, 384],
    [1024, 0.005528353, 256, 384],
    [2048, 0.01213192, 256, 256],
    [4096, 0.02723762, 192, 192],
  ])(
    "reproduces the published error of GEMM at N = %i within 2 % (%f)",
    (size, published, rows, columns) => {
      const error = productError(machine, size, rows, columns);
      expect(Math.abs(error / published - 1)).toBeLessThan(0.02);
    },
  );
});

describe("narrow sums and tables", () => {
  test("integer sums of eight terms are exact up to 2048, and 2049 becomes 2048 or 2050", () => {
    expect(narrowSum([1024, 512, 256, 128, 64, 32, 16, 16])).toBe(2048);
    expect([2048, 2050]).toContain(narrowSum([1025, 512, 256, 128, 64, 32, 16, 16]));
  });

  test("a narrow sum of 4096 normal numbers is off by about the published 8e-4", () => {
    const values = normals(3, 4096 * 64, 1).map(roundToFloat16);
    let error = 0;
    let norm = 0;
    for (let run = 0; run < 64; run++) {
      const terms = values.subarray(run * 4096, (run + 1) * 4096);
      const exact = terms.reduce((sum, value) => sum + value, 0);
      error += (narrowSum([...terms]) - exact) ** 2;
      norm += exact ** 2;
    }
    expect(Math.sqrt(error / norm)).toBeGreaterThan(4e-4);
    expect(Math.sqrt(error / norm)).toBeLessThan(1.6e-3);
  });

  test("rounding whole arrays is rounding each number", () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -70000, max: 70000, noNaN: true }).map(Math.fround)),
        (numbers) => {
          const rounded = Float64Array.from(numbers);
          roundToHalf(rounded);
          expect([...rounded].map(float16Bits)).toEqual(numbers.map(float16Bits));
        },
      ),
    );
    const subnormal = Float64Array.of(
      2 ** -25,
      1.5 * 2 ** -24,
      -(2 ** -24),
      2.5 * 2 ** -24,
      3e-8,
      -3e-8,
    );
    const wanted = [...subnormal].map(roundToFloat16);
    roundToHalf(subnormal);
    expect([...subnormal].map((value) => value + 0)).toEqual(wanted.map((value) => value + 0));
  });

  test.each(Object.entries(FUNCTION_TABLES))("%s is off by the published size", (_name, table) => {
    const compute = tabulate(table);
    const relative = relativeError(compute, table.exact, -3, 3);
    expect(relative / table.error).toBeGreaterThan(0.7);
    expect(relative / table.error).toBeLessThan(1.4);
    expect(compute(0)).toBe(table.exact(0));
  });

  test("functions over the mantissa are off by the published sizes", () => {
    expect(relativeError(tableExp, Math.exp, -4, 4) / 4.7e-4).toBeCloseTo(1, 0);
    expect(relativeError(tableLog, Math.log, 0.1, 20) / 8e-4).toBeCloseTo(1, 0);
    expect(relativeError(tableRsqrt, (x) => 1 / Math.sqrt(x), 0.01, 20) / 1e-3).toBeCloseTo(1, 0);
  });
});

function relativeError(
  compute: (x: number) => number,
  exact: (x: number) => number,
  from: number,
  to: number,
): number {
  let error = 0;
  let norm = 0;
  for (let i = 0; i < 5000; i++) {
    const x = roundToFloat16(from + ((to - from) * i) / 5000);
    const wanted = exact(x);
    error += (roundToFloat16(compute(x)) - wanted) ** 2;
    norm += wanted ** 2;
  }
  return Math.sqrt(error / norm);
}
