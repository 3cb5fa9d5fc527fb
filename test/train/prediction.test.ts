import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { modelOf } from "../../src/model/model.ts";
import type { Driver } from "../../src/chip/chip.ts";
import { DRIVERS } from "../../src/chip/chip.ts";
import { chipByName } from "../../src/chip/chips.ts";
import { trainingRuns } from "../../src/chip/estimate.ts";
import { createReferenceEngine } from "../../src/engine/reference/index.ts";
import { createSimEngine } from "../../src/engine/sim/index.ts";
import { modelPreset } from "../../src/model/index.ts";
import { estimatePlacedPlan } from "../../src/lower/index.ts";
import type { Plan } from "../../src/plan/plan.ts";
import { predictStep } from "../../src/train/costs/prediction.ts";
import { RunCosts } from "../../src/train/costs/run-costs.ts";
import { buildTrainingPlan } from "../../src/train/step/step-plan.ts";
import { run, runJson } from "../cli/in-process.ts";

const folder = mkdtempSync(join(tmpdir(), "anecdote-prediction-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let plan: Plan;
beforeAll(() => {
  const preset = modelPreset("stories15M");
  const config = {
    ...preset,
    ...{ vocabularySize: 64, channelCount: 32, headCount: 2, keyValueHeadCount: 2, headSize: 16 },
    ...{ layerCount: 2, intermediateSize: 64 },
  };
  ({ plan } = buildTrainingPlan({
    ...{ model: modelOf(config), batchSize: 1 },
    ...{ sequenceLength: 32, accumulation: false },
  }));
});
afterEach(() => vi.unstubAllEnvs());

const known = new Map<string, number>();

function expected(chip: string, driver: Driver): number {
  const key = `${chip} ${driver}`;
  const ms =
    known.get(key) ?? estimatePlacedPlan(plan, chipByName(chip), driver, trainingRuns(plan, 1)).ms;
  known.set(key, ms);
  return ms;
}

describe("what a step is predicted to take", () => {
  test("is of the driver that runs: the run's, the variable's, or e5rt", () => {
    expect(expected("m4", "in-memory")).not.toBe(expected("m4", "e5rt"));
    expect(predictStep(plan, 1, "cpu")).toMatchObject({
      chip: "M4",
      driver: "e5rt",
      ms: expected("m4", "e5rt"),
    });
    expect(predictStep(plan, 1, "sim:m1", "in-memory")).toMatchObject({
      chip: "M1",
      driver: "in-memory",
      ms: expected("m1", "in-memory"),
    });
    vi.stubEnv("ANECDOTE_ANE_DRIVER", "in-memory");
    expect(predictStep(plan, 1, "cpu")).toMatchObject({ ms: expected("m4", "in-memory") });
    expect(predictStep(plan, 1, "cpu", "e5rt")).toMatchObject({ ms: expected("m4", "e5rt") });
  });

  test.each(DRIVERS)("stands in a run's events with the run's driver, %s", async (driver) => {
    const engine = createReferenceEngine();
    try {
      const loaded = await engine.load(plan);
      const costs = new RunCosts({
        loaded,
        driver,
        engine: "sim:m4",
        microBatches: 1,
        tokensPerStep: 32,
        energy: undefined,
      });
      const step_ms = expected("m4", driver);
      expect(costs.stepFields()).toMatchObject({ predicted: { chip: "M4", driver, step_ms } });
      expect(costs.endFields()).toMatchObject({ predicted: { chip: "M4", driver, step_ms } });
    } finally {
      await engine.close();
    }
  });
});

describe("ANECDOTE_ANE_DRIVER", () => {
  test("is meant wherever no driver is named, and a named one wins", async () => {
    const file = join(folder, "tanh.mil");
    writeFileSync(
      file,
      `program(1.3)
{
    func main<ios18>(tensor<fp16, [32, 64]> x) {
            tensor<fp16, [32, 64]> y = tanh(x = x)[name = string("y")];
        } -> (y);
}`,
    );
    vi.stubEnv("ANECDOTE_ANE_DRIVER", "in-memory");
    for (const command of ["estimate", "check"]) {
      const flags = [command, file, "--chip", "m4"];
      expect(await runJson(...flags)).toMatchObject({ driver: "in-memory" });
      expect(await runJson(...flags, "--ane-driver", "e5rt")).toMatchObject({ driver: "e5rt" });
    }
    const engine = createSimEngine("m4", { threads: 1 });
    expect(engine.description.device).toContain("in-memory");
    await engine.close();
  });

  test("with a wrong name is told with the nearest", async () => {
    vi.stubEnv("ANECDOTE_ANE_DRIVER", "in-memry");
    const { code, stderr } = await run("estimate", "--preset", "nanogpt-char");
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/no driver "in-memry"\. Did you mean "in-memory"/);
  });
});
