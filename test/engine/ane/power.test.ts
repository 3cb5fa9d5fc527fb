import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readEvents } from "../../../src/runs/event-log.ts";
import type { TrainEvent } from "../../../src/runs/events.ts";
import {
  finished,
  parseEvents,
  runCli,
  startCli,
  temporaryFolder,
  tinyTraining,
} from "../../helpers/cli.ts";
import { fakeCommands, pathWith } from "../../helpers/fake-commands.ts";
import { MACMON } from "../../track/fake-meters.ts";
import { buildDouble } from "./double-library.ts";

const TIMEOUT_MS = 180_000;

function stepsOf(events: readonly TrainEvent[]): readonly Extract<TrainEvent, { kind: "step" }>[] {
  return events.filter((event) => event.kind === "step");
}

async function isGone(pid: number): Promise<boolean> {
  for (let tries = 0; tries < 200; tries++) {
    try {
      process.kill(pid, 0);
    } catch {
      return true;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return false;
}

/** A run's environment with a fake macmon, which writes its process id down. */
function environment(folder: string, macmon = MACMON): Record<string, string> {
  return {
    PATH: pathWith(fakeCommands({ macmon })),
    FAKE_PID_FILE: join(folder, "pid"),
    ANECDOTE_POWER: "macmon",
    ANECDOTE_CACHE_DIR: join(folder, "cache"),
  };
}

const pidOf = (folder: string): number => Number(readFileSync(join(folder, "pid"), "utf8"));

describe("power of a run through the double", () => {
  test(
    "stands in events and progress, with the engine's share and rate",
    { timeout: TIMEOUT_MS },
    async () => {
      const folder = temporaryFolder();
      const run = join(folder, "run");
      const { code, stdout, stderr } = await runCli(
        tinyTraining(folder, run, [
          "--engine",
          "ane",
          "--max-steps",
          "40",
          "--logging-steps",
          "10",
        ]),
        {
          ...environment(folder),
          ANECDOTE_ANE_LIBRARY: buildDouble("e5rt"),
          ANECDOTE_ANE_CHIP: "m4",
        },
      );
      expect(code, stderr).toBe(0);
      const events = readEvents(join(run, "events.ndjson"));
      expect(events.filter(({ kind }) => kind === "power")).toMatchObject([{ meter: "macmon" }]);
      const steps = stepsOf(events);
      const metered = steps.filter(({ power_meter }) => power_meter !== undefined);
      expect(metered.length).toBeGreaterThan(0);
      for (const step of metered) {
        expect(step.power_meter).toBe("macmon");
        expect(step.watts).toBeCloseTo(3.5, 6);
        expect(step.ane_watts).toBeCloseTo(2, 6);
        const seconds = step.energy_seconds ?? 0;
        expect(seconds).toBeGreaterThan(0);
        expect(step.energy_joules).toBeCloseTo(3.5 * seconds, 6);
        expect(step.ane_joules).toBeCloseTo(2 * seconds, 6);
        expect((step.joules_per_step ?? 0) / (step.joules_per_token ?? 1)).toBeCloseTo(32, 6);
        expect(step.tflops_per_watt).toBeGreaterThan(0);
      }
      for (const step of steps) {
        expect(step.engine_share).toBeGreaterThan(0);
        expect(step.engine_share).toBeLessThanOrEqual(1);
        expect(step.tflops).toBeGreaterThan(0);
        expect(step.predicted).toBeUndefined();
      }
      const end = events.at(-1);
      expect(end).toMatchObject({ kind: "end", power_meter: "macmon" });
      expect(stdout).toMatch(/power {3}macmon\n/);
      expect(stdout).toMatch(
        /engine \d+ % {2}\S+ [TGM]FLOPS {2}\S+ [TGM]FLOPS\/W {2}3\.50 W {2}ETA/,
      );
      expect(stdout).toMatch(/energy of the updates: .* a token, by macmon/);
      expect(await isGone(pidOf(folder))).toBe(true);
    },
  );
});

describe("power of a run", () => {
  test(
    "ends with a meter that dies, and the run goes on and says why",
    { timeout: TIMEOUT_MS },
    async () => {
      const folder = temporaryFolder();
      const dies = MACMON.replace("while :; do", "for i in 1 2 3; do").concat(
        "echo out >&2; exit 4\n",
      );
      const { code, stdout, stderr } = await runCli(
        tinyTraining(folder, join(folder, "run"), [
          "--engine",
          "reference",
          "--max-steps",
          "6",
          "--json",
          "--logging-steps",
          "1",
        ]),
        environment(folder, dies),
      );
      expect(code, stderr).toBe(0);
      const events = parseEvents(stdout);
      expect(events.filter(({ kind }) => kind === "power").at(-1)).toMatchObject({
        meter: null,
        reason: "macmon ended with code 4: out",
      });
      const end = events.at(-1);
      expect(end).toMatchObject({ kind: "end" });
      expect(end).not.toHaveProperty("joules_per_token");
      expect(end).not.toHaveProperty("engine_share");
    },
  );

  test("Ctrl-C leaves no meter behind", { timeout: TIMEOUT_MS }, async () => {
    const folder = temporaryFolder();
    const child = startCli(
      tinyTraining(folder, join(folder, "run"), [
        "--engine",
        "reference",
        "--max-steps",
        "100000",
        "--json",
        "--logging-steps",
        "1",
      ]),
      environment(folder),
    );
    child.stdout?.once("data", () => {
      const wait = setInterval(() => {
        if (!existsSync(join(folder, "pid"))) return;
        clearInterval(wait);
        child.kill("SIGINT");
      }, 20);
    });
    expect((await finished(child)).code).toBe(130);
    expect(await isGone(pidOf(folder))).toBe(true);
  });

  test("of a simulated engine is predicted, and called so", { timeout: TIMEOUT_MS }, async () => {
    const folder = temporaryFolder();
    const { code, stdout, stderr } = await runCli(
      tinyTraining(folder, join(folder, "run"), [
        "--engine",
        "sim:m4",
        "--max-steps",
        "2",
        "--json",
        "--logging-steps",
        "1",
        "--power",
        "off",
      ]),
    );
    expect(code, stderr).toBe(0);
    const events = parseEvents(stdout) as unknown as readonly TrainEvent[];
    const [step] = stepsOf(events);
    expect(step?.predicted).toMatchObject({ chip: "M4" });
    const { step_joules = 0, step_ms = 0, watts, joules_per_token = 0 } = step?.predicted ?? {};
    expect(step_joules / (step_ms / 1000)).toBeCloseTo(watts ?? 0, 9);
    expect(joules_per_token * 32).toBeCloseTo(step_joules, 12);
    expect(Object.keys(step ?? {}).filter((key) => /watts|joules|engine|tflops/.test(key))).toEqual(
      [],
    );
    expect(events.filter(({ kind }) => kind === "power")).toMatchObject([
      { meter: null, reason: "it is switched off" },
    ]);
  });
});
