import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createGpuEngine } from "../../../src/engine/gpu/index.ts";
import type { Engine } from "../../../src/engine/engine.ts";
import { createReferenceEngine } from "../../../src/engine/reference/index.ts";
import { GPU_REFUSES, refusalOf } from "../../conformance/all-engines.ts";
import { CaseBuilder } from "../../conformance/case-builder.ts";
import { OP_CASES } from "../../conformance/op-cases.ts";
import { difference, planOf, runCase } from "../../conformance/run-case.ts";
import { openSoftwareDevice } from "./software-device.ts";

const missing = openSoftwareDevice();
const title = "ops that the GPU has no kernel for";
describe.skipIf(missing !== undefined)(
  missing === undefined ? title : `${title}, skipped: ${missing}`,
  () => {
    let gpu: Engine;
    const reference = createReferenceEngine();
    beforeAll(() => {
      gpu = createGpuEngine();
    });
    afterAll(async () => {
      await gpu.close();
    });

    // An LSTM's products take a device in software ten seconds to compile; gru and rnn go the same way.
    it.each(Object.keys(GPU_REFUSES).filter((name) => name !== "lstm"))(
      "%s runs on the processor, the same in every run",
      async (name) => {
        const recipes = Object.entries(OP_CASES).find(([op]) => op === name)?.[1] ?? [];
        for (const [index, recipe] of recipes.entries()) {
          if (refusalOf(GPU_REFUSES[name], index, "fp32") === undefined) continue;
          const builder = new CaseBuilder("fp32");
          const fn = builder.finish(recipe(builder));
          const [expected = []] = await runCase(reference, fn, builder.inputs);
          const [first = [], second = []] = await runCase(gpu, fn, builder.inputs, 2);
          for (const [place, wanted] of expected.entries()) {
            const got = first[place];
            const problem = got === undefined ? "no result" : difference(got, wanted, 4);
            expect(problem, `case ${index}`).toBeUndefined();
            expect(second[place]?.bytes, `case ${index}`).toEqual(got?.bytes);
          }
        }
      },
    );

    it("are counted and named in what a plan prints", async () => {
      const builder = new CaseBuilder("fp32");
      const x = builder.x([4]);
      const rest = builder.op("mod", { x, y: builder.x([4]) });
      const loaded = await gpu.load(planOf(builder.finish(builder.op("add", { x, y: rest }))));
      const described = loaded.describeExecution?.("main");
      expect(described?.reason).toBe("1 op without a kernel on the device runs on the processor");
      expect(described?.steps[0]?.madeOf).toBe("WebGPU, 2 ops; 1 on the processor: Mod");
      await loaded.close();
    });
  },
);
