import { describe, expect, it } from "vitest";
import { createEngine } from "../../src/engine/create.ts";
import { runFunction } from "../../src/engine/run-function.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { scalarLiteral } from "../../src/mil/literal.ts";
import type { MilFunction } from "../../src/mil/program.ts";
import { tensorType } from "../../src/mil/types.ts";

const sequence = (count: number): number[] =>
  Array.from({ length: count }, (_, i) => ((i * 7) % 11) / 4 - 1);

function vectors(): MilFunction {
  const f = new FunctionBuilder("vectors");
  const v = f.input("v", tensorType("fp32", [4]));
  const m = f.input("m", tensorType("fp32", [4, 3]));
  const stack = f.input("stack", tensorType("fp32", [2, 3, 4]));
  return f.finish({
    dot: f.op("matmul", { x: v, y: v }),
    row: f.op("matmul", { x: v, y: m }),
    turned: f.op("matmul", { x: m, y: v, transpose_x: true }),
    column: f.op("matmul", { x: stack, y: v }),
    stacked: f.op("matmul", { x: v, y: stack, transpose_y: true }),
  });
}

function nothing(): MilFunction {
  const f = new FunctionBuilder("nothing");
  const v = f.input("v", tensorType("fp32", [4]));
  const none = f.op("slice_by_index", { x: v, begin: [4], end: [4] });
  const wide = f.op("reshape", { x: none, shape: [2, 0] });
  return f.finish({
    sum: f.op("reduce_sum", { x: wide, axes: [1], keep_dims: false }),
    joined: f.op("concat", { values: [none, v], axis: 0 }),
    product: f.op("matmul", { x: wide, y: f.op("reshape", { x: none, shape: [0, 3] }) }),
  });
}

function branch(): MilFunction {
  const f = new FunctionBuilder("integers");
  const ids = f.input("ids", tensorType("int32", [4]));
  const v = f.input("v", tensorType("fp32", [4]));
  const isEven = f.op("equal", {
    x: f.op("mod", { x: ids, y: scalarLiteral("int32", 2) }),
    y: scalarLiteral("int32", 0),
  });
  const mask = f.op("cast", { x: isEven, dtype: "fp32" });
  return f.finish({
    masked: f.op("mul", { x: mask, y: v }),
    isEven,
    next: f.op("add", { x: ids, y: scalarLiteral("int32", 1) }),
    whole: f.op("cast", { x: f.op("mul", { x: v, y: 3 }), dtype: "int32" }),
  });
}

describe.each(["cpu", "sim:m1", "sim:m4"])("%s agrees with the reference about", (name) => {
  it.each([
    ["vectors in products", vectors()],
    ["tensors without elements", nothing()],
    ["masks, bools and integers", branch()],
  ])("%s", async (_, fn) => {
    const all: Readonly<Record<string, number[]>> = {
      v: sequence(4),
      m: sequence(12),
      stack: sequence(24),
      ids: [4097, 2, -3, 100_000],
    };
    const inputs = Object.fromEntries(
      fn.inputs.map((input) => [input.name, all[input.name] ?? []]),
    );
    const reference = await createEngine("reference");
    const engine = await createEngine(name);
    const wanted = await runFunction(reference, fn, inputs);
    const got = await runFunction(engine, fn, inputs);
    for (const [result, value] of wanted) {
      const numbers = got.get(result)?.toArray() ?? [];
      expect(numbers.length, result).toBe(value.toArray().length);
      for (const [index, want] of value.toArray().entries())
        expect(numbers[index], `${result}[${index}]`).toBeCloseTo(want, 2);
    }
    await engine.close();
    await reference.close();
  });
});
