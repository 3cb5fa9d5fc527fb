import { describe, expect, it } from "vitest";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { FunctionBuilder, shaped } from "../../src/mil/builder.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";
import type { HostTensor } from "../../src/mil/host-tensor.ts";
import { stringLiteral } from "../../src/mil/literal.ts";
import type { MilFunction, Value } from "../../src/mil/program.ts";
import { parseProgram } from "../../src/mil/text/index.ts";
import { tensorType } from "../../src/mil/types.ts";

const vector = (...numbers: number[]): HostTensor =>
  hostTensor("fp32", [numbers.length], Float64Array.from(numbers));

const inputs = (tensors: Record<string, HostTensor>) => new Map(Object.entries(tensors));

function parsed(text: string): MilFunction {
  const [fn] = parseProgram(`program(1.3)\n{\n${text}}\n`).functions;
  if (fn === undefined) throw new Error("no function");
  return fn;
}

/** y = (x + 2^-30) as fp16, then back. */
function castingFunction(): MilFunction {
  const f = new FunctionBuilder("main");
  const x = f.input("x", shaped("fp32", 1));
  const sum = f.op("add", { x, y: 2 ** -30 });
  const half = f.op("cast", { x: sum, dtype: "fp16" });
  const back = f.op("cast", { x: half, dtype: "fp32" });
  const whole = f.op("cast", { x: back, dtype: "int32" });
  return f.finish({ back, whole });
}

describe("evaluating a function", () => {
  it("rounds every result to its declared type", () => {
    const result = evaluateFunction(castingFunction(), inputs({ x: vector(1.7) }));
    expect(Array.from(result.get("back")?.data ?? [])).toEqual([1.7001953125]);
  });

  it("keeps floats and casts in double precision when asked, but truncates to integers", () => {
    const options = { precision: "float64" } as const;
    const result = evaluateFunction(castingFunction(), inputs({ x: vector(1.7) }), options);
    expect(Array.from(result.get("back")?.data ?? [])).toEqual([1.7 + 2 ** -30]);
    expect(Array.from(result.get("whole")?.data ?? [])).toEqual([1]);
  });

  it("does not change its inputs", () => {
    const x = vector(1, 2, 3);
    const f = new FunctionBuilder("main");
    const value = f.input("x", shaped("fp32", 3));
    const indices = f.input("i", shaped("int32", 1));
    const scattered = f.op("scatter", {
      data: value,
      indices,
      updates: f.input("u", shaped("fp32", 1)),
    });
    const i = hostTensor("int32", [1], Float64Array.of(1));
    evaluateFunction(f.finish({ scattered }), inputs({ x, i, u: vector(5) }));
    expect(Array.from(x.data)).toEqual([1, 2, 3]);
  });

  it("accepts any size where the program leaves one open", () => {
    const fn = parsed(`func main<ios18>(tensor<fp32, [?]> x) {
      tensor<fp32, [?]> y = mul(x = x, y = x);
      tensor<int32, [1]> s = shape(x = y);
    } -> (y, s);`);
    for (const count of [1, 4]) {
      const result = evaluateFunction(fn, inputs({ x: hostTensor("fp32", [count]) }));
      expect(Array.from(result.get("s")?.data ?? [])).toEqual([count]);
    }
  });

  it("names inputs that are missing, unknown or of another type", () => {
    const fn = castingFunction();
    expect(() => evaluateFunction(fn, new Map())).toThrow('input "x" (fp32[1]) is missing');
    const both = inputs({ x: vector(1), xs: vector(1) });
    expect(() => evaluateFunction(fn, both)).toThrow('has no input "xs". Did you mean "x"?');
    expect(() => evaluateFunction(fn, inputs({ x: vector(1, 2) }))).toThrow(
      'input "x" is fp32[1], a tensor fp32[2] was given',
    );
  });

  it("names an op it cannot evaluate", () => {
    const fn = parsed(`func main<ios18>(tensor<fp32, [2]> x) {
      tensor<fp32, [2]> y = my_op(x = x);
    } -> (y);`);
    expect(() => evaluateFunction(fn, inputs({ x: vector(1, 2) }))).toThrow(
      'my_op ("y") cannot be evaluated: the op table has no such op',
    );
  });

  it("refuses a result that is not of the declared type", () => {
    const fn = parsed(`func main<ios18>(tensor<fp32, [2]> x) {
      tensor<fp32, [3]> y = relu(x = x);
    } -> (y);`);
    expect(() => evaluateFunction(fn, inputs({ x: vector(1, 2) }))).toThrow(
      'relu ("y") gave fp32[2], "y" is declared fp32[3]',
    );
  });

  it("reads weights through the loader, and says which file is missing without one", () => {
    const type = tensorType("fp32", [2]);
    const data = { kind: "blob", path: "@model_path/weights/weight.bin", offset: 64 } as const;
    const weight: Value = {
      kind: "value",
      name: "w",
      type,
      constant: { kind: "literal", type, data },
    };
    const x: Value = { kind: "value", name: "x", type };
    const y: Value = { kind: "value", name: "y", type };
    const add = {
      type: "add",
      inputs: new Map([
        ["x", x],
        ["y", weight],
      ]),
      outputs: [y],
      blocks: [],
      attributes: new Map(),
    };
    const fn: MilFunction = {
      name: "main",
      opset: "ios18",
      inputs: [x],
      operations: [add],
      outputs: [y],
      attributes: new Map(),
    };
    expect(() => evaluateFunction(fn, inputs({ x: vector(1, 2) }))).toThrow("weights/weight.bin");
    const result = evaluateFunction(fn, inputs({ x: vector(1, 2) }), {
      loadBlob: ({ offset }) => vector(offset, 1),
    });
    expect(Array.from(result.get("y")?.data ?? [])).toEqual([65, 3]);
  });

  it("keeps states between calls; a state nobody gave starts as zeros", () => {
    const fn = parsed(`func main<ios18>(state<tensor<fp32, [1]>> s, tensor<fp32, [1]> x) {
      tensor<fp32, [1]> old = read_state(input = s);
      tensor<fp32, [1]> y = add(x = old, y = x);
      write_state(data = y, input = s);
    } -> (y);`);
    const states = new Map<string, HostTensor>();
    for (const expected of [2, 4, 6]) {
      const result = evaluateFunction(fn, inputs({ x: vector(2) }), { states });
      expect(Array.from(result.get("y")?.data ?? [])).toEqual([expected]);
    }
    expect(Array.from(states.get("s")?.data ?? [])).toEqual([6]);
  });

  it("ends a loop that does not", () => {
    const fn = parsed(`func main<ios18>(int32 n) {
      int32 y = while_loop(loop_vars = (n)) (int32 i) {
        bool more = equal(x = i, y = i);
      } -> (more), (int32 j) {
        int32 next = add(x = j, y = int32(1));
      } -> (next);
    } -> (y);`);
    const n = hostTensor("int32", []);
    expect(() => evaluateFunction(fn, inputs({ n }), { iterationLimit: 50 })).toThrow("50 rounds");
  });

  it("draws the same random numbers for the same seed, others for another or another op", () => {
    const f = new FunctionBuilder("main");
    const a = f.op("random_uniform", { shape: [8] }, { name: "a" });
    const b = f.op("random_uniform", { shape: [8] }, { name: "b" });
    const c = f.op("random_uniform", { shape: [8], seed: 3 }, { name: "c" });
    const fn = f.finish({ a, b, c });
    const draw = (seed: number) => {
      const result = evaluateFunction(fn, new Map(), { seed });
      return ["a", "b", "c"].map((name) => Array.from(result.get(name)?.data ?? []));
    };
    expect(draw(1)).toEqual(draw(1));
    const [a1, b1, c1] = draw(1);
    const [a2, , c2] = draw(2);
    expect(a1).not.toEqual(b1);
    expect(a1).not.toEqual(a2);
    expect(c1).toEqual(c2);
  });

  it("takes parameters of compressed weights that ios16 writes as attributes", () => {
    const fn = parsed(`func main<ios16>() {
      tensor<fp32, [2]> w = constexpr_affine_dequantize()[axis = int32(0), name = string("w"),
        quantized_data = tensor<uint8, [2]>([3, 5]), scale = fp32(0.5), zero_point = uint8(1)];
      tensor<fp32, [2]> y = relu(x = w);
    } -> (y);`);
    const result = evaluateFunction(fn, new Map());
    expect(Array.from(result.get("y")?.data ?? [])).toEqual([1, 2]);
  });

  it("refuses strings where numbers are needed", () => {
    const f = new FunctionBuilder("main");
    const x = f.input("x", shaped("fp32", 2));
    expect(() => f.op("softmax", { x, axis: stringLiteral("1") })).toThrow();
  });
});
