import { describe, expect, it } from "vitest";
import { FunctionBuilder, shaped } from "../../src/mil/builder.ts";
import type { Value } from "../../src/mil/program.ts";

const typeOf = ({ type }: Value): string => (type.kind === "tensor" ? type.dataType : type.kind);

describe("plain numbers that a builder is given", () => {
  const f = new FunctionBuilder("main");
  const sizes = f.input("sizes", shaped("int32", 2));
  const x = f.input("x", shaped("fp16", 3));
  const i = f.input("i", shaped("int32", 3));

  it("have the type of the data beside them, not of sizes that are computed", () => {
    expect(typeOf(f.op("fill", { shape: sizes, value: 2.5 }))).toBe("fp32");
    expect(typeOf(f.op("random_uniform", { shape: sizes, low: 0.5, high: 2 }))).toBe("fp32");
    expect(typeOf(f.op("mul", { x, y: 0.5 }))).toBe("fp16");
    expect(typeOf(f.op("mul", { x: 2, y: i }))).toBe("int32");
    const end = f.op("reduce_sum", { x: i, axes: [0], keep_dims: false });
    expect(typeOf(f.op("range_1d", { start: 0, end, step: 1 }))).toBe("int32");
  });
});
