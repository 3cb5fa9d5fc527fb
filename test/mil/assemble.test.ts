import { describe, expect, test } from "vitest";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { assembleFunction } from "../../src/mil/assemble.ts";
import { FunctionBuilder, shaped } from "../../src/mil/builder.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";
import { boolLiteral } from "../../src/mil/literal.ts";
import type { Block, MilFunction, Value } from "../../src/mil/program.ts";
import { capturesOf, isPure, valuesReadBy } from "../../src/mil/traverse.ts";
import { verifyFunction } from "../../src/mil/verify.ts";
import { optimize } from "../../src/passes/pipeline.ts";

function blockOf(write: (f: FunctionBuilder) => Value): Block {
  const f = new FunctionBuilder();
  const result = write(f);
  const { operations, outputs } = f.finish({ [`${result.name}_result`]: result });
  return { inputs: [], operations, outputs };
}

/** y = tanh(-x) or exp(-x), by a pred; the branches read a value from outside. */
function branching(): MilFunction {
  const f = new FunctionBuilder("branching");
  const pred = f.input("pred", shaped("bool"));
  const x = f.input("x", shaped("fp32", 2));
  const same = f.op("identity", { x });
  const negative = f.op("mul", { x: f.op("add", { x: same, y: 0 }), y: -1 }, { name: "negative" });
  const [y] = f.many(
    "cond",
    { pred },
    {
      blocks: [
        blockOf((b) => b.op("tanh", { x: negative })),
        blockOf((b) => b.op("exp", { x: negative })),
      ],
    },
  );
  if (y === undefined) throw new RangeError("cond has a result");
  return f.finish({ y });
}

describe("assembling a function", () => {
  test("keeps the names of inputs and results and renames what collides", () => {
    const a = new FunctionBuilder("a");
    const x = a.input("x", shaped("fp32", 2));
    const first = a.op("exp", { x }, { name: "value" });
    const b = new FunctionBuilder("b");
    const second = b.op("tanh", { x: first }, { name: "value" });
    const third = b.op("square", { x: second }, { name: "x" });
    const fn = assembleFunction({
      name: "joined",
      opset: "ios18",
      inputs: [x],
      operations: [...a.finish({}).operations, ...b.finish({}).operations],
      outputs: [
        ["value", third],
        ["again", third],
        ["x", x],
      ],
    });
    verifyFunction(fn);
    expect(fn.outputs.map(({ name }) => name)).toEqual(["value", "again", "x"]);
    const names = fn.operations.flatMap(({ outputs }) => outputs.map(({ name }) => name));
    expect(names).toEqual(["value_0", "value_1", "value", "again"]);
    const one = hostTensor("fp32", [2], Float64Array.of(0, -1));
    const outputs = evaluateFunction(fn, new Map([["x", one]]), { precision: "float64" });
    expect(outputs.get("again")).toEqual(outputs.get("value"));
    expect(outputs.get("value")?.data[0]).toBeCloseTo(Math.tanh(1) ** 2, 12);
  });

  test("refuses two results of one name", () => {
    const f = new FunctionBuilder("main");
    const x = f.input("x", shaped("fp32", 2));
    const y = f.op("exp", { x });
    const z = f.op("tanh", { x });
    const { operations } = f.finish({});
    expect(() =>
      assembleFunction({
        name: "main",
        opset: "ios18",
        inputs: [x],
        operations,
        outputs: [
          ["y", y],
          ["y", z],
        ],
      }),
    ).toThrow(/named "y"/);
  });
});

describe("nested blocks", () => {
  test("read values from outside, which count as read by their op", () => {
    const fn = branching();
    const cond = fn.operations.find(({ type }) => type === "cond");
    if (cond === undefined) throw new RangeError("there is a cond");
    expect([...valuesReadBy(cond)].map(({ name }) => name)).toEqual([
      "pred",
      "negative",
      "negative",
    ]);
    expect(cond.blocks.flatMap(capturesOf).map(({ name }) => name)).toEqual([
      "negative",
      "negative",
    ]);
    expect(isPure(cond)).toBe(true);
  });

  test("keep reading the right value when passes rewrite what they capture", () => {
    const before = branching();
    const after = optimize(before, { afterPass: (_, fn) => verifyFunction(fn) });
    expect(after.operations.map(({ type }) => type)).toEqual(["mul", "cond"]);
    const x = hostTensor("fp32", [2], Float64Array.of(0.5, -2));
    for (const chosen of [0, 1]) {
      const pred = hostTensor("bool", [], Float64Array.of(chosen));
      const inputs = new Map([
        ["pred", pred],
        ["x", x],
      ]);
      expect(evaluateFunction(after, inputs)).toEqual(evaluateFunction(before, inputs));
    }
  });

  test("with something impure inside are impure", () => {
    const noisy = blockOf((b) => b.op("random_normal", { shape: [2], mean: 0, stddev: 1 }));
    const f = new FunctionBuilder();
    f.many("cond", { pred: boolLiteral(true) }, { blocks: [noisy, noisy] });
    const [cond] = f.finish({}).operations;
    expect(cond !== undefined && isPure(cond)).toBe(false);
  });
});
