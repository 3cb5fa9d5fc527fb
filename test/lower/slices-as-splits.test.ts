import { describe, expect, test } from "vitest";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { slicesAsSplits } from "../../src/lower/slices-as-splits.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";
import type { MilFunction } from "../../src/mil/program.ts";
import { tensorType } from "../../src/mil/types.ts";
import { verifyFunction } from "../../src/mil/verify.ts";

const [ROWS, COLUMNS] = [2, 6];

/** Columns of x from each begin up to each end, each times a number of its own. */
function sliced(...bounds: readonly (readonly [number, number])[]): MilFunction {
  const f = new FunctionBuilder("slices");
  const x = f.input("x", tensorType("fp16", [ROWS, COLUMNS]));
  const results = bounds.map(([begin, end], at) => {
    const part = f.op("slice_by_index", { x, begin: [0, begin], end: [ROWS, end] });
    return [`part${at}`, f.op("mul", { x: part, y: at + 2 })] as const;
  });
  return f.finish(Object.fromEntries(results));
}

function numbersOf(fn: MilFunction): readonly (readonly number[])[] {
  const x = Float64Array.from({ length: ROWS * COLUMNS }, (_, at) => at);
  const results = evaluateFunction(fn, new Map([["x", hostTensor("fp16", [ROWS, COLUMNS], x)]]));
  return fn.outputs.map(({ name }) => [...(results.get(name)?.data ?? [])]);
}

describe("slices of one value", () => {
  test.each([
    [
      [
        [3, 6],
        [0, 3],
      ],
    ],
    [
      [
        [2, 4],
        [0, 2],
        [4, 6],
        [0, 2],
      ],
    ],
  ] as const)("that are the whole of it in equal parts are one split: %j", (bounds) => {
    const before = sliced(...bounds);
    const after = slicesAsSplits(before);
    verifyFunction(after);
    const types = after.operations.map(({ type }) => type);
    expect(types.filter((type) => type === "split")).toHaveLength(1);
    expect(types).not.toContain("slice_by_index");
    expect(numbersOf(after)).toEqual(numbersOf(before));
  });

  test.each([
    [[[0, 3]]],
    [
      [
        [0, 2],
        [2, 6],
      ],
    ],
    [
      [
        [0, 3],
        [1, 4],
      ],
    ],
    [
      [
        [0, 3],
        [3, 6],
        [1, 2],
      ],
    ],
  ] as const)("stay slices otherwise: %j", (bounds) => {
    const fn = sliced(...bounds);
    expect(slicesAsSplits(fn)).toBe(fn);
  });
});
