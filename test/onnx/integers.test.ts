import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCpuEngine } from "../../src/engine/cpu/index.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { createReferenceEngine } from "../../src/engine/reference/index.ts";
import { runFunction } from "../../src/engine/run-function.ts";
import { FunctionBuilder, shaped } from "../../src/mil/builder.ts";
import type { MilFunction } from "../../src/mil/program.ts";

const LARGEST = 2 ** 31 - 1;

describe("integers on the CPU engine", () => {
  const reference = createReferenceEngine();
  let cpu: Engine;
  beforeAll(async () => {
    cpu = await createCpuEngine({ threads: 1 });
  });
  afterAll(async () => {
    await cpu.close();
    await reference.close();
  });
  const numbersOf = async (
    engine: Engine,
    fn: MilFunction,
    inputs: Readonly<Record<string, readonly number[]>>,
  ): Promise<readonly number[]> =>
    (await runFunction(engine, fn, inputs)).get("y")?.toArray() ?? [];

  it.each([
    ["reduce_sum", [LARGEST, 1, 3, 1]],
    ["reduce_sum", [-LARGEST, -LARGEST, -5, 1]],
    ["reduce_prod", [65536, 65536, 3, 1]],
    ["reduce_prod", [65536, 32769, -1, 1]],
    ["reduce_sum_square", [50000, 3, 1, -50000]],
    ["reduce_l1_norm", [-LARGEST, 1, 1, 7]],
    ["reduce_mean", [LARGEST, LARGEST, LARGEST, -1]],
    ["reduce_mean", [-1, -2, -2, -2]],
  ] as const)("%s of %j is the reference's, beyond the ends of int32 too", async (type, x) => {
    const f = new FunctionBuilder("main");
    const given = f.input("x", shaped("int32", 2, 2));
    const fn = f.finish({
      y: f.op(type as "reduce_sum", { x: given, axes: [0, 1], keep_dims: false }),
    });
    expect(await numbersOf(cpu, fn, { x })).toEqual(await numbersOf(reference, fn, { x }));
  });

  it.each([-4, 3, -100, 2 ** 20])(
    "an index of %d outside an axis of 3 is refused by scatters",
    async (index) => {
      const scatter = (): MilFunction => {
        const f = new FunctionBuilder("main");
        const data = f.input("x", shaped("fp32", 3, 2));
        const indices = f.input("i", shaped("int32", 1));
        const updates = f.input("u", shaped("fp32", 1, 2));
        return f.finish({
          y: f.op("scatter", { data, indices, updates, axis: 0, mode: "update" }),
        });
      };
      const scatterNd = (): MilFunction => {
        const f = new FunctionBuilder("main");
        const data = f.input("x", shaped("fp32", 3, 2));
        const indices = f.input("i", shaped("int32", 1, 1));
        const updates = f.input("u", shaped("fp32", 1, 2));
        return f.finish({ y: f.op("scatter_nd", { data, indices, updates, mode: "add" }) });
      };
      for (const fn of [scatter(), scatterNd()]) {
        const inputs = { x: [1, 2, 3, 4, 5, 6], i: [index], u: [10, 20] };
        for (const engine of [cpu, reference])
          await expect(runFunction(engine, fn, inputs)).rejects.toThrow();
        const inside = { ...inputs, i: [-3] };
        expect((await numbersOf(cpu, fn, inside)).slice(2)).toEqual([3, 4, 5, 6]);
      }
    },
  );
});
