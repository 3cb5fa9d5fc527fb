import { describe, expect, test } from "vitest";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { differentiate } from "../../src/grad/differentiate.ts";
import { rowSumsOfNorms } from "../../src/lower/norm-row-sums.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";
import type { MilFunction } from "../../src/mil/program.ts";
import { elementCount, staticShape, tensorType } from "../../src/mil/types.ts";
import { verifyFunction } from "../../src/mil/verify.ts";

const SHAPE = [4, 6] as const;

/** Gradients of a norm by its root mean square, or to mean 0 and variance 1, with respect to its input and its weight. */
function gradients(
  kind: "root mean square" | "layer",
  withRespectTo: readonly string[],
): MilFunction {
  const f = new FunctionBuilder("norm");
  const x = f.input("x", tensorType("fp32", SHAPE));
  const weight = f.input("weight", tensorType("fp32", [SHAPE[1]]));
  const over = { axes: [1], keep_dims: true } as const;
  const centered =
    kind === "layer" ? f.op("sub", { x, y: f.op("reduce_mean", { x, ...over }) }) : x;
  const mean = f.op("reduce_mean", { x: f.op("mul", { x: centered, y: centered }), ...over });
  const normal = f.op("mul", { x: centered, y: f.op("rsqrt", { x: mean, epsilon: 1e-5 }) });
  const fn = f.finish({ y: f.op("mul", { x: normal, y: weight }) });
  return differentiate(fn, { withRespectTo, heldInputs: ["x"], recompute: "full" }).backward;
}

function numbersOf(fn: MilFunction): readonly (readonly number[])[] {
  const inputs = fn.inputs.map(({ name, type }, seed) => {
    if (type.kind !== "tensor") throw new Error("no tensor");
    const shape = staticShape(type);
    const numbers = Float64Array.from({ length: elementCount(shape) }, (_, at) =>
      Math.sin(seed + 3 * at),
    );
    return [name, hostTensor("fp32", shape, numbers)] as const;
  });
  const results = evaluateFunction(fn, new Map(inputs), { precision: "float64" });
  return fn.outputs.map(({ name }) => [...(results.get(name)?.data ?? [])]);
}

/** Row sums over all elements that are left. */
function rowSums(fn: MilFunction): number {
  return fn.operations.filter(
    ({ type, outputs: [output] }) =>
      type === "reduce_sum" && output?.type.kind === "tensor" && output.type.shape.join() === "4,1",
  ).length;
}

describe("row sums of a norm's gradient", () => {
  test.each(["root mean square", "layer"] as const)(
    "are products with the weight where its own gradient is wanted too: %s",
    (kind) => {
      const before = gradients(kind, ["x", "weight"]);
      const after = rowSumsOfNorms(before);
      verifyFunction(after);
      expect(rowSums(after)).toBe(rowSums(before) - 1);
      expect(after.operations.filter(({ type }) => type === "matmul")).toHaveLength(1);
      const wanted = numbersOf(before);
      for (const [result, numbers] of numbersOf(after).entries())
        for (const [at, number] of numbers.entries())
          expect(number).toBeCloseTo(wanted[result]?.[at] ?? NaN, 12);
    },
  );

  test("stay sums where the weight is frozen: nothing multiplies the gradient and the normalized row", () => {
    const fn = gradients("root mean square", ["x"]);
    expect(rowSumsOfNorms(fn)).toBe(fn);
    expect(rowSums(fn)).toBe(1);
  });
});
