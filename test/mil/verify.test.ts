import { describe, expect, it } from "vitest";
import { FunctionBuilder, programOf, shaped } from "../../src/mil/builder.ts";
import {
  int32sLiteral,
  scalarLiteral,
  stringLiteral,
  tensorLiteral,
} from "../../src/mil/literal.ts";
import type { MilFunction, Operation, Value } from "../../src/mil/program.ts";
import { tensorType } from "../../src/mil/types.ts";
import type { MilType } from "../../src/mil/types.ts";
import {
  checkFunction,
  checkProgram,
  verifyFunction,
  verifyProgram,
} from "../../src/mil/verify.ts";

function value(name: string, type: MilType): Value {
  return { kind: "value", name, type };
}

function operation(
  type: string,
  inputs: Record<string, Operation["inputs"] extends ReadonlyMap<string, infer A> ? A : never>,
  ...outputs: readonly Value[]
): Operation {
  return {
    type,
    inputs: new Map(Object.entries(inputs)),
    outputs,
    blocks: [],
    attributes: new Map(),
  };
}

function fn(
  inputs: readonly Value[],
  operations: readonly Operation[],
  outputs: readonly Value[],
  opset = "ios18",
): MilFunction {
  return { name: "main", opset, inputs, operations, outputs, attributes: new Map() };
}

const x = value("x", tensorType("fp32", [2, 3]));
const y = value("y", tensorType("fp32", [2, 3]));

const messages = (f: MilFunction) => checkFunction(f).problems.map(({ message }) => message);
const codes = (f: MilFunction) => checkFunction(f).problems.map(({ code }) => code);

describe("the verifier", () => {
  it("accepts what the builder makes", () => {
    const f = new FunctionBuilder("main");
    const a = f.input("a", shaped("fp32", 2, 3));
    const weight = f.constant(tensorLiteral("fp32", [4, 3], new Float64Array(12)), "weight");
    const product = f.op("linear", { x: a, weight });
    const result = f.op("softmax", { x: product, axis: -1 });
    expect(verifyProgram(programOf(f.finish({ result })))).toEqual({ unknownOps: [] });
  });

  it("names op, result and rule in the error it throws", () => {
    const bad = fn([x], [operation("relu", { x }, value("r", tensorType("fp32", [3, 2])))], []);
    expect(() => verifyFunction(bad)).toThrow(
      'function "main", relu -> "r": the result is fp32[2, 3], "r" is declared fp32[3, 2]',
    );
  });

  it("reports a value that is used before it is made, with the nearest name", () => {
    const ghost = value("xx", x.type);
    expect(messages(fn([x], [operation("relu", { x: ghost }, y)], [y]))).toEqual([
      expect.stringContaining('Did you mean "x"?'),
    ]);
    expect(codes(fn([x], [], [y]))).toEqual(["mil.verify.undefined"]);
  });

  it("reports a value that is used with another type than it has", () => {
    const wrong = value("x", tensorType("fp16", [2, 3]));
    expect(codes(fn([x], [operation("relu", { x: wrong }, y)], []))[0]).toBe("mil.verify.type");
  });

  it("reports a name that is given twice", () => {
    const once = operation("relu", { x }, y);
    expect(codes(fn([x], [once, once], [y]))).toEqual(["mil.verify.name"]);
    const twice = {
      version: "1.3",
      attributes: new Map(),
      functions: [fn([], [], []), fn([], [], [])],
    };
    expect(checkProgram(twice).problems[0]?.code).toBe("mil.verify.name");
  });

  it("reports unknown and missing parameters", () => {
    const typo = operation("softmax", { x, axes: int32sLiteral([0]) }, y);
    expect(messages(fn([x], [typo], [y]))).toEqual([
      'softmax has no parameter "axes". Did you mean "axis"?',
    ]);
    expect(messages(fn([x], [operation("add", { x }, y)], [y]))).toEqual([
      'parameter "y" is missing',
    ]);
  });

  it("names the opset that has a parameter or an op the function's opset has not", () => {
    const indices = value("indices", tensorType("int32", [2]));
    const gather = operation(
      "gather",
      { x, indices, batch_dims: scalarLiteral("int32", 0) },
      value("g", tensorType("fp32", [2, 3])),
    );
    expect(messages(fn([x, indices], [gather], [], "ios15"))).toEqual([
      'gather has no parameter "batch_dims" in opset ios15; ios16\'s form of it has one',
    ]);
    expect(messages(fn([x, indices], [gather], [], "ios16"))).toEqual([]);
    const late = operation("fill_like", { ref_tensor: x }, y);
    expect(messages(fn([x], [late], [y], "ios15"))).toEqual([
      "fill_like came with ios16, the function has opset ios15",
    ]);
  });

  it("checks element types by opset", () => {
    const i8 = value("i8", tensorType("int8", [2, 3]));
    const cast = operation("cast", { x: i8, dtype: stringLiteral("fp32") }, y);
    expect(codes(fn([i8], [cast], [y], "ios16"))).toEqual(["mil.verify.type"]);
    expect(codes(fn([i8], [cast], [y], "ios17"))).toEqual([]);
    const half = value("half", tensorType("fp16", [2, 3]));
    expect(messages(fn([x, half], [operation("add", { x, y: half }, y)], [y]))).toEqual([
      'parameters "x" and "y" must have one element type, not fp32 and fp16',
    ]);
  });

  it("knows rules that depend on the opset", () => {
    const i8 = value("y", tensorType("int8", [2, 3]));
    const cast = operation("cast", { x, dtype: stringLiteral("int8") }, i8);
    expect(messages(fn([x], [cast], [i8], "ios16"))[0]).toContain("in opset ios16, not int8");
    expect(messages(fn([x], [cast], [i8], "ios17"))).toEqual([]);
    const one = scalarLiteral("fp32", 1);
    const clip = operation("clip", { x, alpha: one, beta: one }, y);
    expect(messages(fn([x], [clip], [y], "ios16"))).toEqual([]);
    expect(messages(fn([x], [clip], [y], "ios17"))[0]).toContain("alpha must be below beta");
  });

  it("asks for constants, and counts what is computed from constants as one", () => {
    const weight = value("w", tensorType("fp32", [4, 3]));
    const result = value("r", tensorType("fp32", [2, 4]));
    const linear = operation("linear", { x, weight }, result);
    expect(messages(fn([x, weight], [linear], [result]))).toEqual([
      'parameter "weight" must be a constant',
    ]);
    const literal = tensorLiteral("fp32", [3, 4], new Float64Array(12));
    const perm = int32sLiteral([1, 0]);
    const turned = operation("transpose", { x: literal, perm }, weight);
    expect(messages(fn([x], [turned, linear], [result]))).toEqual([]);
  });

  it("lets unknown ops through and lists them", () => {
    const custom = operation("my_op", { whatever: x }, y);
    expect(
      verifyFunction(fn([x], [custom, operation("relu", { x: y }, value("z", y.type))], [y])),
    ).toEqual({ unknownOps: ["my_op"] });
  });

  it("turns a rule broken inside shape inference into a problem", () => {
    const perm = operation("transpose", { x, perm: int32sLiteral([0, 5]) }, y);
    expect(messages(fn([x], [perm], [y]))[0]).toContain("perm 5 is outside rank 2");
  });

  it("refuses blocks that are nested too deep instead of running out of stack", () => {
    const pred = value("p", tensorType("bool", []));
    let inner: Operation = operation("relu", { x }, value("v", x.type));
    for (let depth = 0; depth < 5000; depth++) {
      const block = { inputs: [], operations: [inner], outputs: [] };
      inner = { ...operation("cond", { pred }), blocks: [block] };
    }
    expect(codes(fn([x, pred], [inner], []))).toContain("mil.verify.depth");
  });
});
