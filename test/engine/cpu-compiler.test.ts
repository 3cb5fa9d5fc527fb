import { afterEach, describe, expect, it } from "vitest";
import type { FunctionCompiler, TensorPlace } from "../../src/engine/cpu/compiler.ts";
import { createCpuEngine } from "../../src/engine/cpu/index.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { tensorType } from "../../src/mil/types.ts";
import { PlanBuilder } from "../../src/plan/builder.ts";
import type { Plan } from "../../src/plan/plan.ts";

const VECTOR = tensorType("fp32", [4]);

/** y = |x| + x, and then z = y * y. */
function absoluteAndSquare(): Plan {
  const plan = new PlanBuilder("two programs");
  const first = new FunctionBuilder("first");
  const x = first.input("x", VECTOR);
  plan.program("first", first.finish({ y: first.op("add", { x: first.op("abs", { x }), y: x }) }));
  const second = new FunctionBuilder("second");
  const y = second.input("x", VECTOR);
  plan.program("second", second.finish({ y: second.op("mul", { x: y, y }) }));
  plan.buffer("x", VECTOR, "input");
  plan.buffer("between", VECTOR, "activation");
  plan.buffer("out", VECTOR, "state");
  plan.dispatch("run", "add", "first", { x: "x" }, { y: "between" });
  plan.dispatch("run", "square", "second", { x: "between" }, { y: "out" });
  return plan.finish();
}

const floats = ({ buffer, byteOffset, byteLength }: TensorPlace): Float32Array =>
  new Float32Array(buffer as ArrayBuffer, byteOffset, byteLength / 4);

/** Takes functions that are one product of a vector with itself, and counts what is bound and let go of. */
function squares(counts: { bound: number; released: number; closed: number }): FunctionCompiler {
  return {
    version: "squares 1",
    suits: ({ operations }) => operations.length === 1 && operations[0]?.type === "mul",
    describe: () => "squares, 1 op",
    compile: async (fn) => ({
      intermediateBytes: 0,
      bind: ([input], [output]) => {
        counts.bound++;
        expect([input?.name, output?.name]).toEqual([fn.inputs[0]?.name, fn.outputs[0]?.name]);
        if (input === undefined || output === undefined) throw new Error("unbound");
        const [from, to] = [floats(input), floats(output)];
        return {
          // Told apart from what ONNX Runtime would give by one more.
          run: () => from.forEach((value, index) => (to[index] = value * value + 1)),
          release: () => undefined,
        };
      },
      release: () => void counts.released++,
    }),
    arenaBytes: () => undefined,
    close: () => void counts.closed++,
  };
}

describe("the CPU engine's compilers", () => {
  let engine: Engine | undefined;
  afterEach(async () => engine?.close());

  it("are asked in order, and what a step is made of is told before anything compiles", async () => {
    const counts = { bound: 0, released: 0, closed: 0 };
    engine = await createCpuEngine({ threads: 1, join: "never", compilers: [squares(counts)] });
    expect(engine.description.runtime).toMatch(/^squares 1, .*nnx/i);
    const loaded = await engine.load(absoluteAndSquare());
    const { steps } = loaded.describeExecution?.("run") ?? { steps: [] };
    expect(steps.map(({ madeOf }) => madeOf)).toEqual(["ONNX Runtime, 2 ops", "squares, 1 op"]);
    expect(counts.bound).toBe(0);
    loaded.view("x").set([1, -2, 3, 0.5]);
    await loaded.run("run");
    expect([...loaded.view("out")]).toEqual([5, 1, 37, 2]);
    await loaded.close();
    expect(counts).toEqual({ bound: 1, released: 1, closed: 0 });
    await engine.close();
    expect(counts.closed).toBe(1);
  });

  it("get what neighbours were joined into, and leave the rest to ONNX Runtime", async () => {
    const counts = { bound: 0, released: 0, closed: 0 };
    engine = await createCpuEngine({ threads: 1, join: "always", compilers: [squares(counts)] });
    const loaded = await engine.load(absoluteAndSquare());
    expect(loaded.describeExecution?.("run").steps.map(({ madeOf }) => madeOf)).toEqual([
      "ONNX Runtime, 3 ops",
    ]);
    loaded.view("x").set([1, -2, 3, 0.5]);
    await loaded.run("run");
    expect([...loaded.view("out")]).toEqual([4, 0, 36, 1]);
  });
});
