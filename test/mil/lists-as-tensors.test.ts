import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCpuEngine } from "../../src/engine/cpu/index.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { createReferenceEngine } from "../../src/engine/reference/index.ts";
import { runFunction } from "../../src/engine/run-function.ts";
import { listsAsTensors } from "../../src/mil/lists-as-tensors.ts";
import type { MilFunction } from "../../src/mil/program.ts";
import { parseProgram } from "../../src/mil/text/index.ts";
import { verifyFunction } from "../../src/mil/verify.ts";

function functionOf(body: string): MilFunction {
  const [fn] = parseProgram(`program(1.3)\n{\n${body}\n}`).functions;
  if (fn === undefined) throw new Error("no function");
  return fn;
}

/** Written in and behind its end. */
const GROWING = functionOf(`
  func main<ios16>(tensor<fp32, [2]> a, tensor<fp32, [2]> b) {
    list<tensor<fp32, [2]>, ?> empty = make_list(init_length = int32(1), dynamic_length = bool(true), elem_shape = (int32(2)), dtype = string("fp32"));
    list<tensor<fp32, [2]>, ?> one = list_write(ls = empty, index = int32(0), value = a);
    list<tensor<fp32, [2]>, ?> four = list_write(ls = one, index = int32(3), value = b);
    int32 length = list_length(ls = four);
    tensor<fp32, [3, 2]> some = list_gather(ls = four, indices = tensor<int32, [3]>([3, 1, 0]));
    tensor<fp32, [2]> last = list_read(ls = four, index = int32(3));
  } -> (length, some, last);`);

/** A fixed list, filled by a loop at places that are counted. */
const LOOP = functionOf(`
  func main<ios16>(tensor<fp32, [2]> a, int32 rounds) {
    list<tensor<fp32, [2]>, 4> start = make_list(init_length = int32(4), dynamic_length = bool(false), elem_shape = (int32(2)), dtype = string("fp32"));
    int32 zero = const()[val = int32(0)];
    int32 n, list<tensor<fp32, [2]>, 4> filled = while_loop(loop_vars = (zero, start)) (int32 i, list<tensor<fp32, [2]>, 4> l) {
      bool goes = less(x = i, y = rounds);
    } -> (goes), (int32 i2, list<tensor<fp32, [2]>, 4> l2) {
      int32 next = add(x = i2, y = int32(1));
      fp32 factor = cast(x = next, dtype = string("fp32"));
      tensor<fp32, [2]> scaled = mul(x = a, y = factor);
      list<tensor<fp32, [2]>, 4> written = list_write(ls = l2, index = i2, value = scaled);
    } -> (next, written);
    tensor<fp32, [4, 2]> all = list_gather(ls = filled, indices = tensor<int32, [4]>([0, 1, 2, 3]));
  } -> (n, all);`);

describe("lists as tensors", () => {
  const reference = createReferenceEngine();
  let cpu: Engine;
  beforeAll(async () => {
    cpu = await createCpuEngine({ threads: 1 });
  });
  afterAll(async () => {
    await cpu.close();
    await reference.close();
  });

  it.each([
    ["grow where they are written behind their end", GROWING, { a: [1, 2], b: [3, 4] }],
    ["are carried through loops", LOOP, { a: [1, 10], rounds: [3] }],
  ])("%s", async (_, fn, inputs) => {
    const rewritten = listsAsTensors(fn);
    expect(verifyFunction(rewritten).unknownOps).toEqual([]);
    expect(rewritten.operations.map(({ type }) => type).join()).not.toMatch(/list/);
    const wanted = await runFunction(reference, rewritten, inputs);
    // The reference engine's own lists.
    const own = await import("../../src/engine/reference/evaluate.ts");
    const { hostTensor } = await import("../../src/mil/host-tensor.ts");
    const tensors = new Map(
      fn.inputs.map(({ name, type }) => {
        if (type.kind !== "tensor") throw new Error(name);
        const numbers = (inputs as Record<string, readonly number[]>)[name] ?? [];
        return [
          name,
          hostTensor(type.dataType, type.shape.map(Number), Float64Array.from(numbers)),
        ];
      }),
    );
    const listed = own.evaluateFunction(fn, tensors);
    const results = await runFunction(cpu, fn, inputs);
    for (const [name, { data }] of listed) {
      expect(wanted.get(name)?.toArray(), name).toEqual([...data]);
      expect(results.get(name)?.toArray(), name).toEqual([...data]);
    }
  });

  it("stay lists where their length is only known while running, and are refused by name", async () => {
    const fn = functionOf(`
      func main<ios16>(tensor<fp32, [2]> a, int32 place) {
        list<tensor<fp32, [2]>, ?> empty = make_list(init_length = int32(1), dynamic_length = bool(true), elem_shape = (int32(2)), dtype = string("fp32"));
        list<tensor<fp32, [2]>, ?> one = list_write(ls = empty, index = place, value = a);
        tensor<fp32, [2]> first = list_read(ls = one, index = int32(0));
      } -> (first);`);
    expect(listsAsTensors(fn)).toBe(fn);
    await expect(runFunction(cpu, fn, { a: [1, 2], place: [5] })).rejects.toThrow(
      /"make_list" \(empty\) has no ONNX form: the length of a list changes/,
    );
    const fallbacks: string[] = [];
    const results = await runFunction(
      cpu,
      fn,
      { a: [1, 2], place: [0] },
      { onFallback: (reason) => fallbacks.push(reason) },
    );
    expect(results.get("first")?.toArray()).toEqual([1, 2]);
    expect(fallbacks).toHaveLength(1);
  });
});
