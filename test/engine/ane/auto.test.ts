import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { saveMachineProfile, systemBuild } from "../../../src/engine/ane/machine-profile.ts";
import { passes } from "../../../src/measure/self-test/self-test.ts";
import { readEvents } from "../../../src/runs/event-log.ts";
import {
  finished,
  parseEvents,
  runCli,
  startCli,
  temporaryFolder,
  tinyTraining,
} from "../../helpers/cli.ts";
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

describe("a library that crashes", () => {
  const CRASH = "e5rt_execution_stream_execute_sync:9";

  test(
    "ends its own process alone: the run goes on with cpu from its last checkpoint, and says so",
    { timeout: TIMEOUT_MS },
    async () => {
      const folder = temporaryFolder();
      const run = join(folder, "run");
      const env = { ...machine(folder, true), ANECDOTE_DOUBLE_CRASH: CRASH };
      const { code, stdout, stderr } = await runCli(
        tinyTraining(folder, run, [...STEPS, "--engine", "auto"]),
        env,
      );
      expect(code, stderr).toBe(0);
      const events = readEvents(join(run, "events.ndjson"));
      const starts = events.flatMap((event) => (event.kind === "start" ? [event] : []));
      expect(starts.map(({ engine }) => engine)).toEqual(["ane", "cpu"]);
      expect(starts[1]?.step).toBeGreaterThan(0);
      expect((starts[1]?.step ?? 1) % 2).toBe(0);
      expect(stdout).toMatch(
        /THE NEURAL ENGINE FAILED, going on with cpu from the checkpoint of step \d: .*library crashed.* by SIG(?:SEGV|ABRT)/,
      );
      expect(events.at(-1)).toMatchObject({ kind: "end", step: 6 });
      expect(existsSync(join(run, "run.lock"))).toBe(false);
    },
  );

  test("before the first step begins the run anew with cpu", { timeout: TIMEOUT_MS }, async () => {
    const folder = temporaryFolder();
    const run = join(folder, "run");
    const env = { ...machine(folder, true), ANECDOTE_DOUBLE_CRASH: "e5rt_e5_compiler_compile:1" };
    const { code, stdout, stderr } = await runCli(
      tinyTraining(folder, run, [...STEPS, "--engine", "auto"]),
      env,
    );
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/going on with cpu from the beginning: .*library crashed/);
    expect(parseEvents(stdout).at(-1)).toMatchObject({ kind: "end", step: 6 });
  });

  test(
    "with --engine ane ends the command: nothing else is run in its place",
    { timeout: TIMEOUT_MS },
    async () => {
      const folder = temporaryFolder();
      const env = { ...machine(folder, true), ANECDOTE_DOUBLE_CRASH: CRASH };
      const { code, stdout } = await runCli(
        tinyTraining(folder, join(folder, "run"), [...STEPS, "--engine", "ane"]),
        env,
      );
      expect(code).not.toBe(0);
      expect(stdout).not.toContain('"engine":"cpu"');
    },
  );
});

describe("a run of the Neural Engine that auto chose", () => {
  test(
    "is saved at Ctrl-C as any other, though it is in a process of its own",
    { timeout: TIMEOUT_MS },
    async () => {
      const folder = temporaryFolder();
      const run = join(folder, "run");
      const child = startCli(
        tinyTraining(folder, run, [
          ...["--max-steps", "100000", "--save-steps", "0", "--logging-steps", "1", "--json"],
          ...["--engine", "auto"],
        ]),
        machine(folder, true),
        { detached: true },
      );
      const end = finished(child);
      await new Promise<void>((resolve) => {
        let seen = "";
        child.stdout?.on("data", (chunk: Buffer) => {
          seen += chunk.toString();
          if (seen.includes('"kind":"step"')) resolve();
        });
        void end.then(() => resolve());
      });
      // As a terminal does: to every process of the group.
      process.kill(-(child.pid ?? 0), "SIGINT");
      const { code, stdout, stderr } = await end;
      expect(code, stderr).toBe(130);
      const last = parseEvents(stdout).at(-1);
      expect(last).toMatchObject({ kind: "interrupted" });
      expect(existsSync(join(run, `checkpoint-${String(last?.["step"])}`))).toBe(true);
      expect(existsSync(join(run, "run.lock"))).toBe(false);
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
