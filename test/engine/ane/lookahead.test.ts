import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { createAneEngine } from "../../../src/engine/ane/index.ts";
import type { TaskEvent } from "../../../src/engine/ane/task-runner.ts";
import type { Engine, LoadedPlan } from "../../../src/engine/engine.ts";
import { ControlBlock } from "../../../src/train/run/control.ts";
import { LossScale } from "../../../src/train/step/loss-scale.ts";
import type { Trainer } from "../../../src/train/step/trainer.ts";
import { GPT2_JSON } from "../../model/configs.ts";
import { openDouble } from "./double-library.ts";
import { initialise, simulator, tinyPlan, trainerOf } from "./training.ts";

const cacheFolder = mkdtempSync(join(tmpdir(), "anecdote-ane-"));
afterAll(() => rmSync(cacheFolder, { recursive: true, force: true }));

interface Seen {
  readonly steps: readonly unknown[];
  readonly overflows: readonly number[];
  readonly weights: readonly (readonly number[])[];
}

/** Some updates from a loss scale that overflows, with what a checkpoint of each would keep. */
async function observe(
  engine: Engine,
  accumulationSteps: number,
  maxSteps: number,
  lookahead = true,
): Promise<Seen> {
  const loaded = await engine.load(tinyPlan(GPT2_JSON).plan);
  initialise(tinyPlan(GPT2_JSON), loaded);
  const overflows: number[] = [];
  const steps: unknown[] = [];
  const trainer: Trainer = trainerOf(loaded, accumulationSteps, {
    lookahead,
    lossScale: LossScale.dynamic({ scale: 2 ** 24, stepCount: 199 }),
    onOverflow: (scale) => overflows.push(scale),
    schedule: {
      kind: "constant",
      learningRate: 3e-3,
      minimumLearningRate: 0,
      warmupSteps: 0,
      maxSteps,
    },
  });
  while (trainer.step < maxSteps) {
    await trainer.update((step, result) => {
      steps.push([step, result, trainer.batchState, trainer.lossScale.state]);
      return undefined;
    });
    // What a checkpoint between two steps keeps.
    steps.push([trainer.batchState, trainer.lossScale.state]);
  }
  const weights = [...loaded.plan.buffers.values()]
    .filter(({ role }) => role === "weight" || role === "optimizer")
    .map(({ name }) => [...loaded.view(name)]);
  await loaded.close();
  return { steps, overflows, weights };
}

describe("a step's gradients beside the update before it", () => {
  const double = openDouble("e5rt");

  async function withPlan(
    onTask: (event: TaskEvent) => void,
    act: (loaded: LoadedPlan) => Promise<void>,
  ): Promise<void> {
    const engine = await createAneEngine({
      library: double.path ?? "",
      chip: "m4",
      threads: 1,
      cacheFolder,
      bytesPerPiece: 4096,
      onTask,
    });
    try {
      const training = tinyPlan(GPT2_JSON);
      const loaded = await engine.load(training.plan);
      initialise(training, loaded);
      await act(loaded);
    } finally {
      double.order("delay", "");
      double.order("fail", "");
      await engine.close();
    }
    expect(double.violations()).toEqual({ count: 0, first: "" });
    expect(double.count("live handles")).toBe(0);
  }

  test.each([1, 2])(
    "give what steps one after the other give, overflows and checkpoints included (%i micro-batches)",
    async (accumulationSteps) => {
      const sim = simulator("m4");
      const wanted = await observe(sim, accumulationSteps, 3);
      expect(wanted.overflows.length).toBeGreaterThan(0);
      const engine = await createAneEngine({
        library: double.path ?? "",
        chip: "m4",
        host: sim,
        cacheFolder,
        bytesPerPiece: 4096,
      });
      expect(await observe(engine, accumulationSteps, 3)).toEqual(wanted);
      expect(await observe(engine, accumulationSteps, 3, false)).toEqual(wanted);
      await engine.close();
      await sim.close();
      expect(double.violations()).toEqual({ count: 0, first: "" });
    },
  );

  test("begin while later layers are still updated, and the step is whole before they end", async () => {
    const events: TaskEvent[] = [];
    const control = new ControlBlock();
    await withPlan(
      (event) => events.push(event),
      async (loaded) => {
        const trainer = trainerOf(loaded, 1, { control });
        await trainer.update((step) => ({ step }));
        events.length = 0;
        double.order("delay", "execute:10");
        let wholeAt = 0;
        await trainer.update(() => {
          wholeAt = events.length;
          return { step: trainer.step };
        });
        const firstStream = events.findIndex(
          ({ lane, phase }) => lane === "engine" && phase === "begin",
        );
        const lastUpdate = events.findLastIndex(({ section }) => section === "update");
        const lastStream = events.findLastIndex(({ lane }) => lane === "engine");
        expect(firstStream).toBeLessThan(lastUpdate);
        expect(wholeAt).toBeGreaterThan(lastUpdate);
        expect(wholeAt).toBeLessThan(lastStream);
        expect(control.readState()).toEqual({ step: 2 });
      },
    );
  });

  test("that fail leave the update whole, published and reported; the next step tells the failure", async () => {
    const control = new ControlBlock();
    await withPlan(
      () => undefined,
      async (loaded) => {
        const trainer = trainerOf(loaded, 1, { control });
        await trainer.update((step) => ({ step }));
        double.order("delay", "execute:2");
        double.order("fail", "e5rt_execution_stream_execute_sync:1");
        const { loss } = await trainer.update((step) => ({ step }));
        expect(loss).toBeGreaterThan(0);
        expect(trainer.step).toBe(2);
        expect(control.isUpdating).toBe(false);
        expect(control.readState()).toEqual({ step: 2 });
        await expect(trainer.update((step) => ({ step }))).rejects.toMatchObject({
          code: "engine.ane.execute",
        });
        expect(control.readState()).toEqual({ step: 2 });
      },
    );
  });

  test("are not begun for a step that will not come", async () => {
    const sections = new Set<string>();
    await withPlan(
      ({ section }) => sections.add(section),
      async (loaded) => {
        const control = new ControlBlock();
        const trainer = trainerOf(loaded, 1, { control });
        control.requestInterrupt();
        await trainer.update((step) => ({ step }));
        const before = trainer.batchState;
        sections.clear();
        await expect(trainer.evaluate([])).rejects.toThrow("nothing to judge");
        expect(trainer.batchState).toBe(before);
        expect(trainer.batchState).toBe(32);
        expect(sections.size).toBe(0);
      },
    );
  });
});
