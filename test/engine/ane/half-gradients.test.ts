import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { createAneEngine } from "../../../src/engine/ane/index.ts";
import { createCpuEngine } from "../../../src/engine/cpu/index.ts";
import { createSimEngine } from "../../../src/engine/sim/index.ts";
import { planMemory } from "../../../src/plan/memory.ts";
import { DEFAULT_ADAMW } from "../../../src/train/step/step-plan.ts";
import { LLAMA_JSON } from "../../model/configs.ts";
import { openDouble } from "./double-library.ts";
import { simulator, tinyPlan, train } from "./training.ts";

const cacheFolder = mkdtempSync(join(tmpdir(), "anecdote-ane-"));
afterAll(() => rmSync(cacheFolder, { recursive: true, force: true }));

const HALVES = { accumulation: false, halfGradients: true } as const;
const SHORT = { ...HALVES, adamw: { ...DEFAULT_ADAMW, momentType: "bf16" } } as const;
const OFTEN = { forward_backward: { count: 1e9 } };

describe("gradients that stand as the engine gives them", () => {
  test("train to the bits of gradients of fp32, in less memory", async () => {
    const engine = simulator("m4");
    const singles = await train(engine, 3, { options: { accumulation: false } });
    const halves = await train(engine, 3, { options: HALVES });
    await engine.close();
    expect(halves).toEqual(singles);
    const bytes = (options: object) =>
      planMemory(tinyPlan(undefined, options).plan).persistent.gradient;
    expect(bytes(HALVES)).toBeLessThan(0.8 * bytes({ accumulation: false }));
    // Where gradients are added up they stay as they were.
    expect(bytes({ halfGradients: true })).toBe(bytes({}));
  });

  test.each([
    ["e5rt", "e5rt", "m4"],
    ["in-memory", "objc", "m1"],
  ] as const)(
    "are through %s what they are on the simulator, with moments of 16 bits too",
    async (driver, double, chip) => {
      const library = openDouble(double);
      const sim = createSimEngine(chip, { threads: 1, driver });
      const wanted = await train(sim, 3, { json: LLAMA_JSON, options: SHORT });
      const engine = await createAneEngine({
        ...{ driver, library: library.path, chip, host: sim, cacheFolder },
        timeoutMs: 30_000,
      });
      const got = await train(engine, 3, {
        ...{ json: LLAMA_JSON, options: SHORT, expectedRuns: OFTEN },
      });
      await engine.close();
      await sim.close();
      expect(got).toEqual(wanted);
      expect(wanted.flat().every(Number.isFinite)).toBe(true);
      expect(library.violations()).toEqual({ count: 0, first: "" });
    },
  );

  test("are updated by the CPU engine's kernels as by the simulator's", async () => {
    const library = openDouble("e5rt");
    const sim = simulator("m4");
    const host = await createCpuEngine({ threads: 2 });
    const engine = await createAneEngine({
      ...{ driver: "e5rt", library: library.path, chip: "m4", host, cacheFolder },
      timeoutMs: 30_000,
    });
    const wanted = await train(sim, 3, { options: SHORT });
    const got = await train(engine, 3, { options: SHORT });
    await engine.close();
    await host.close();
    await sim.close();
    for (const [step, numbers] of wanted.entries())
      for (const [place, number] of numbers.entries())
        expect(Math.abs((got[step]?.[place] ?? NaN) / number - 1)).toBeLessThan(1e-4);
  });
});
