import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { createAneEngine } from "../../../src/engine/ane/index.ts";
import type { AneEngineOptions } from "../../../src/engine/ane/index.ts";
import type { TaskEvent } from "../../../src/engine/ane/task-runner.ts";
import { GPT2_JSON } from "../../model/configs.ts";
import { openDouble } from "./double-library.ts";
import { initialise, simulator, tinyPlan, train } from "./training.ts";

const cacheFolder = mkdtempSync(join(tmpdir(), "anecdote-ane-"));
afterAll(() => rmSync(cacheFolder, { recursive: true, force: true }));

/** Labels of the host's tasks that begin and end while a stream executes. */
function inside(events: readonly TaskEvent[]): readonly string[] {
  const found: string[] = [];
  let isExecuting = false;
  let begun: string | undefined;
  for (const { lane, phase, label } of events) {
    if (lane === "engine") {
      isExecuting = phase === "begin";
      begun = undefined;
    } else if (phase === "begin") begun = isExecuting ? label : undefined;
    else if (begun === label) found.push(label);
  }
  return found;
}

describe("engine and host", () => {
  const double = openDouble("e5rt");
  const clean = (): void => expect(double.violations()).toEqual({ count: 0, first: "" });

  async function events(options: AneEngineOptions): Promise<readonly TaskEvent[]> {
    const seen: TaskEvent[] = [];
    const engine = await createAneEngine({
      library: double.path ?? "",
      chip: "m4",
      threads: 1,
      cacheFolder,
      onTask: (event) => seen.push(event),
      ...options,
    });
    try {
      const training = tinyPlan(GPT2_JSON);
      const loaded = await engine.load(training.plan);
      initialise(training, loaded);
      loaded.view("loss_scale")[0] = 1 / 32;
      await loaded.run("forward_backward");
    } finally {
      await engine.close();
    }
    return seen;
  }

  test("work at the same time: results of one stream are converted while the next one executes", async () => {
    double.order("delay", "execute:10");
    const seen = inside(await events({ bytesPerPiece: 4096 }));
    double.order("delay", "");
    expect(seen).toContainEqual(expect.stringMatching(/^results of backward block\.1/));
    expect(seen).toContainEqual(expect.stringMatching(/^inputs of forward block\.1/));
    clean();
  });

  test("take turns where that is asked for", async () => {
    expect(inside(await events({ bytesPerPiece: 4096, sequential: true }))).toEqual([]);
    clean();
  });

  test("give the simulator's losses bit for bit, however streams are cut", async () => {
    const sim = simulator("m4");
    const wanted = await train(sim, 2, { json: GPT2_JSON, accumulationSteps: 2 });
    for (const options of [
      { bytesPerPiece: 1 },
      { bytesPerPiece: 8192, operationLimit: 5 },
      // Every number is converted on other threads.
      { bytesPerPiece: 4096, convertAwayFrom: 1, threads: 2 },
    ]) {
      const engine = await createAneEngine({
        library: double.path ?? "",
        chip: "m4",
        host: sim,
        cacheFolder,
        ...options,
      });
      double.order("delay", "execute:1");
      expect(await train(engine, 2, { json: GPT2_JSON, accumulationSteps: 2 })).toEqual(wanted);
      double.order("delay", "");
      await engine.close();
    }
    await sim.close();
    clean();
    expect(double.count("live handles")).toBe(0);
  });

  test("are told apart by the clock: what both did at once counts once for the wall", async () => {
    const engine = await createAneEngine({
      library: double.path ?? "",
      chip: "m4",
      threads: 1,
      cacheFolder,
      bytesPerPiece: 4096,
    });
    const training = tinyPlan(GPT2_JSON);
    const loaded = await engine.load(training.plan);
    initialise(training, loaded);
    double.order("delay", "execute:5");
    await loaded.run("forward_backward");
    double.order("delay", "");
    const { engineMs = 0, hostMs = 0, wallMs = 0, flops = 0 } = loaded.usage?.() ?? {};
    expect(engineMs).toBeGreaterThan(5);
    expect(hostMs).toBeGreaterThan(0);
    expect(wallMs).toBeGreaterThanOrEqual(engineMs);
    expect(flops).toBeGreaterThan(1e5);
    await loaded.run("forward_backward");
    expect(loaded.usage?.().flops).toBe(2 * flops);
    await engine.close();
  });

  test("that fail leave nothing behind: the other's task ends first, and the plan runs again", async () => {
    const engine = await createAneEngine({
      library: double.path ?? "",
      chip: "m4",
      threads: 1,
      cacheFolder,
      bytesPerPiece: 4096,
    });
    const training = tinyPlan(GPT2_JSON);
    const loaded = await engine.load(training.plan);
    initialise(training, loaded);
    loaded.view("loss_scale")[0] = 1 / 32;
    await loaded.run("forward_backward");
    const gradient = "gradient:h.0.mlp.c_fc.weight";
    const name = loaded.plan.buffers.has(gradient)
      ? gradient
      : [...loaded.plan.buffers.keys()].find((buffer) => buffer.startsWith("gradient:"));
    const before = loaded.view(name ?? "").slice();
    double.order("delay", "execute:2");
    for (const at of [1, 2, 3, 4]) {
      double.order("fail", `e5rt_execution_stream_execute_sync:${at}`);
      await expect(loaded.run("forward_backward")).rejects.toMatchObject({
        code: "engine.ane.execute",
      });
    }
    double.order("delay", "");
    await loaded.run("forward_backward");
    expect(loaded.view(name ?? "")).toEqual(before);
    // Closing in the middle of a run waits for what runs.
    double.order("delay", "execute:5");
    const run = loaded.run("forward_backward");
    const ended = expect(run).rejects.toMatchObject({ code: "engine.closed" });
    await new Promise((resolve) => {
      setTimeout(resolve, 12);
    });
    await engine.close();
    await ended;
    double.order("delay", "");
    clean();
    expect(double.count("live handles")).toBe(0);
  });
});
