import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCpuEngine } from "../../src/engine/cpu/index.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { createReferenceEngine } from "../../src/engine/reference/index.ts";
import { runFunction } from "../../src/engine/run-function.ts";
import { FunctionBuilder, shaped } from "../../src/mil/builder.ts";
import { sliceAxis } from "../../src/mil/ops/slicing.ts";
import type { MilFunction } from "../../src/mil/program.ts";

const SHAPE = [3, 4, 5];
const ELEMENTS = Array.from({ length: 60 }, (_, index) => index);

/** Settings of one axis: any bounds, as NumPy takes them. */
const axis = (size: number) =>
  fc.record({
    begin: fc.integer({ min: -size - 2, max: size + 1 }),
    end: fc.integer({ min: -size - 2, max: size + 2 }),
    step: fc.constantFrom(1, 2, -1, -2),
    fromStart: fc.boolean(),
    toEnd: fc.boolean(),
    isIndex: fc.boolean(),
  });

type Axis = ReturnType<typeof axis> extends fc.Arbitrary<infer T> ? T : never;

const countOf = (size: number, { begin, end, step, fromStart, toEnd }: Axis): number =>
  sliceAxis(size, step, fromStart ? undefined : begin, toEnd ? undefined : end).count;

/** `slice_update` with bounds that come while running. */
function updateFunction(axes: readonly Axis[], shape: readonly number[]): MilFunction {
  const f = new FunctionBuilder("main");
  const result = f.op("slice_update", {
    x: f.input("x", shaped("fp32", ...SHAPE)),
    update: f.input("update", shaped("fp32", ...shape)),
    begin: f.input("begin", shaped("int32", 3)),
    end: f.input("end", shaped("int32", 3)),
    stride: axes.map(({ step }) => step),
    begin_mask: axes.map(({ fromStart }) => fromStart),
    end_mask: axes.map(({ toEnd }) => toEnd),
    squeeze_mask: axes.map(({ isIndex }) => isIndex),
  });
  return f.finish({ result });
}

describe("slices with bounds that come while running", () => {
  const reference = createReferenceEngine();
  let cpu: Engine;
  beforeAll(async () => {
    cpu = await createCpuEngine({ threads: 1 });
  });
  afterAll(async () => {
    await cpu.close();
    await reference.close();
  });

  it("are updated as the reference does, or refused where that refuses", async () => {
    await fc.assert(
      fc.asyncProperty(axis(3), axis(4), axis(5), fc.boolean(), async (a, b, c, isLonger) => {
        const axes = [a, b, c];
        const counts = axes.flatMap((settings, index) =>
          settings.isIndex ? [] : [countOf(SHAPE[index] ?? 1, settings)],
        );
        // Now and then an update that does not fit, which only the run can see.
        const isOpen = axes
          .filter(({ isIndex }) => !isIndex)
          .map(({ fromStart, toEnd }) => !(fromStart && toEnd));
        const shape = counts.map((count, index) => (isLonger && isOpen[index] ? count + 1 : count));
        const elements = shape.reduce((count, size) => count * size, 1);
        // An index outside of its axis does no harm where nothing is written.
        fc.pre(elements > 0);
        const fn = updateFunction(axes, shape);
        const inputs = {
          x: ELEMENTS,
          update: Array.from({ length: elements }, (_, index) => 100 + index),
          begin: axes.map(({ begin }) => begin),
          end: axes.map(({ end }) => end),
        };
        const outcome = async (engine: Engine): Promise<readonly number[] | "refused"> =>
          runFunction(engine, fn, inputs).then(
            (results) => results.get("result")?.toArray() ?? [],
            () => "refused",
          );
        expect(await outcome(cpu)).toEqual(await outcome(reference));
      }),
      { numRuns: 120 },
    );
  });

  it("are read where an index takes the axis away", async () => {
    const f = new FunctionBuilder("main");
    const row = f.op("slice_by_index", {
      x: f.input("x", shaped("fp32", ...SHAPE)),
      begin: f.input("begin", shaped("int32", 3)),
      end: [0, 0, 0],
      begin_mask: [false, true, true],
      end_mask: [true, true, true],
      squeeze_mask: [true, false, false],
    });
    const fn = f.finish({ row });
    const at = (index: number): Promise<number | undefined> =>
      runFunction(cpu, fn, { x: ELEMENTS, begin: [index, 0, 0] }).then(
        (results) => results.get("row")?.toArray()[0],
      );
    expect(await at(2)).toBe(40);
    expect(await at(-3)).toBe(0);
    await expect(at(3)).rejects.toThrow();
    await expect(at(-4)).rejects.toThrow();
  });

  it("have sizes where a run is told the bounds", async () => {
    const f = new FunctionBuilder("main");
    const begin = f.input("begin", shaped("int32", 1));
    const part = f.op("slice_by_index", {
      x: f.input("x", shaped("fp32", 6)),
      begin,
      end: f.op("add", { x: begin, y: 3 }),
    });
    const total = f.op("reduce_sum", { x: part });
    const fn = f.finish({ part, total });
    const fallbacks: string[] = [];
    const results = await runFunction(
      cpu,
      fn,
      { x: [1, 2, 4, 8, 16, 32], begin: [2] },
      { onFallback: (reason) => fallbacks.push(reason) },
    );
    expect(fallbacks).toEqual([]);
    expect(results.get("part")?.toArray()).toEqual([4, 8, 16]);
    expect(results.get("part")?.shape).toEqual([3]);
    expect(results.get("total")?.toArray()).toEqual([28]);
  });
});
