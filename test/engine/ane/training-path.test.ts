import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { createCpuEngine } from "../../../src/engine/cpu/index.ts";
import { createSimEngine } from "../../../src/engine/sim/index.ts";
import { createAneEngine } from "../../../src/engine/ane/index.ts";
import { GPT2_JSON, LLAMA_JSON, QWEN3_JSON } from "../../model/configs.ts";
import { openDouble } from "./double-library.ts";
import { simulator, train } from "./training.ts";

const cacheFolder = mkdtempSync(join(tmpdir(), "anecdote-ane-"));
afterAll(() => rmSync(cacheFolder, { recursive: true, force: true }));

const OFTEN = {
  forward_backward: { count: 1e9 },
  forward_backward_accumulate: { count: 1e9 },
};

const DOUBLES = { e5rt: "e5rt", "in-memory": "objc" } as const;

describe("training through the doubles", () => {
  test.each([
    ["e5rt", "gpt2", GPT2_JSON, "m4"],
    ["e5rt", "llama", LLAMA_JSON, "m1"],
    ["e5rt", "qwen3", QWEN3_JSON, "m5"],
    ["in-memory", "gpt2", GPT2_JSON, "m4"],
    ["in-memory", "llama", LLAMA_JSON, "m1"],
    ["in-memory", "qwen3", QWEN3_JSON, "m6"],
  ] as const)(
    "%s: %s gives the simulator's losses and norms bit for bit, and keeps the protocol",
    async (driver, _, json, chip) => {
      const double = openDouble(DOUBLES[driver]);
      double.violations();
      const sim = createSimEngine(chip, { threads: 1, driver });
      const wanted = await train(sim, 3, { json, accumulationSteps: 2 });
      const engine = await createAneEngine({
        driver,
        library: double.path,
        chip,
        host: sim,
        cacheFolder,
        timeoutMs: 30_000,
      });
      // Layers are joined in some of them, where the simulator runs each by itself.
      const isJoined = json !== LLAMA_JSON;
      const expectedRuns = isJoined ? OFTEN : {};
      const got = await train(engine, 3, { json, accumulationSteps: 2, expectedRuns });
      await engine.close();
      await sim.close();
      expect(got).toEqual(wanted);
      expect(wanted.flat().every(Number.isFinite)).toBe(true);
      expect(double.violations()).toEqual({ count: 0, first: "" });
      expect(double.count("live handles")).toBe(0);
      expect(double.count("executions")).toBeGreaterThan(10);
    },
  );

  test("the host's share on the CPU engine ends within rounding of the simulator's", async () => {
    const double = openDouble("e5rt");
    const sim = simulator("m4");
    const wanted = await train(sim, 4, { json: GPT2_JSON });
    const host = await createCpuEngine({ threads: 1 });
    const engine = await createAneEngine({ library: double.path, chip: "m4", host, cacheFolder });
    const got = await train(engine, 4, { json: GPT2_JSON });
    for (const each of [engine, host, sim]) await each.close();
    // fp32 sums in another order; the engine then rounds to fp16.
    expect(got[0]?.[0]).toBe(wanted[0]?.[0]);
    for (const [step, [loss = NaN, norm = 1]] of got.entries()) {
      const [wantedLoss = NaN, wantedNorm = 1] = wanted[step] ?? [];
      expect(Math.abs(loss / wantedLoss - 1)).toBeLessThan(1e-3);
      expect(Math.abs(norm / wantedNorm - 1)).toBeLessThan(1e-2);
    }
  });
});
