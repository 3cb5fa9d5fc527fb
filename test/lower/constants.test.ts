import { describe, expect, it } from "vitest";
import { chipByName } from "../../src/chip/chips.ts";
import { lowerFunction } from "../../src/lower/lower-function.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { scalarLiteral, tensorLiteral } from "../../src/mil/literal.ts";
import type { MilFunction, Value } from "../../src/mil/program.ts";
import { tensorType } from "../../src/mil/types.ts";
import { expectSameOnEngine } from "../helpers/engine-path.ts";

const NUMBERS = [-60000, -300, -1, -0.25, 0, 0.25, 1, 60000];

function ofX(
  write: (f: FunctionBuilder, x: Value) => Readonly<Record<string, Value>>,
): MilFunction {
  const f = new FunctionBuilder("constants");
  return f.finish(write(f, f.input("x", tensorType("fp32", [8]))));
}

function refusal(write: (f: FunctionBuilder, x: Value) => Value): string {
  try {
    lowerFunction(
      ofX((f, x) => ({ y: write(f, x) })),
      chipByName("m4"),
      "e5rt",
    );
  } catch (error) {
    return (error as Error).message;
  }
  return "it is not refused";
}

describe("constants beyond fp16 on the engine", () => {
  it("bound nothing where no number passes them", () => {
    const fn = ofX((f, x) => ({
      smaller: f.op("minimum", { x, y: 1e5 }),
      larger: f.op("maximum", { x: scalarLiteral("fp32", -1e9), y: x }),
      row: f.op("minimum", {
        x,
        y: tensorLiteral("fp32", [8], [1, 1e5, 0, 3e38, 1, 1e5, 0.5, 1e6]),
      }),
      clipped: f.op("clip", { x, alpha: -1e9, beta: 0.5 }),
      open: f.op("clip", { x, alpha: -3e38, beta: 3e38 }),
    }));
    expectSameOnEngine(fn, { x: NUMBERS }, { absolute: 0, relative: 0 });
  });

  it("multiply and divide in steps, large ones and small ones", () => {
    const fn = ofX((f, x) => {
      const small = f.op("mul", { x, y: 1e-3 });
      const positive = f.op("add", { x: f.op("abs", { x }), y: 1 });
      return {
        product: f.op("mul", { x: small, y: 3e5 }),
        left: f.op("mul", { x: scalarLiteral("fp32", -2e5), y: small }),
        quotient: f.op("real_div", { x, y: 1e6 }),
        reciprocal: f.op("real_div", { x: scalarLiteral("fp32", 4e5), y: positive }),
        tiny: f.op("mul", { x, y: 3.3e-6 }),
        restored: f.op("real_div", { x: small, y: 2.2e-5 }),
        row: f.op("mul", {
          x: small,
          y: tensorLiteral("fp32", [8], [1e5, 2e5, 1e5, 7e4, 0, 7e4, 1e5, 1e5]),
        }),
      };
    });
    const x = [-600, -300, -1, -0.25, 0, 0.25, 1, 600];
    expectSameOnEngine(fn, { x }, { absolute: 1e-6, relative: 3e-3 });
  });

  it("are added in halves", () => {
    const fn = ofX((f, x) => {
      const low = f.op("minimum", { x, y: -30000 });
      return {
        sum: f.op("add", { x: low, y: 80000 }),
        difference: f.op("sub", { x: f.op("mul", { x: low, y: -1 }), y: 80000 }),
        left: f.op("sub", { x: scalarLiteral("fp32", -90000), y: low }),
      };
    });
    const x = [-60000, -50000, -40000, -30000, -35000, -60032, -45000, -31000];
    expectSameOnEngine(fn, { x }, { absolute: 32, relative: 2e-3 });
  });

  it("keep an epsilon apart from 0", () => {
    const fn = ofX((f, x) => ({
      direction: f.op("real_div", {
        x,
        y: f.op("maximum", { x: f.op("abs", { x }), y: 1e-12 }),
      }),
    }));
    expectSameOnEngine(fn, { x: NUMBERS });
  });

  it("are masks under a softmax however they are written", () => {
    const mask = [0, -1e9, -Infinity, 0, -3e38, 0, 0, -1e9];
    const fn = ofX((f, x) => {
      const small = f.op("tanh", { x });
      const keep = f.op("greater", { x, y: -1 });
      const spread = f.op("fill", { shape: [8], value: scalarLiteral("fp32", -1e9) });
      const hidden = f.op("sub", { x: 1, y: f.op("cast", { x: keep, dtype: "fp32" }) });
      const softmax = (scores: Value): Value =>
        f.op("softmax", { x: f.op("reshape", { x: scores, shape: [2, 4] }), axis: -1 });
      return {
        added: softmax(f.op("add", { x: small, y: tensorLiteral("fp32", [8], mask) })),
        taken: softmax(
          f.op("sub", {
            x: small,
            y: tensorLiteral(
              "fp32",
              [8],
              mask.map((n) => -n),
            ),
          }),
        ),
        chosen: softmax(f.op("select", { cond: keep, a: small, b: -1e30 })),
        filled: softmax(f.op("select", { cond: keep, a: small, b: spread })),
        multiplied: softmax(f.op("add", { x: small, y: f.op("mul", { x: hidden, y: -3.4e38 }) })),
        gate: f.op("sigmoid", { x: f.op("select", { cond: keep, a: small, b: -1e30 }) }),
      };
    });
    expectSameOnEngine(fn, { x: NUMBERS });
  });

  it("are refused by name where the result would be another", () => {
    expect(refusal((f, x) => f.op("add", { x, y: -1e9 }))).toMatch(/add with a constant beyond/);
    expect(refusal((f, x) => f.op("minimum", { x, y: -1e9 }))).toMatch(/minimum with a constant/);
    expect(refusal((f, x) => f.op("clip", { x, alpha: 1e5, beta: 2e5 }))).toMatch(/clip to/);
    expect(refusal((f, x) => f.op("pow", { x: scalarLiteral("fp32", 1e6), y: x }))).toMatch(
      /the constant 1000000 is beyond fp16/,
    );
    const keep = (f: FunctionBuilder, x: Value): Value => f.op("greater", { x, y: 0 });
    expect(refusal((f, x) => f.op("select", { cond: keep(f, x), a: x, b: 1e9 }))).toMatch(
      /the constant 1000000000 is beyond fp16/,
    );
    const far = tensorLiteral("fp32", [8], [1e9, 1e-9, 1, 1, 1, 1, 1, 1]);
    expect(refusal((f, x) => f.op("mul", { x, y: far }))).toMatch(/too far apart for one scale/);
    const several = tensorLiteral("fp32", [8], [1e9, 1, 1, 1, 1, 1, 1, 1]);
    expect(
      refusal((f, x) => f.op("cast", { x: f.op("less", { x, y: several }), dtype: "fp32" })),
    ).toMatch(/compare with each by itself/);
  });
});
