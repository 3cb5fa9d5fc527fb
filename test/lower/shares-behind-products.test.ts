import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { sharesBehindProducts } from "../../src/lower/shares-behind-products.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";
import { tensorLiteral } from "../../src/mil/literal.ts";
import type { MilFunction, Value } from "../../src/mil/program.ts";
import { tensorType } from "../../src/mil/types.ts";
import { verifyFunction } from "../../src/mil/verify.ts";

const [ROWS, COLUMNS, CHANNELS] = [3, 5, 4];
const PARTS = 2;

/** A head's loss and gradients [R, V] in two parts, as the engine has them; `extra` reads what has to stay. */
function head(extra?: "share" | "exponential" | "largest"): MilFunction {
  const f = new FunctionBuilder("head");
  const hidden = f.input("hidden", tensorType("fp32", [ROWS, CHANNELS]));
  const gradient = f.input("gradient", tensorType("fp32", [ROWS, 1]));
  const weights = Array.from({ length: PARTS }, (_, part) =>
    f.input(`weight${part}`, tensorType("fp32", [COLUMNS, CHANNELS])),
  );
  const logits = weights.map((y) => f.op("matmul", { x: hidden, y, transpose_y: true }));
  const maxima = logits.map((x) => f.op("reduce_max", { x, axes: [1], keep_dims: true }));
  const [first, second] = maxima as [Value, Value];
  const largest = f.op("maximum", { x: first, y: second });
  const exps = logits.map((x) => f.op("exp", { x: f.op("sub", { x, y: largest }) }));
  const one = tensorLiteral(
    "fp32",
    [COLUMNS, 1],
    Array.from({ length: COLUMNS }, () => 1),
  );
  const [left, right] = exps.map((x) =>
    f.op("mul", { x: f.op("matmul", { x, y: one }), y: 1 / 64 }),
  ) as [Value, Value];
  const sum = f.op("add", { x: left, y: right });
  const log = f.op("add", { x: f.op("log", { x: sum, epsilon: 0 }), y: largest });
  const loss = f.op("add", { x: log, y: Math.log(64) });
  const factor = f.op("mul", { x: f.op("real_div", { x: 1 / 64, y: sum }), y: gradient });
  const shares = exps.map((x) => f.op("mul", { x, y: factor }));
  const products = shares.map((x, part) => f.op("matmul", { x, y: weights[part] ?? x }));
  const [one0, two0] = products as [Value, Value];
  const results: Record<string, Value> = { loss, d_hidden: f.op("add", { x: one0, y: two0 }) };
  for (const [part, x] of shares.entries())
    results[`d_weight${part}`] = f.op("matmul", { x, y: hidden, transpose_x: true });
  if (extra === "share") results["extra"] = f.op("abs", { x: shares[0] ?? loss });
  if (extra === "exponential") results["extra"] = f.op("abs", { x: exps[1] ?? loss });
  if (extra === "largest") results["extra"] = f.op("abs", { x: largest });
  return f.finish(results);
}

/** Multiplications over all columns. */
function wideProducts(fn: MilFunction): number {
  return fn.operations.filter(
    ({ type, outputs: [output] }) =>
      type === "mul" && output?.type.kind === "tensor" && output.type.shape[1] === COLUMNS,
  ).length;
}

describe("shares of a softmax that products read", () => {
  test("are made behind the products: the same loss and gradients, nothing multiplied over all columns", () => {
    const fn = head();
    const moved = sharesBehindProducts(fn);
    verifyFunction(moved);
    expect(wideProducts(fn)).toBe(PARTS);
    expect(wideProducts(moved)).toBe(0);
    const numbers = (count: number, size: number) =>
      fc.array(fc.double({ min: -size, max: size, noNaN: true }), {
        minLength: count,
        maxLength: count,
      });
    const tensor = (shape: readonly number[], data: readonly number[]) =>
      hostTensor("fp32", [...shape], Float64Array.from(data, Math.fround));
    fc.assert(
      fc.property(
        numbers(ROWS * CHANNELS, 3),
        numbers(ROWS, 1000),
        numbers(PARTS * COLUMNS * CHANNELS, 2),
        (hidden, gradient, weights) => {
          const inputs = new Map([
            ["hidden", tensor([ROWS, CHANNELS], hidden)],
            ["gradient", tensor([ROWS, 1], gradient)],
            ...Array.from({ length: PARTS }, (_, part) => {
              const size = COLUMNS * CHANNELS;
              const own = weights.slice(part * size, (part + 1) * size);
              return [`weight${part}`, tensor([COLUMNS, CHANNELS], own)] as const;
            }),
          ]);
          const [wanted, got] = [fn, moved].map((each) =>
            evaluateFunction(each, inputs, { precision: "float64" }),
          );
          for (const [name, { data }] of wanted ?? [])
            for (const [i, value] of data.entries()) {
              const found = Number(got?.get(name)?.data[i]);
              expect(Math.abs(found - value), name).toBeLessThan(1e-6 * (1 + Math.abs(value)));
            }
        },
      ),
      { numRuns: 50 },
    );
  });

  test("stay where something else reads them, their exponentials or the largest number", () => {
    for (const extra of ["share", "exponential", "largest"] as const) {
      const fn = head(extra);
      expect(sharesBehindProducts(fn), extra).toBe(fn);
    }
  });
});
