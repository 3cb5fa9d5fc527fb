import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { saveMachineProfile, systemBuild } from "../../../src/engine/ane/machine-profile.ts";
import { passes } from "../../../src/measure/self-test/self-test.ts";
import { readEvents } from "../../../src/runs/event-log.ts";
import { parseEvents, runCli, temporaryFolder, tinyTraining } from "../../helpers/cli.ts";
import { buildDouble } from "./double-library.ts";

const TIMEOUT_MS = 180_000;
const STEPS = ["--max-steps", "6", "--save-steps", "2", "--logging-steps", "1", "--json"];

/** A machine whose self-test passed, or not, or has not run. */
function machine(folder: string, passed: boolean | undefined): Record<string, string> {
  const library = buildDouble("e5rt");
  const cache = join(folder, "cache");
  if (passed !== undefined) {
    const key = { chip: "m4", osBuild: systemBuild(), library };
    saveMachineProfile(key, {}, "1.0.0", { root: cache, passed: { e5rt: passed } });
  }
  return {
    ANECDOTE_ANE_LIBRARY: library,
    ANECDOTE_CACHE_DIR: cache,
    ANECDOTE_ANE_CHIP: "m4",
  };
}

describe("engine auto on a machine with a Neural Engine (a double)", () => {
  for (const [passed, why] of [
    [undefined, /doctor` has not passed on this machine yet/],
    [false, /did not pass with e5rt/],
  ] as const) {
    test(
      `is cpu, and says why, where the self-test ${passed === false ? "failed" : "never ran"}`,
      { timeout: TIMEOUT_MS },
      async () => {
        const folder = temporaryFolder();
        const run = join(folder, "run");
        const { code, stdout } = await runCli(
          tinyTraining(folder, run, [...STEPS, "--engine", "auto"]),
          machine(folder, passed),
        );
        expect(code).toBe(0);
        expect(parseEvents(stdout).find(({ kind }) => kind === "start")).toMatchObject({
          engine: "cpu",
        });
        const told = readEvents(join(run, "events.ndjson")).filter(({ kind }) => kind === "notice");
        expect(told.map((event) => ("message" in event ? event.message : ""))).toEqual([
          expect.stringMatching(why),
        ]);
      },
    );
  }

  test(
    "is the Neural Engine after a passed self-test; where it fails the run goes on with cpu, loudly",
    { timeout: TIMEOUT_MS },
    async () => {
      const folder = temporaryFolder();
      const run = join(folder, "run");
      const env = {
        ...machine(folder, true),
        ANECDOTE_DOUBLE_FAIL: "e5rt_execution_stream_execute_sync:5",
      };
      const { code, stdout } = await runCli(
        tinyTraining(folder, run, [...STEPS, "--engine", "auto"]),
        env,
      );
      const events = parseEvents(stdout);
      expect(
        events.flatMap((event) => (event["kind"] === "start" ? [event["engine"]] : [])),
      ).toEqual(["ane", "cpu"]);
      expect(stdout).toMatch(/THE NEURAL ENGINE FAILED, going on with cpu from the checkpoint of/);
      expect(events.at(-1)).toMatchObject({ kind: "end", step: 6 });
      expect(code).toBe(0);
      const explicit = await runCli(
        tinyTraining(folder, join(folder, "explicit"), [...STEPS, "--engine", "ane"]),
        env,
      );
      expect(explicit.code).not.toBe(0);
    },
  );
});

describe("a self-test", () => {
  const held = { verdict: "held" } as const;
  const whole = [
    { id: "program.runs", group: "protocol", ...held },
    { id: "matmul", group: "ops", ...held },
    { id: "e5rt.program-cap", group: "limits", verdict: "did not hold" },
  ] as const;

  test("passes where ops compute and the rules that runs rely on hold, whatever limits are", () => {
    expect(passes(whole, true)).toBe(true);
  });

  test("fails with an op or a rule that does not hold, with an op that is unknown, and without ops", () => {
    const bad = { verdict: "did not hold" } as const;
    expect(passes([...whole, { id: "conv", group: "ops", ...bad }], true)).toBe(false);
    expect(passes([...whole, { id: "x", group: "arithmetic", ...bad }], true)).toBe(false);
    expect(passes([...whole, { id: "conv", group: "ops", verdict: "unknown" }], true)).toBe(false);
    expect(passes(whole.slice(0, 1), true)).toBe(false);
    expect(passes(whole.slice(1), true)).toBe(false);
  });
});
