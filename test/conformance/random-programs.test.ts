import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCpuEngine } from "../../src/engine/cpu/index.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { createReferenceEngine } from "../../src/engine/reference/index.ts";
import { elementCount, staticShape } from "../../src/mil/types.ts";
import type { MilFunction } from "../../src/mil/program.ts";
import { roundToFloat16 } from "../../src/util/float16.ts";
import { Random } from "../../src/util/random.ts";
import { randomProgram } from "../helpers/random-program.ts";
import type { CaseInput } from "./case-builder.ts";
import { difference, runCase } from "./run-case.ts";

function inputsOf(fn: MilFunction, random: Random): readonly CaseInput[] {
  return fn.inputs.map(({ name, type }) => {
    if (type.kind !== "tensor") throw new Error("random programs take tensors");
    const shape = staticShape(type);
    const numbers = Float64Array.from({ length: elementCount(shape) }, () => {
      const value = random.uniform() * 2 - 1;
      return type.dataType === "fp16" ? roundToFloat16(value) : Math.fround(value);
    });
    return { name, dataType: type.dataType, shape, numbers };
  });
}

describe("random programs", () => {
  const reference = createReferenceEngine();
  const cpus = new Map<boolean, Engine>();
  beforeAll(async () => {
    for (const useNative of [true, false])
      cpus.set(useNative, await createCpuEngine({ threads: 2, useNative }));
  });
  afterAll(async () => {
    for (const cpu of cpus.values()) await cpu.close();
  });

  // The reference rounds after every op, the CPU engine keeps fp32 inside: errors of both add up along a path
  // of at most as many ops as there are steps.
  const STEPS = 12;

  for (const useNative of [true, false]) {
    it.each([
      ["fp32", 60],
      ["fp16", 30],
    ] as const)(
      `give the reference's numbers and the same bits twice in %s (native interface: ${useNative})`,
      async (dataType, count) => {
        const cpu = cpus.get(useNative);
        if (cpu === undefined) throw new Error("no engine");
        await fc.assert(
          fc.asyncProperty(fc.integer({ min: 0, max: 2 ** 31 }), async (seed) => {
            const random = new Random(seed);
            const fn = randomProgram(random, { steps: STEPS, dataType });
            const inputs = inputsOf(fn, random);
            const [expected = []] = await runCase(reference, fn, inputs);
            const [actual = [], again = []] = await runCase(cpu, fn, inputs, 2);
            expected.forEach((wanted, index) => {
              const got = actual[index];
              expect(
                got === undefined ? "missing" : difference(got, wanted, STEPS),
              ).toBeUndefined();
              expect(again[index]?.bytes).toEqual(got?.bytes);
            });
          }),
          { numRuns: useNative ? count : Math.floor(count / 3), seed: 20 },
        );
      },
    );
  }
});
