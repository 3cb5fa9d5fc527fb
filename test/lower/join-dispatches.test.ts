import { describe, expect, test } from "vitest";
import { chipByName } from "../../src/chip/chips.ts";
import { LONGEST_PROGRAM, SURFACES } from "../../src/chip/legality/system-rules.ts";
import { createSimEngine } from "../../src/engine/sim/index.ts";
import { splitHostParts } from "../../src/lower/host-parts.ts";
import { joinDispatches } from "../../src/lower/join-dispatches.ts";
import type { ExpectedRuns } from "../../src/lower/join-dispatches.ts";
import { placePlan, placedPrices } from "../../src/lower/place-plan.ts";
import { verifyFunction } from "../../src/mil/verify.ts";
import { modelOf } from "../../src/model/model.ts";
import { parseModelConfig } from "../../src/model/config-json.ts";
import { initialiseWeights } from "../../src/model/initialise.ts";
import { buildTrainingPlan } from "../../src/train/step/step-plan.ts";
import { LLAMA_JSON } from "../model/configs.ts";

const M4 = chipByName("m4");
const OFTEN: ExpectedRuns = {
  forward_backward: { count: 1e9, behindUpdate: 1 },
  forward_backward_accumulate: { count: 9e9 },
};

const training = buildTrainingPlan({
  model: modelOf(
    parseModelConfig({ ...LLAMA_JSON, num_hidden_layers: 5, tie_word_embeddings: true }),
  ),
  batchSize: 2,
  sequenceLength: 16,
  recompute: "auto",
});
const split = splitHostParts(training.plan, placePlan(training.plan, M4, "e5rt"));
const labelsOf = (runs: ExpectedRuns, section = "forward_backward_accumulate") =>
  joinDispatches(split, M4, "e5rt", runs)
    .plan.sections.get(section)
    ?.map(({ label }) => label);

describe("dispatches that are joined", () => {
  test("are layers, and the last layer with the head and its own backward pass", () => {
    expect(labelsOf(OFTEN)).toEqual([
      "forward embed",
      "forward block.0 … forward block.3",
      "forward block.4 … backward block.3",
      "backward block.2 … backward block.0",
      "backward embed tokens",
    ]);
  });

  test("give the bits that they give one by one", async () => {
    const sim = createSimEngine("m4", { threads: 1, driver: "e5rt" });
    const states: number[][][] = [];
    for (const expectedRuns of [undefined, OFTEN]) {
      const loaded = await sim.load(training.plan, { expectedRuns });
      for (const weight of training.model.parameters.weights) {
        const view = loaded.view(weight.name) as Float32Array;
        initialiseWeights([weight], 3, () => view);
      }
      loaded.view("tokens").set(Int32Array.from({ length: 32 }, (_, i) => (i * 7) % 50));
      loaded.view("targets").set(Int32Array.from({ length: 32 }, (_, i) => (i * 11) % 50));
      loaded.view("loss_scale")[0] = 32;
      await loaded.run("forward_backward");
      await loaded.run("forward_backward_accumulate");
      const buffers = [...training.plan.buffers.values()];
      states.push(
        buffers.flatMap(({ name, role }) =>
          role === "gradient" || name === "loss_sum" ? [[...loaded.view(name)]] : [],
        ),
      );
      expect(loaded.timings().length).toBe(expectedRuns === undefined ? 26 : 10);
      await loaded.close();
    }
    expect(states[1]).toEqual(states[0]);
    expect(states[0]?.flat().every(Number.isFinite)).toBe(true);
    expect(states[0]?.flat().filter((x) => x !== 0).length).toBeGreaterThan(1000);
    await sim.close();
  });

  test("stay within what the compiler and a request take, and are sound functions", () => {
    const { plan, placed } = joinDispatches(split, M4, "e5rt", OFTEN);
    const joined = [...placed].flatMap(([name, found]) =>
      found.place === "engine" && !split.placed.has(name) ? [found.program.function] : [],
    );
    expect(joined.length).toBeGreaterThan(1);
    for (const fn of joined) {
      const count = fn.operations.filter(({ type }) => type !== "const").length;
      expect(count).toBeLessThanOrEqual(LONGEST_PROGRAM);
      expect(fn.inputs.length + fn.outputs.length).toBeLessThanOrEqual(SURFACES);
      verifyFunction(fn);
    }
    // Sections that are not named keep their programs.
    expect(plan.sections.get("evaluate")).toEqual(split.plan.sections.get("evaluate"));
  });

  test("are left alone where compiling them costs more than the runs save, and in memory", () => {
    const once = { forward_backward: { count: 1 }, forward_backward_accumulate: { count: 9 } };
    expect(joinDispatches(split, M4, "e5rt", once)).toEqual(split);
    expect(joinDispatches(split, M4, "e5rt", {})).toEqual(split);
    expect(joinDispatches(split, M4, "in-memory", OFTEN)).toBe(split);
  });

  test("do not wait for weights that the host still updates", () => {
    const { plan } = buildTrainingPlan({
      model: modelOf(
        parseModelConfig({
          ...{ ...LLAMA_JSON, max_position_embeddings: 256 },
          ...{ hidden_size: 768, intermediate_size: 2048, num_hidden_layers: 5 },
        }),
      ),
      batchSize: 1,
      sequenceLength: 256,
    });
    const pricesFor = placedPrices(plan, M4, "e5rt");
    const runs = { forward_backward: 1, gradient_norm: 1, update: 1 };
    const without = pricesFor({}).priceOf({ runs });
    const joined = pricesFor(OFTEN).priceOf({ runs });
    expect(joined.breakdown.dispatch).toBeLessThan(without.breakdown.dispatch);
    expect(joined.overlappedMs).toBeLessThanOrEqual(without.overlappedMs);
    expect(joined.dispatches.map(({ label }) => label)).toContain("forward block.0");
    const { forward_backward_accumulate: later } = OFTEN;
    const { dispatches } = pricesFor({ forward_backward: later ?? { count: 1e9 } }).priceOf({
      runs,
    });
    expect(dispatches.map(({ label }) => label)).toContainEqual(
      expect.stringMatching(/^forward block\.0 … /),
    );
  });
});
