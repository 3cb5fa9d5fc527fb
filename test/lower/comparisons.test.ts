import { describe, expect, it } from "vitest";
import { chipByName } from "../../src/chip/chips.ts";
import { lowerFunction } from "../../src/lower/lower-function.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { scalarLiteral, tensorLiteral } from "../../src/mil/literal.ts";
import type { MilFunction, Operand, Value } from "../../src/mil/program.ts";
import { tensorType } from "../../src/mil/types.ts";
import { expectSameOnEngine } from "../helpers/engine-path.ts";

const COMPARISONS = [
  ...["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"],
] as const as readonly ("equal" | "not_equal" | "less" | "less_equal" | "greater")[];

const FLOATS = [-60000, -2.5, -1, -0.5, 0, 0.5, 1, 2, 2.5, 60000];
const INTEGERS = [-70000, -3, -1, 0, 1, 2, 3, 2049, 2050, 70000];

function returning(
  dataType: "fp32" | "int32" | "bool",
  write: (f: FunctionBuilder, x: Value, y: Value) => Readonly<Record<string, Value>>,
): MilFunction {
  const f = new FunctionBuilder("compared");
  const x = f.input("x", tensorType(dataType, [10]));
  const y = f.input("y", tensorType(dataType, [10]));
  return f.finish(write(f, x, y));
}

describe.each(COMPARISONS)("%s on the engine", (type) => {
  it("tells floats apart, with another value and with constants on either side", () => {
    const fn = returning("fp32", (f, x, y) => ({
      values: f.op(type, { x, y }),
      right: f.op(type, { x, y: 0.5 }),
      left: f.op(type, { x: scalarLiteral("fp32", 0.5), y: x }),
      row: f.op(type, { x, y: tensorLiteral("fp32", [10], FLOATS.toReversed()) }),
    }));
    expectSameOnEngine(fn, { x: FLOATS, y: FLOATS.toReversed() }, { absolute: 0, relative: 0 });
  });

  it("tells integers apart that fp16 does not", () => {
    const fn = returning("int32", (f, x, y) => ({
      values: f.op("cast", { x: f.op(type, { x, y }), dtype: "fp32" }),
      right: f.op(type, { x, y: scalarLiteral("int32", 2049) }),
      left: f.op(type, { x: scalarLiteral("int32", 3), y: x }),
      masked: f.op("mul", {
        x: f.op("cast", { x: f.op(type, { x, y: scalarLiteral("int32", 2050) }), dtype: "fp32" }),
        y: f.input("z", tensorType("fp32", [10])),
      }),
    }));
    const numbers = { x: INTEGERS, y: INTEGERS.toReversed(), z: FLOATS };
    expectSameOnEngine(fn, numbers, { absolute: 0, relative: 0 });
  });

  it("is refused by name with an infinity or NaN, which the engine reads as numbers", () => {
    for (const [bound, name] of [
      [Infinity, "Infinity"],
      [-Infinity, "-Infinity"],
      [NaN, "NaN"],
    ] as const) {
      const fn = returning("fp32", (f, x) => ({
        right: f.op(type, { x, y: scalarLiteral("fp32", bound) }),
      }));
      expect(() => lowerFunction(fn, chipByName("m4"), "e5rt")).toThrow(`${type} with ${name}:`);
    }
  });

  it("keeps its answer for constants that fp16 does not hold", () => {
    for (const bound of [1e5, -1e5, 3e38, 1e-9, -1e-9, 65510]) {
      const fn = returning("fp32", (f, x, y) => ({
        right: f.op(type, { x, y: bound }),
        left: f.op(type, { x: scalarLiteral("fp32", bound), y }),
      }));
      const small = [-60000, -1, -6e-8, 0, 0, 6e-8, 1, 65472, -65504, 65504];
      expectSameOnEngine(fn, { x: small, y: small.toReversed() }, { absolute: 0, relative: 0 });
    }
  });
});

describe("a cast on the engine", () => {
  const casts = (write: (f: FunctionBuilder, x: Operand) => Record<string, Value>): MilFunction => {
    const f = new FunctionBuilder("cast");
    const x = f.input("x", tensorType("fp32", [10]));
    const scaled = f.op("mul", { x, y: 1 });
    return f.finish(write(f, scaled));
  };

  it("of a bool gives 0 and 1, whatever it came from", () => {
    const fn = casts((f, x) => {
      const mask = f.op("greater", { x, y: 0 });
      return {
        masked: f.op("mul", { x: f.op("cast", { x: mask, dtype: "fp32" }), y: x }),
        counted: f.op("cast", { x: mask, dtype: "int32" }),
        flag: mask,
        none: f.op("logical_not", { x: mask }),
        halved: f.op("mul", { x: f.op("cast", { x: mask, dtype: "fp16" }), y: 0.5 }),
      };
    });
    expectSameOnEngine(fn, { x: FLOATS }, { absolute: 0, relative: 0 });
  });

  it("of a float to an integer drops the fraction, to a bool asks whether it is 0", () => {
    const fn = casts((f, x) => {
      const whole = f.op("cast", { x, dtype: "int32" });
      return {
        whole,
        back: f.op("cast", { x: whole, dtype: "fp32" }),
        some: f.op("cast", { x, dtype: "bool" }),
        any: f.op("cast", { x: whole, dtype: "bool" }),
        two: f.op("equal", { x: whole, y: scalarLiteral("int32", 2) }),
        ofBool: f.op("cast", { x: f.op("cast", { x, dtype: "bool" }), dtype: "int32" }),
      };
    });
    const x = [-60000, -2.75, -1, -0.5, 0, 0.5, 1, 2.25, 2047.5, 60000];
    expectSameOnEngine(fn, { x }, { absolute: 0, relative: 0 });
  });

  it("of integers of the host is exact before it is fp16", () => {
    const f = new FunctionBuilder("ids");
    const x = f.input("x", tensorType("int32", [4]));
    const rest = f.op("mod", { x, y: scalarLiteral("int32", 1000) });
    const fn = f.finish({
      y: f.op("sin", { x: f.op("cast", { x: rest, dtype: "fp32" }) }),
      z: f.op("exp", { x: f.op("mul", { x: f.input("w", tensorType("fp32", [4])), y: 1 }) }),
    });
    expectSameOnEngine(fn, { x: [1_000_003, 7, 2049, -4], w: [1, 2, 3, 4] });
  });

  it.each(["int8", "uint8", "int16", "uint16"] as const)(
    "to %s, where numbers would wrap around, is refused by name",
    (dtype) => {
      const fn = casts((f, x) => ({ y: f.op("cast", { x, dtype }) }));
      expect(() => lowerFunction(fn, chipByName("m4"), "e5rt")).toThrow(
        `cast of floats to ${dtype}`,
      );
    },
  );
});

describe("bools on the engine", () => {
  it("are joined by and, or and xor, chosen by, moved and counted", () => {
    const f = new FunctionBuilder("flags");
    const x = f.input("x", tensorType("fp32", [2, 5]));
    const y = f.input("y", tensorType("fp32", [2, 5]));
    const a = f.op("greater", { x, y: 0 });
    const b = f.op("less", { x, y });
    const both = f.op("logical_and", { x: a, y: b });
    const turned = f.op("transpose", { x: both, perm: [1, 0] });
    const fn = f.finish({
      both,
      either: f.op("logical_or", { x: a, y: b }),
      one: f.op("logical_xor", { x: a, y: b }),
      chosen: f.op("select", { cond: both, a: x, b: y }),
      turned,
      parts: f.op("concat", { values: [a, b], axis: 1 }),
      count: f.op("reduce_sum", {
        x: f.op("cast", { x: turned, dtype: "int32" }),
        axes: [0],
        keep_dims: false,
      }),
      ofConstant: f.op("logical_and", {
        x: a,
        y: tensorLiteral("bool", [2, 5], [1, 0, 1, 0, 1, 0, 1, 0, 1, 0]),
      }),
    });
    const numbers = { x: FLOATS, y: [1, -1, 2, 3, -4, 0.5, 0, 7, 2, 60000] };
    expectSameOnEngine(fn, numbers, { absolute: 0, relative: 0 });
  });

  it("and bools of the host choose on the engine", () => {
    const f = new FunctionBuilder("masked");
    const keep = f.input("keep", tensorType("bool", [4]));
    const tokens = f.input("tokens", tensorType("int32", [4]));
    const x = f.input("x", tensorType("fp32", [4]));
    const isToken = f.op("not_equal", { x: tokens, y: scalarLiteral("int32", 0) });
    const both = f.op("logical_and", { x: keep, y: isToken });
    const fn = f.finish({
      y: f.op("select", { cond: both, a: x, b: f.op("mul", { x, y: -1 }) }),
      both,
    });
    const numbers = { keep: [1, 0, 1, 1], tokens: [5, 5, 0, 70000], x: [1, 2, 3, 4] };
    expectSameOnEngine(fn, numbers, { absolute: 0, relative: 0 });
  });
});

describe("integers of the engine", () => {
  it("are added where their bounds show that nothing is lost, and refused where not", () => {
    const f = new FunctionBuilder("sums");
    const x = f.input("x", tensorType("fp32", [4]));
    const flag = f.op("cast", { x: f.op("greater", { x, y: 0 }), dtype: "int32" });
    const three = f.op("mul", { x: flag, y: scalarLiteral("int32", 3) });
    const good = f.finish({ y: f.op("add", { x: three, y: flag }) });
    expectSameOnEngine(good, { x: [-1, 0, 1, 2] }, { absolute: 0, relative: 0 });
    const g = new FunctionBuilder("sums");
    const z = g.input("x", tensorType("fp32", [4]));
    const cut = g.op("cast", { x: g.op("mul", { x: z, y: 2 }), dtype: "int32" });
    const bad = g.finish({ y: g.op("add", { x: cut, y: scalarLiteral("int32", 1) }) });
    expect(() => lowerFunction(bad, chipByName("m4"), "e5rt")).toThrow(
      /add "y" computes with integers, fp16 is exact up to 2048/,
    );
  });

  it("as positions of the largest come back exact", () => {
    const f = new FunctionBuilder("largest");
    const x = f.input("x", tensorType("fp32", [2, 5]));
    const [values, positions] = f.many("topk", { x, k: 2, axis: 1 });
    if (values === undefined || positions === undefined) throw new Error("topk");
    const fn = f.finish({ values, positions });
    expectSameOnEngine(fn, { x: FLOATS }, { absolute: 0, relative: 1e-3 });
  });
});
