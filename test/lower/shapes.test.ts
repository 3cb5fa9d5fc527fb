import { describe, expect, it } from "vitest";
import { checkFunction } from "../../src/chip/legality/check.ts";
import { chipByName } from "../../src/chip/chips.ts";
import { lowerFunction } from "../../src/lower/lower-function.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { int32Literal, scalarLiteral, tensorLiteral } from "../../src/mil/literal.ts";
import { tensorType } from "../../src/mil/types.ts";
import { expectSameOnEngine } from "../helpers/engine-path.ts";

const sequence = (count: number): number[] =>
  Array.from({ length: count }, (_, i) => ((i * 7) % 11) / 4 - 1);

describe("norms on the engine", () => {
  it.each([
    { axes: [2] },
    { axes: [-1, 0] },
    { axes: [0, 2] },
    { axes: [1] },
    { axes: [0, 1] },
    { axes: [0, 1, 2] },
  ])("over axes $axes take gamma and beta along", ({ axes }) => {
    const shape = [2, 4, 3];
    const sizes = axes
      .map((axis) => (axis + 3) % 3)
      .toSorted((a, b) => a - b)
      .map((axis) => shape[axis] ?? 1);
    const count = sizes.reduce((product, size) => product * size, 1);
    const f = new FunctionBuilder("norm");
    const x = f.input("x", tensorType("fp32", shape));
    const gamma = tensorLiteral("fp32", sizes, sequence(count));
    const beta = tensorLiteral("fp32", sizes, sequence(count).toReversed());
    const fn = f.finish({
      both: f.op("layer_norm", { x, axes, gamma, beta, epsilon: 1e-3 }),
      scaled: f.op("layer_norm", { x, axes, gamma, epsilon: 1e-3 }),
      moved: f.op("layer_norm", { x, axes, beta, epsilon: 1e-3 }),
    });
    expectSameOnEngine(fn, { x: sequence(24) });
  });

  it("that are too wide for gamma and beta inside have them as ops of their own", () => {
    const f = new FunctionBuilder("wide");
    const x = f.input("x", tensorType("fp32", [2, 1100, 3]));
    const gamma = tensorLiteral("fp32", [1100], sequence(1100));
    const fn = f.finish({ y: f.op("layer_norm", { x, axes: [1], gamma, beta: gamma }) });
    expectSameOnEngine(fn, { x: sequence(6600) });
    const program = lowerFunction(fn, chipByName("m1"), "e5rt");
    const errors = checkFunction(program.function, chipByName("m1"), "e5rt");
    expect(errors.filter(({ severity }) => severity === "error")).toEqual([]);
  });
});

describe("tensors of more than five axes", () => {
  it("that windows of attention pass through are split to five", () => {
    const f = new FunctionBuilder("windows");
    const x = f.input("x", tensorType("fp32", [1, 8, 8, 4]));
    const windows = f.op("reshape", { x, shape: [1, 2, 4, 2, 4, 4] });
    const turned = f.op("transpose", { x: windows, perm: [0, 1, 3, 2, 4, 5] });
    const bent = f.op("add", {
      x: f.op("tanh", { x: turned }),
      y: f.op("mul", { x: turned, y: 2 }),
    });
    const fn = f.finish({ y: f.op("reshape", { x: bent, shape: [4, 16, 4] }) });
    expectSameOnEngine(fn, { x: sequence(256) });
    for (const chip of ["m1", "m4"]) {
      const program = lowerFunction(fn, chipByName(chip), "e5rt");
      const findings = checkFunction(program.function, chipByName(chip), "e5rt");
      expect(findings.filter(({ severity }) => severity === "error")).toEqual([]);
    }
  });

  it("are turned in any order, broadcast, and returned", () => {
    for (const perm of [
      [6, 4, 2, 0, 3, 5, 1],
      [1, 0, 3, 2, 5, 4, 6],
      [6, 5, 4, 3, 2, 1, 0],
      [0, 1, 2, 3, 4, 5, 6],
    ]) {
      const f = new FunctionBuilder("turned");
      const x = f.input("x", tensorType("fp32", [2, 2, 3, 2, 4]));
      const wide = f.op("reshape", { x, shape: [2, 2, 3, 1, 2, 2, 2] });
      const turned = f.op("transpose", { x: wide, perm });
      const size = [2, 2, 3, 1, 2, 2, 2][perm[6] ?? 0] ?? 1;
      const row = tensorLiteral("fp32", [size], sequence(size));
      const fn = f.finish({
        turned,
        sum: f.op("reshape", { x: f.op("add", { x: turned, y: row }), shape: [8, 12] }),
      });
      expectSameOnEngine(fn, { x: sequence(96) }, { absolute: 0, relative: 1e-3 });
    }
  });

  it("are refused by other ops, with their rank", () => {
    const f = new FunctionBuilder("refused");
    const x = f.input("x", tensorType("fp32", [2, 2, 2, 8]));
    const wide = f.op("reshape", { x, shape: [2, 2, 2, 2, 2, 2] });
    const fn = f.finish({ y: f.op("softmax", { x: wide, axis: 2 }) });
    expect(() => lowerFunction(fn, chipByName("m4"), "e5rt")).toThrow(/a tensor of rank 6/);
  });
});

describe("indices", () => {
  /** As converters write a gather from ios17 on. */
  it.each(["input", "computed"] as const)(
    "that may count from the end are the host's before a gather of a table that is an %s",
    (kind) => {
      const f = new FunctionBuilder("tokens");
      const ids = f.input("ids", tensorType("int32", [3]));
      const given = f.input("table", tensorType("fp32", [50, 4]));
      const table = kind === "input" ? given : f.op("tanh", { x: given });
      const isFront = f.op("greater_equal", { x: ids, y: int32Literal(0) });
      const fromEnd = f.op("add", { x: ids, y: int32Literal(50) });
      const chosen = f.op("select", { cond: isFront, a: ids, b: fromEnd });
      const rows = f.op("gather", {
        x: table,
        indices: f.op("cast", { x: chosen, dtype: "int16" }),
        axis: 0,
      });
      const weight = tensorLiteral("fp32", [6, 4], sequence(24));
      const fn = f.finish({ y: f.op("linear", { x: rows, weight }), chosen });
      expectSameOnEngine(fn, { ids: [49, -1, 3], table: sequence(200) }, { absolute: 5e-3 });
    },
  );

  it("of a long table are looked up by the host, and what follows runs on the engine", () => {
    const f = new FunctionBuilder("long");
    const ids = f.input("ids", tensorType("int32", [2]));
    const table = tensorLiteral("fp32", [5000, 4], sequence(20000));
    const next = f.op("mod", {
      x: f.op("add", { x: ids, y: int32Literal(4999) }),
      y: int32Literal(5000),
    });
    const rows = f.op("gather", { x: table, indices: next, axis: 0 });
    const fn = f.finish({
      y: f.op("linear", { x: rows, weight: tensorLiteral("fp32", [3, 4], sequence(12)) }),
    });
    expectSameOnEngine(fn, { ids: [0, 4321] });
    const program = lowerFunction(fn, chipByName("m4"), "e5rt");
    expect(program.hostPart?.operations.some(({ type }) => type === "gather")).toBe(true);
  });

  it("outside their axis are an error, and the largest of x and 0 is the first element", () => {
    const f = new FunctionBuilder("targets");
    const targets = f.input("targets", tensorType("int32", [3, 1]));
    const x = f.input("x", tensorType("fp32", [3, 4]));
    const inside = f.op("maximum", { x: targets, y: int32Literal(0) });
    const fn = f.finish({
      y: f.op("gather_along_axis", { x: f.op("tanh", { x }), indices: inside, axis: 1 }),
    });
    expectSameOnEngine(fn, { targets: [2, -100, 0], x: sequence(12) });
    expect(() => expectSameOnEngine(fn, { targets: [4, 0, 0], x: sequence(12) })).toThrow(
      /index 4 is outside the 4 elements/,
    );
  });
});

describe("products", () => {
  it("of vectors, and linear layers of any rank, compute the same", () => {
    const f = new FunctionBuilder("products");
    const x = f.input("x", tensorType("fp32", [5]));
    const m = f.input("m", tensorType("fp32", [2, 3, 5]));
    const wide = f.input("wide", tensorType("fp32", [2, 3, 2, 2, 4]));
    const weight = tensorLiteral("fp32", [3, 4], sequence(12));
    const bias = tensorLiteral("fp32", [3], sequence(3));
    const fn = f.finish({
      dot: f.op("matmul", { x, y: x }),
      right: f.op("matmul", { x: m, y: x }),
      left: f.op("matmul", { x, y: m, transpose_y: true }),
      constant: f.op("matmul", { x, y: tensorLiteral("fp32", [5, 40], sequence(200)) }),
      vector: f.op("matmul", { x: m, y: tensorLiteral("fp32", [5], sequence(5)) }),
      layer: f.op("linear", { x: wide, weight, bias }),
    });
    expectSameOnEngine(fn, { x: sequence(5), m: sequence(30), wide: sequence(96) });
  });

  it("with scalars as small as an epsilon keep their digits", () => {
    const f = new FunctionBuilder("small");
    const x = f.input("x", tensorType("fp32", [4]));
    const y = f.op("mul", { x, y: scalarLiteral("fp32", 3.3e-7) });
    const fn = f.finish({ y: f.op("mul", { x: y, y: 1000 }) });
    expectSameOnEngine(fn, { x: [60000, 30000, -60000, 20000] }, { absolute: 1e-6 });
  });
});

describe("compressed constants as ios16 writes them", () => {
  it("have their parameters as attributes, and become operands", () => {
    const f = new FunctionBuilder("quantized");
    const x = f.input("x", tensorType("fp32", [2, 4]));
    const attributes = new Map([
      [
        "quantized_data",
        tensorLiteral(
          "int8",
          [3, 4],
          sequence(12).map((n) => Math.round(n * 40)),
        ),
      ],
      ["zero_point", tensorLiteral("int8", [], [3])],
      ["scale", scalarLiteral("fp32", 0.02)],
      ["axis", int32Literal(0)],
    ]);
    const [weight] = f.append({
      type: "constexpr_affine_dequantize",
      inputs: new Map(),
      blocks: [],
      attributes,
    });
    if (weight === undefined) throw new Error("no weight");
    const fn = f.finish({ y: f.op("matmul", { x, y: weight, transpose_y: true }) });
    expectSameOnEngine(fn, { x: sequence(8) });
  });

  /** ios16 packs indices of 2 bits and masks of 1 bit into bytes, lowest bits first. */
  it.each([
    [
      "palettes",
      "constexpr_lut_to_dense",
      {
        indices: tensorLiteral("uint8", [3], [0b11_10_01_00, 0b00_01_10_11, 0b01_01_11_00]),
        lut: tensorLiteral("fp16", [4], [-1, -0.25, 0.5, 1]),
        shape: tensorLiteral("uint32", [2], [3, 4]),
      },
    ],
    [
      "masks",
      "constexpr_sparse_to_dense",
      {
        nonzero_data: tensorLiteral("fp16", [5], [0.5, -1, 1.5, 0.25, -0.75]),
        mask: tensorLiteral("uint8", [2], [0b0100_1001, 0b0000_1001]),
        shape: tensorLiteral("uint32", [2], [3, 4]),
      },
    ],
  ])("%s of ios16 feed a product", (_, type, parameters) => {
    const f = new FunctionBuilder("packed", "ios16");
    const x = f.input("x", tensorType("fp16", [2, 4]));
    const [weight] = f.append({
      type,
      inputs: new Map(),
      blocks: [],
      attributes: new Map(Object.entries(parameters)),
    });
    if (weight === undefined) throw new Error("no weight");
    const fn = f.finish({ y: f.op("matmul", { x, y: weight, transpose_y: true }) });
    expectSameOnEngine(fn, { x: sequence(8) });
  });

  it("blocks are unpacked before a product, behind a palette too", () => {
    const f = new FunctionBuilder("blocks");
    const x = f.input("x", tensorType("fp16", [2, 4]));
    const data = f.op("constexpr_lut_to_dense", {
      indices: tensorLiteral("uint2", [3, 4], [0, 1, 2, 3, 3, 2, 1, 0, 0, 0, 3, 1]),
      lut: tensorLiteral("int8", [1, 1, 4, 1], [-100, -20, 30, 90]),
    });
    const weight = f.op("constexpr_blockwise_shift_scale", {
      data,
      scale: tensorLiteral("fp16", [3, 2], [0.01, 0.02, 0.005, 0.01, 0.02, 0.015]),
    });
    const fn = f.finish({ y: f.op("linear", { x, weight }) });
    expectSameOnEngine(fn, { x: sequence(8) });
  });
});
