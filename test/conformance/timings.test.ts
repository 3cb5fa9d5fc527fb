import { describe, expect, test } from "vitest";
import { modelOf, modelPreset } from "../../src/model/index.ts";
import { buildTrainingPlan } from "../../src/train/step/step-plan.ts";
import { ENGINES } from "./all-engines.ts";

/** A training step with dispatches that engines join, split, convert for, or leave to kernels. */
const { plan } = buildTrainingPlan({
  model: modelOf({
    ...modelPreset("stories15M"),
    ...{ vocabularySize: 64, channelCount: 32, headCount: 1, keyValueHeadCount: 1 },
    ...{ headSize: 32, feedForwardSize: 32, layerCount: 2 },
  }),
  ...{ batchSize: 1, sequenceLength: 8 },
});
const SECTIONS = ["forward_backward", "gradient_norm", "update"];

describe.each(Object.entries(ENGINES))("%s", (_, { open }) => {
  test("tells which dispatches of the plan it timed, all of them", async () => {
    const { engine, close } = await open();
    const loaded = await engine.load(plan);
    for (const section of [...SECTIONS, ...SECTIONS]) await loaded.run(section);
    const timings = loaded.timings();
    for (const section of SECTIONS) {
      const own = timings.filter((timing) => timing.section === section);
      const dispatches = plan.sections.get(section) ?? [];
      const places = own.flatMap((timing) => [...timing.places]).toSorted((a, b) => a - b);
      expect([...new Set(places)]).toEqual([...dispatches.keys()]);
      for (const { label, places: timed, runs } of own) {
        expect(runs).toBe(2);
        const [first] = timed;
        if (first !== undefined) expect(label).toContain(dispatches[first]?.label);
      }
    }
    await loaded.close();
    expect(await close()).toBeUndefined();
  });
});
