import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { createAneEngine } from "../../../src/engine/ane/index.ts";
import { GPT2_JSON, LLAMA_JSON, QWEN3_JSON } from "../../model/configs.ts";
import { NO_COMPILER, openDouble } from "./double-library.ts";
import { simulator, train } from "./training.ts";

const cacheFolder = mkdtempSync(join(tmpdir(), "anecdote-ane-"));
afterAll(() => rmSync(cacheFolder, { recursive: true, force: true }));

describe.skipIf(NO_COMPILER !== undefined)(
  `training through the double (${NO_COMPILER ?? "cc"})`,
  () => {
    test.each([
      ["gpt2", GPT2_JSON, "m4"],
      ["llama", LLAMA_JSON, "m1"],
      ["qwen3", QWEN3_JSON, "m5"],
    ])(
      "%s gives the simulator's losses and norms bit for bit, and keeps the protocol",
      async (_, json, chip) => {
        const double = openDouble("e5rt");
        double.violations();
        const sim = simulator(chip);
        const wanted = await train(sim, 3, { json, accumulationSteps: 2 });
        const engine = await createAneEngine({
          library: double.path,
          chip,
          host: sim,
          cacheFolder,
          timeoutMs: 30_000,
        });
        const got = await train(engine, 3, { json, accumulationSteps: 2 });
        await engine.close();
        await sim.close();
        expect(got).toEqual(wanted);
        expect(wanted.flat().every(Number.isFinite)).toBe(true);
        expect(double.violations()).toEqual({ count: 0, first: "" });
        expect(double.count("live handles")).toBe(0);
        expect(double.count("executions")).toBeGreaterThan(10);
      },
    );
  },
);
