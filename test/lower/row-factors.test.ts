import { describe, expect, test } from "vitest";
import { mergeRowFactors } from "../../src/lower/row-factors.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";
import type { MilFunction, Value } from "../../src/mil/program.ts";
import { tensorType } from "../../src/mil/types.ts";
import { verifyFunction } from "../../src/mil/verify.ts";

const [ROWS, COLUMNS] = [4, 6];

/** Gradients of rows' normalizers: shares of a softmax times a number a row, shares as they are, or of any numbers. */
function gradient(kind: "shares" | "numbers" | "read twice"): MilFunction {
  const f = new FunctionBuilder("gradient");
  const x = f.input("x", tensorType("fp16", [ROWS, COLUMNS]));
  const g = f.input("g", tensorType("fp16", [ROWS, 1]));
  const largest = f.op("reduce_max", { x, axes: [1], keep_dims: true });
  const e = f.op("exp", { x: f.op("sub", { x, y: largest }) });
  const sum = f.op("reduce_sum", { x: e, axes: [1], keep_dims: true });
  const inverse = f.op("inverse", { x: sum });
  const shares: Value = f.op("mul", { x: kind === "numbers" ? x : e, y: inverse });
  const result = f.op("mul", { x: g, y: shares });
  return f.finish(kind === "read twice" ? { result, shares } : { result });
}

function wideProducts(fn: MilFunction): number {
  return fn.operations.filter(
    ({ type, outputs: [output] }) =>
      type === "mul" && output?.type.kind === "tensor" && output.type.shape[1] === COLUMNS,
  ).length;
}

describe("factors of a row", () => {
  test("are multiplied with each other before the shares of a softmax are", () => {
    const fn = gradient("shares");
    const merged = mergeRowFactors(fn);
    verifyFunction(merged);
    expect(wideProducts(fn)).toBe(2);
    expect(wideProducts(merged)).toBe(1);
    const inputs = new Map([
      [
        "x",
        hostTensor(
          "fp16",
          [ROWS, COLUMNS],
          Float64Array.from({ length: ROWS * COLUMNS }, (_, i) => 4 * Math.sin(3 * i)),
        ),
      ],
      ["g", hostTensor("fp16", [ROWS, 1], Float64Array.of(8, 0.5, 0, 64))],
    ]);
    const [wanted, got] = [fn, merged].map((each) =>
      evaluateFunction(each, inputs, { precision: "float64" }).get("result"),
    );
    expect(wanted?.data.length).toBe(ROWS * COLUMNS);
    for (const [index, value] of (wanted?.data ?? []).entries())
      expect(got?.data[index]).toBeCloseTo(value, 12);
  });

  test("stay where numbers are no shares, or shares are read as they are", () => {
    for (const kind of ["numbers", "read twice"] as const)
      expect(wideProducts(mergeRowFactors(gradient(kind)))).toBe(2);
  });
});
