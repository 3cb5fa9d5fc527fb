import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { createAneEngine } from "../../../src/engine/ane/index.ts";
import { GPT2_JSON } from "../../model/configs.ts";
import { openDouble } from "./double-library.ts";
import { initialise, simulator, tinyPlan, trainerOf } from "./training.ts";

test("ANECDOTE_ANE_JOIN=never runs each dispatch by itself, to the same bits", async () => {
  const cacheFolder = mkdtempSync(join(tmpdir(), "anecdote-ane-"));
  onTestFinished(() => {
    vi.unstubAllEnvs();
    rmSync(cacheFolder, { recursive: true, force: true });
  });
  const host = simulator("m4");
  const training = tinyPlan(GPT2_JSON);
  const results: (readonly number[])[] = [];
  const labels: (readonly string[])[] = [];
  for (const value of ["", "never"]) {
    vi.stubEnv("ANECDOTE_ANE_JOIN", value);
    const engine = await createAneEngine({
      ...{ driver: "e5rt", library: openDouble("e5rt").path, chip: "m4", host, cacheFolder },
      timeoutMs: 30_000,
    });
    const expectedRuns = { forward_backward: { count: 1e9 } };
    const loaded = await engine.load(training.plan, { expectedRuns });
    initialise(training, loaded);
    const { loss, gradientNorm } = await trainerOf(loaded, 1).update(() => undefined);
    results.push([loss, gradientNorm]);
    const steps = loaded.describeExecution?.("forward_backward").steps ?? [];
    labels.push(steps.flatMap(({ kind, dispatches }) => (kind === "engine" ? dispatches : [])));
    await engine.close();
  }
  await host.close();
  expect(results[1]).toEqual(results[0]);
  const [joined = [], apart = []] = labels;
  expect(joined.some((label) => label.includes("…"))).toBe(true);
  expect(apart.some((label) => label.includes("…"))).toBe(false);
  expect(apart.length).toBeGreaterThan(joined.length);
});
