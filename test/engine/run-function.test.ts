import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCpuEngine } from "../../src/engine/cpu/index.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { createReferenceEngine } from "../../src/engine/reference/index.ts";
import { runForTensors, runFunction } from "../../src/engine/run-function.ts";
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
    const total = first.get("total") ?? new Float32Array();
    expect([...total]).toEqual([1, 2]);
    const second = await runFunction(engine, COUNTER, { x: [5, 5], total });
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
      func main<ios17>(tensor<fp32, [1, 1, 2, 2]> x, tensor<fp32, [1, 1, 1, 2]> c) {
        tensor<fp32, [1, 1, 1, 1]> y = resample(x = x, coordinates = c, sampling_mode = string("bilinear"), padding_mode = string("constant"), padding_value = fp32(0), coordinates_mode = string("unnormalized"), align_corners = bool(true));
      } -> (y);`);
    const inputs = { x: [1, 2, 3, 4], c: [0.5, 0.5] };
    await expect(runFunction(engineOf("cpu"), fn, inputs)).rejects.toThrow(
      '"resample" (y) has no ONNX',
    );
    const reasons: string[] = [];
    const onFallback = (reason: string): void => void reasons.push(reason);
    const results = await runFunction(engineOf("cpu"), fn, inputs, { onFallback });
    expect([...(results.get("y") ?? [])]).toEqual([2.5]);
    expect(reasons).toHaveLength(1);
  });

  it.each(["reference", "cpu"])("takes and gives bf16 as bits on %s", async (name) => {
    const fn = functionOf(`
      func main<ios18>(tensor<bf16, [2]> x) {
        tensor<bf16, [2]> y = add(x = x, y = x);
      } -> (y);`);
    // No public op takes bf16, which the verifier says; files that use it anyway are computed.
    const results = await runFunction(engineOf(name), fn, { x: [0x3f80, 0xc049] });
    expect([...(results.get("y") ?? [])]).toEqual([0x4000, 0xc0c9]);
  });

  it("gives results whose sizes the run decides", async () => {
    const fn = functionOf(`
      func main<ios17>(tensor<fp32, [4]> x) {
        tensor<int32, [?, 1]> y = non_zero(x = x);
      } -> (y);`);
    const results = await runForTensors(engineOf("reference"), fn, { x: [0, 3, 0, 4] });
    expect(results.get("y")?.type.shape).toEqual([2, 1]);
    expect([...(results.get("y")?.view ?? [])]).toEqual([1, 3]);
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
