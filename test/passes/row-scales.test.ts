import { assert, integer, property } from "fast-check";
import { describe, expect, it } from "vitest";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import type { MilFunction } from "../../src/mil/program.ts";
import { tensorType } from "../../src/mil/types.ts";
import { modelOf, parseModelConfig } from "../../src/model/index.ts";
import { optimize, PROCESSOR_PIPELINE } from "../../src/passes/pipeline.ts";
import { rowScalesOutOfProducts } from "../../src/passes/row-scales-out-of-products.ts";
import { buildTrainingPlan } from "../../src/train/step/step-plan.ts";
import { Random } from "../../src/util/random.ts";
import { LLAMA_JSON } from "../model/configs.ts";
import { randomInputs } from "../helpers/tensors.ts";

/** (r P) W and (r P)' H of rows [N, K], with r P in the middle of a sum by places where `scatters`. */
function products(N: number, K: number, C: number, scatters: boolean): MilFunction {
  const f = new FunctionBuilder("main");
  const r = f.input("r", tensorType("fp32", [N, 1]));
  const P = f.input("P", tensorType("fp32", [N, K]));
  const W = f.input("W", tensorType("fp32", [K, C]));
  const H = f.input("H", tensorType("fp32", [N, C]));
  const scaled = f.op("mul", { x: r, y: P });
  const rows = scatters
    ? f.op("scatter_along_axis", {
        ...{ data: scaled, indices: f.op("cast", { x: f.op("sign", { x: r }), dtype: "int32" }) },
        ...{ updates: f.op("mul", { x: r, y: -1 }), axis: 1, mode: "add" },
      })
    : scaled;
  return f.finish({
    down: f.op("matmul", { x: rows, y: W }),
    across: f.op("matmul", { x: rows, y: H, transpose_x: true }),
  });
}

/** The most numbers that any product of numbers, not of matrices, makes. */
const largestMul = (fn: MilFunction): number =>
  Math.max(
    0,
    ...fn.operations.flatMap(({ type, outputs }) =>
      type === "mul"
        ? outputs.map(({ type: result }) =>
            result.kind === "tensor"
              ? result.shape.reduce<number>((product, size) => product * Number(size), 1)
              : 0,
          )
        : [],
    ),
  );

describe("factors of rows", () => {
  it("leave products over many columns, with the same results", () => {
    assert(
      property(integer({ min: 1, max: 6 }), integer({ min: 2, max: 9 }), (N, C) => {
        for (const scatters of [false, true]) {
          const K = C + 3;
          const before = products(N, K, C, scatters);
          const after = optimize(before, { passes: PROCESSOR_PIPELINE });
          expect(largestMul(after)).toBeLessThanOrEqual(N * C);
          const inputs = randomInputs(before, new Random(N + C));
          const wanted = evaluateFunction(before, inputs, { precision: "float64" });
          const found = evaluateFunction(after, inputs, { precision: "float64" });
          for (const [name, { data }] of wanted)
            data.forEach((value, at) =>
              expect(found.get(name)?.data[at], `${name} ${at}`).toBeCloseTo(value, 10),
            );
        }
      }),
      { numRuns: 20 },
    );
  });

  it("stay where a product has more columns than what is scaled", () => {
    const fn = products(4, 3, 8, false);
    expect(rowScalesOutOfProducts(fn).operations.length).toBe(fn.operations.length);
  });

  it("are not multiplied with every logit of a head's gradient", () => {
    const { plan } = buildTrainingPlan({
      model: modelOf(parseModelConfig({ ...LLAMA_JSON, vocab_size: 500 })),
      ...{ batchSize: 1, sequenceLength: 8, accumulation: false },
      optimize: (fn) => optimize(fn, { passes: PROCESSOR_PIPELINE }),
    });
    const head = plan.programs.get("head_gradient_8")?.function;
    expect(head && largestMul(head)).toBeLessThan(8 * 500);
  });
});
