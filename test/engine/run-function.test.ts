import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCpuEngine } from "../../src/engine/cpu/index.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { createReferenceEngine } from "../../src/engine/reference/index.ts";
import { createSimEngine } from "../../src/engine/sim/index.ts";
import { runFunction } from "../../src/engine/run-function.ts";
import type { MilFunction } from "../../src/mil/program.ts";
import { statesAsValues } from "../../src/mil/states-as-values.ts";
import { parseProgram } from "../../src/mil/text/index.ts";
import { verifyFunction } from "../../src/mil/verify.ts";

function functionOf(body: string): MilFunction {
  const [fn] = parseProgram(`program(1.3)\n{\n${body}\n}`).functions;
  if (fn === undefined) throw new Error("no function");
  return fn;
}

const COUNTER = functionOf(`
  func main<ios18>(tensor<fp32, [2]> x, state<tensor<fp32, [2]>> total) {
    tensor<fp32, [2]> before = read_state(input = total);
    tensor<fp32, [2]> after = add(x = before, y = x);
    write_state(input = total, data = after);
    tensor<fp32, [2]> again = read_state(input = total);
    tensor<fp32, [2]> y = mul(x = again, y = fp32(10));
  } -> (y);`);

describe("runFunction", () => {
  const engines = new Map<string, Engine>([["reference", createReferenceEngine()]]);
  beforeAll(async () => {
    engines.set("cpu", await createCpuEngine({ threads: 1 }));
  });
  afterAll(async () => {
    for (const engine of engines.values()) await engine.close();
  });
  const engineOf = (name: string): Engine => {
    const engine = engines.get(name);
    if (engine === undefined) throw new Error(name);
    return engine;
  };

  it.each(["reference", "cpu"])("keeps states between runs on %s", async (name) => {
    const engine = engineOf(name);
    const first = await runFunction(engine, COUNTER, { x: [1, 2] });
    expect([...(first.get("y") ?? [])]).toEqual([10, 20]);
    const total = first.get("total");
    expect(total?.toArray()).toEqual([1, 2]);
    const second = await runFunction(engine, COUNTER, { x: [5, 5], total: total ?? [] });
    expect([...(second.get("y") ?? [])]).toEqual([60, 70]);
    expect([...(second.get("total") ?? [])]).toEqual([6, 7]);
  });

  it("makes states inputs and results", () => {
    const { fn, states } = statesAsValues(COUNTER);
    expect(states).toEqual([{ input: "total", output: "total_next" }]);
    expect(verifyFunction(fn).unknownOps).toEqual([]);
    expect(fn.outputs.map(({ name }) => name)).toEqual(["y", "total_next"]);
    // A state that is only read comes out as it went in.
    const reader = functionOf(`
      func main<ios18>(state<tensor<fp32, [2]>> s) {
        tensor<fp32, [2]> y = read_state(input = s);
      } -> (y);`);
    const read = statesAsValues(reader);
    expect(verifyFunction(read.fn).unknownOps).toEqual([]);
    expect(read.fn.outputs.map(({ name }) => name)).toEqual(["y", "s_next"]);
    const nested = functionOf(`
      func main<ios18>(bool p, state<tensor<fp32, [2]>> s) {
        tensor<fp32, [2]> y = cond(pred = p) {
          tensor<fp32, [2]> a = read_state(input = s);
        } -> (a), {
          tensor<fp32, [2]> b = read_state(input = s);
        } -> (b);
      } -> (y);`);
    expect(() => statesAsValues(nested)).toThrow("a state can only be read and written, outside");
  });

  it("falls back to the reference engine where that is allowed, and says why", async () => {
    const fn = functionOf(`
      func main<ios17>(tensor<fp32, [4]> x) {
        tensor<int32, [?, 1]> places = non_zero(x = x);
        tensor<int32, [1]> y = slice_by_index(x = places, begin = tensor<int32, [2]>([1, 0]), end = tensor<int32, [2]>([2, 0]), end_mask = tensor<bool, [2]>([false, true]), squeeze_mask = tensor<bool, [2]>([true, false]));
      } -> (y);`);
    const inputs = { x: [1, 0, 3, 4] };
    await expect(runFunction(engineOf("cpu"), fn, inputs)).rejects.toThrow(
      '"non_zero" (places) has no ONNX',
    );
    const reasons: string[] = [];
    const onFallback = (reason: string): void => void reasons.push(reason);
    const results = await runFunction(engineOf("cpu"), fn, inputs, { onFallback });
    expect([...(results.get("y") ?? [])]).toEqual([2]);
    expect(reasons).toHaveLength(1);
  });

  it.each(["reference", "cpu"])("takes and gives bf16 on %s", async (name) => {
    const fn = functionOf(`
      func main<ios18>(tensor<bf16, [2]> x) {
        tensor<bf16, [2]> y = add(x = x, y = x);
      } -> (y);`);
    // No public op takes bf16, which the verifier says; files that use it anyway are computed.
    const results = await runFunction(engineOf(name), fn, { x: [1, -3.140625] });
    expect(results.get("y")?.toArray()).toEqual([2, -6.28125]);
    expect(results.get("y")?.stored).toEqual(Uint16Array.of(0x4000, 0xc0c9));
  });

  const HALF = functionOf(`
    func main<ios18>(tensor<fp16, [3]> x) {
      tensor<fp16, [3]> y = identity(x = x);
    } -> (y);`);

  it.each(["reference", "cpu", "sim:m4"])("fp16 goes in and out as numbers on %s", async (name) => {
    const engine = name === "sim:m4" ? createSimEngine("m4", { threads: 1 }) : engineOf(name);
    try {
      const y = (await runFunction(engine, HALF, { x: [1.5, -2, 0.1] })).get("y");
      expect(y?.toArray()).toEqual([1.5, -2, 0.0999755859375]);
      expect(y?.shape).toEqual([3]);
      expect(y?.stored).toEqual(Uint16Array.of(0x3e00, 0xc000, 0x2e66));
      const stored = Uint16Array.of(0x3e00, 0xc000, 0x2e66);
      const again = (await runFunction(engine, HALF, { x: { stored } })).get("y");
      expect(again?.toArray()).toEqual(y?.toArray());
    } finally {
      if (name === "sim:m4") await engine.close();
    }
  });

  it("refuses numbers that a type does not hold, by name, and takes infinities", async () => {
    const engine = engineOf("reference");
    await expect(runFunction(engine, HALF, { x: [1.5, -2, 1e9] })).rejects.toThrow(
      'input "x" is fp16[3], which does not hold its element 2, 1000000000',
    );
    const largest = await runFunction(engine, HALF, { x: [65519, -Infinity, Number.NaN] });
    expect(largest.get("y")?.toArray()).toEqual([65504, -Infinity, Number.NaN]);
    await expect(runFunction(engine, HALF, { x: Uint16Array.of(1, 2, 3) })).rejects.toThrow(
      "may hold numbers or bit patterns",
    );
    await expect(
      runFunction(engine, HALF, { x: { stored: Float32Array.of(1, 2, 3) } }),
    ).rejects.toThrow("stored as Uint16Array, not as Float32Array");
    const whole = functionOf(`
      func main<ios18>(tensor<int8, [1]> x) {
        tensor<int8, [1]> y = identity(x = x);
      } -> (y);`);
    for (const wrong of [0.5, 128, -129, Number.NaN])
      await expect(runFunction(engine, whole, { x: [wrong] })).rejects.toThrow("does not hold");
    expect((await runFunction(engine, whole, { x: [-128] })).get("y")?.toArray()).toEqual([-128]);
  });

  it.each(["reference", "cpu"])("integers of 64 bits stay whole on %s", async (name) => {
    const fn = functionOf(`
      func main<ios18>(tensor<int64, [2]> x) {
        tensor<int64, [2]> y = identity(x = x);
      } -> (y);`);
    const wide = [2 ** 40 + 1, -3];
    const onFallback = (): void => undefined;
    const results = await runFunction(engineOf(name), fn, { x: wide }, { onFallback });
    expect(results.get("y")?.toArray()).toEqual(wide);
    if (name === "cpu")
      await expect(runFunction(engineOf(name), fn, { x: wide })).rejects.toThrow("64 bits");
  });

  it("gives results whose sizes the run decides", async () => {
    const fn = functionOf(`
      func main<ios17>(tensor<fp32, [4]> x) {
        tensor<int32, [?, 1]> y = non_zero(x = x);
      } -> (y);`);
    const results = await runFunction(engineOf("reference"), fn, { x: [0, 3, 0, 4] });
    expect(results.get("y")?.type.shape).toEqual([2, 1]);
    expect(results.get("y")?.toArray()).toEqual([1, 3]);
    await expect(runFunction(engineOf("cpu"), fn, { x: [0, 3, 0, 4] })).rejects.toThrow(
      "is only known after the run",
    );
  });

  it("names missing, unknown and wrongly sized inputs", async () => {
    const engine = engineOf("reference");
    await expect(runFunction(engine, COUNTER, {})).rejects.toThrow('input "x" of main needs 2');
    await expect(runFunction(engine, COUNTER, { x: [1] })).rejects.toThrow("1 were given");
    await expect(runFunction(engine, COUNTER, { x: [1, 2], totl: [1, 2] })).rejects.toThrow(
      'main has no input "totl". Did you mean "total"?',
    );
  });
});
