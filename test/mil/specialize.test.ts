import { describe, expect, it } from "vitest";
import type { MilFunction } from "../../src/mil/program.ts";
import { withInputShapes } from "../../src/mil/specialize.ts";
import { parseProgram } from "../../src/mil/text/index.ts";
import { formatType } from "../../src/mil/types.ts";
import { verifyFunction } from "../../src/mil/verify.ts";

function functionOf(body: string): MilFunction {
  const [fn] = parseProgram(`program(1.3)\n{\n${body}\n}`).functions;
  if (fn === undefined) throw new Error("no function");
  return fn;
}

const typesOf = (fn: MilFunction): readonly string[] =>
  fn.outputs.map(({ type }) => formatType(type));

describe("withInputShapes", () => {
  it("computes what follows from sizes, so that shapes made of them are known", () => {
    const fn = functionOf(`
      func main<ios17>(tensor<fp32, [?, ?, 4]> x) {
        tensor<int32, [3]> s = shape(x = x);
        int32 b = gather(x = s, indices = int32(0), axis = int32(0));
        int32 n = gather(x = s, indices = int32(1), axis = int32(0));
        int32 rows = mul(x = b, y = n);
        tensor<int32, [1]> r1 = expand_dims(x = rows, axes = tensor<int32, [1]>([0]));
        tensor<int32, [2]> wanted = concat(values = (r1, tensor<int32, [1]>([4])), axis = int32(0), interleave = bool(false));
        tensor<fp32, [?, ?]> y = reshape(x = x, shape = wanted);
      } -> (y);`);
    expect(typesOf(fn)).toEqual(["fp32[?, ?]"]);
    const sized = withInputShapes(fn, new Map([["x", [2, 3, 4]]]));
    expect(typesOf(sized)).toEqual(["fp32[6, 4]"]);
    expect(sized.operations.map(({ type }) => type)).toEqual([
      ...Array.from({ length: 6 }, () => "const"),
      "reshape",
    ]);
    expect(verifyFunction(sized).unknownOps).toEqual([]);
  });

  it("goes into nested blocks", () => {
    const fn = functionOf(`
      func main<ios17>(tensor<fp32, [?]> x, bool p) {
        tensor<fp32, [?]> y = cond(pred = p) {
          tensor<fp32, [?]> a = exp(x = x);
        } -> (a), {
          tensor<fp32, [?]> b = relu(x = x);
        } -> (b);
        tensor<fp32, [?]> z = while_loop(loop_vars = (y)) (tensor<fp32, [?]> v) {
          fp32 sum = reduce_sum(x = v, keep_dims = bool(false));
          bool go = less(x = sum, y = fp32(9));
        } -> (go), (tensor<fp32, [?]> w) {
          tensor<fp32, [?]> w2 = add(x = w, y = fp32(1));
        } -> (w2);
      } -> (z);`);
    const sized = withInputShapes(fn, new Map([["x", [5]]]));
    expect(typesOf(sized)).toEqual(["fp32[5]"]);
    const types = sized.operations.flatMap(({ blocks }) =>
      blocks.flatMap(({ inputs, outputs }) =>
        [...inputs, ...outputs].map(({ type }) => formatType(type)),
      ),
    );
    expect(types).toEqual(["fp32[5]", "fp32[5]", "fp32[5]", "bool[]", "fp32[5]", "fp32[5]"]);
    expect(verifyFunction(sized).unknownOps).toEqual([]);
  });

  it("keeps a loop variable open whose size changes from round to round", () => {
    const fn = functionOf(`
      func main<ios17>(tensor<fp32, [?]> x) {
        tensor<fp32, [?]> z = while_loop(loop_vars = (x)) (tensor<fp32, [?]> v) {
          fp32 sum = reduce_sum(x = v, keep_dims = bool(false));
          bool go = less(x = sum, y = fp32(9));
        } -> (go), (tensor<fp32, [?]> w) {
          tensor<fp32, [?]> w2 = concat(values = (w, w), axis = int32(0), interleave = bool(false));
        } -> (w2);
      } -> (z);`);
    const sized = withInputShapes(fn, new Map([["x", [2]]]));
    expect(typesOf(sized)).toEqual(["fp32[?]"]);
    expect(verifyFunction(sized).unknownOps).toEqual([]);
  });

  it("refuses a shape that does not fit", () => {
    const fn = functionOf(
      "func main<ios17>(tensor<fp32, [?, 4]> x) { tensor<fp32, [?, 4]> y = relu(x = x); } -> (y);",
    );
    expect(() => withInputShapes(fn, new Map([["x", [2, 5]]]))).toThrow(
      'input "x" is fp32[?, 4]; [2, 5] does not fit',
    );
    expect(withInputShapes(fn, new Map())).toBe(fn);
  });
});
