import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { createEngine } from "../../src/engine/create.ts";
import type { Engine, LoadedPlan } from "../../src/engine/engine.ts";
import { tinyPlan } from "./ane/training.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

describe("an engine that stays open", () => {
  async function closedPlan(engine: Engine): Promise<WeakRef<LoadedPlan>> {
    const loaded = await engine.load(tinyPlan().plan);
    await loaded.close();
    return new WeakRef(loaded);
  }

  test.each(["reference", "cpu", "sim:m4"])(
    "lets go of a plan that was closed, and of its memory (%s)",
    async (name) => {
      const engine = await createEngine(name, { threads: 1 });
      const plan = await closedPlan(engine);
      for (let turn = 0; turn < 20 && plan.deref() !== undefined; turn++) {
        await new Promise((resolve) => setImmediate(resolve));
        collectGarbage();
      }
      expect(plan.deref()).toBeUndefined();
      await engine.close();
    },
  );

  test("closes the plans that are left, once each", async () => {
    const engine = await createEngine("reference");
    const [first, second] = [
      await engine.load(tinyPlan().plan),
      await engine.load(tinyPlan().plan),
    ];
    await first.close();
    await engine.close();
    await expect(second.run("evaluate")).rejects.toMatchObject({ code: "engine.closed" });
  });
});
