import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { RATE_FIGURES } from "../../src/chip/calibration.ts";
import { ASSUMPTIONS } from "../../src/engine/ane/assumptions.ts";
import { readMachineProfile, systemBuild } from "../../src/engine/ane/machine-profile.ts";
import { judgeNumbers } from "../../src/measure/self-test/number-case.ts";
import { judgeOp } from "../../src/measure/self-test/op-probe.ts";
import { PROBES, probesFor, uncovered, UNPROBED } from "../../src/measure/self-test/probes.ts";
import { reportSchema } from "../../src/measure/self-test/report.ts";
import { runSelfTest } from "../../src/measure/self-test/self-test.ts";
import type { SelfTestOptions } from "../../src/measure/self-test/self-test.ts";
import { buildDouble } from "../engine/ane/double-library.ts";
import { runCli, temporaryFolder } from "../helpers/cli.ts";

/** Each answer costs a process of its own, on a machine that may be busy. */
const TIMEOUT_MS = 240_000;

describe("the table of probes", () => {
  test("asks about every assumption of the drivers, or says why it cannot", () => {
    expect(uncovered()).toEqual([]);
    for (const id of Object.keys(UNPROBED)) expect(ASSUMPTIONS).toHaveProperty([id]);
  });

  test.each(["e5rt", "in-memory"] as const)(
    "is expected to settle arithmetic, rates and what runs rely on within three minutes: %s",
    (driver) => {
      const inTime = probesFor(driver, "default").filter(({ group }) =>
        ["symbols", "protocol", "arithmetic", "rates", "memory"].includes(group),
      );
      const startMs = 500;
      const expectedMs = inTime.reduce(
        (sum, { expectedMs: ms = 1000, batch, rounds = 1 }) =>
          sum + ms + (batch === undefined ? rounds * startMs : 0),
        0,
      );
      expect(expectedMs).toBeLessThan(170_000);
    },
  );

  test("measures every figure that a calibration reads", () => {
    const rates = new Set(PROBES.filter(({ group }) => group === "rates").map(({ id }) => id));
    for (const id of Object.keys(RATE_FIGURES)) expect(rates).toContain(id);
  });

  test.each(["e5rt", "in-memory"] as const)(
    "has no id twice and no need after itself: %s",
    (driver) => {
      const ids = probesFor(driver, "thorough").map(({ id }) => id);
      expect(new Set(ids).size).toBe(ids.length);
      const known = new Set(PROBES.map(({ id }) => id));
      for (const [place, probe] of probesFor(driver, "thorough").entries()) {
        for (const need of probe.needs) {
          expect(known, `${probe.id} needs ${need}`).toContain(need);
          if (ids.includes(need)) expect(ids.indexOf(need), probe.id).toBeLessThan(place);
        }
      }
    },
  );
});

describe("the judgement of numbers", () => {
  const right = [1, 2];
  test("holds for the documented ones, not for right ones that are documented as wrong", () => {
    expect(judgeNumbers([3, 4], { right }, [3, 4]).verdict).toBe("held");
    expect(judgeNumbers([1, 2], { right }, [3, 4])).toMatchObject({
      verdict: "did not hold",
      detail: "gives 1, 2, which is right; documented are 3, 4",
    });
    expect(judgeNumbers([5, 6], { right }, [3, 4]).detail).toMatch(
      /documented are 3, 4, the right/,
    );
    expect(judgeNumbers([5, 6], { right }, "wrong").verdict).toBe("held");
    expect(judgeNumbers([1, 2], { right }, "wrong").verdict).toBe("did not hold");
    expect(judgeNumbers([1, 2], { right }, undefined).verdict).toBe("unknown");
    expect(judgeNumbers([3, 4], { right }, { oneOf: { so: [3, 4] } }).measured?.["as"]).toBe("so");
    expect(judgeNumbers([NaN], { right: [NaN] }, [NaN]).verdict).toBe("held");
  });

  test("of an op knows the published size, lost numbers and untouched outputs", () => {
    const reference = [Float64Array.of(1, 2, 3, 4)];
    const off = (by: number) => [reference[0]?.map((x) => x * (1 + by)) ?? []];
    expect(judgeOp("exp", off(5e-4), reference, reference)).toMatchObject({
      verdict: "held",
      measured: { published: 4.7e-4 },
    });
    expect(judgeOp("exp", off(5e-3), reference, reference).verdict).toBe("did not hold");
    expect(judgeOp("exp", off(5e-3), reference, off(4e-3)).verdict).toBe("held");
    expect(judgeOp("sinh", off(5e-3), reference, reference).verdict).toBe("unknown");
    expect(judgeOp("exp", [[1, 2, NaN, 4]], reference, reference).detail).toMatch(/1 results are/);
  });
});

describe(`the self-test`, () => {
  let folder = "";
  const orders = ["CRASH", "HANG", "FAIL", "GARBAGE", "SURFACES", "SERVICE"] as const;
  beforeEach(() => {
    folder = temporaryFolder();
    vi.stubEnv("ANECDOTE_CACHE_DIR", folder);
  });
  afterEach(() => vi.unstubAllEnvs());

  const order = (name: (typeof orders)[number], value: string): void => {
    vi.stubEnv(`ANECDOTE_DOUBLE_${name}`, value);
  };
  const asked = (
    ids: readonly string[],
    more: Partial<SelfTestOptions> = {},
    driver: "e5rt" | "in-memory" = "e5rt",
  ) =>
    runSelfTest({
      level: "default",
      groups: ["protocol", "memory", "limits", "arithmetic", "miscompiles"],
      driver,
      library: buildDouble(driver === "e5rt" ? "e5rt" : "objc"),
      only: (id) => ids.includes(id),
      ...more,
    });
  const profileOf = (library: string) =>
    readMachineProfile({ chip: "m4", osBuild: systemBuild(), library });

  test(
    "tells rules that hold from those that do not, and saves what the driver shall do",
    { timeout: TIMEOUT_MS },
    async () => {
      const report = await asked([
        "program.runs",
        "e5rt.mask",
        "e5rt.cache-reuse",
        "e5rt.program-cap",
        "grid.vanish",
        "softplus.large",
      ]);
      expect(reportSchema.parse(report)).toEqual(report);
      const verdicts = Object.fromEntries(report.probes.map(({ id, verdict }) => [id, verdict]));
      expect(verdicts).toEqual({
        "program.runs": "held",
        "e5rt.mask": "held",
        "e5rt.cache-reuse": "held",
        "e5rt.program-cap": "held",
        "grid.vanish": "held",
        // The simulator behind the library computes it rightly: silicon does not.
        "softplus.large": "did not hold",
      });
      expect(report).toMatchObject({
        complete: true,
        ran_on: "a library that stands for the engine",
        machine: { chip: "m4" },
      });
      expect(profileOf(report.library.path)).toMatchObject({
        state: "used",
        profile: { drivers: { e5rt: { operationLimit: 120 } } },
      });
    },
  );

  test(
    "takes a crash for an answer, with its signal and the last words, and goes on",
    { timeout: TIMEOUT_MS },
    async () => {
      order("CRASH", "e5rt_execution_stream_execute_sync:3");
      const report = await asked(["program.runs", "e5rt.release-early", "grid.vanish"]);
      expect(report.probes).toMatchObject([
        { id: "program.runs", verdict: "held" },
        {
          id: "e5rt.release-early",
          verdict: "did not hold",
          ended: "signal",
          signal: "SIGSEGV",
          stderr: "double: e5rt_execution_stream_execute_sync was told to crash",
        },
        { id: "grid.vanish", verdict: "held" },
      ]);
    },
  );

  test(
    "ends a process that hangs and says for how long it waited",
    { timeout: TIMEOUT_MS },
    async () => {
      order("HANG", "e5rt_execution_stream_execute_sync:3");
      const report = await asked(["program.runs", "e5rt.release-early"], { timeLimitMs: 8000 });
      expect(report.probes[0]?.verdict).toBe("held");
      expect(report.probes[1]).toMatchObject({ verdict: "did not hold", ended: "time limit" });
      expect(report.probes[1]?.detail).toMatch(/no answer for 8 s/);
    },
  );

  test(
    "asks nothing further of an engine that gives garbage or refuses every program",
    { timeout: TIMEOUT_MS },
    async () => {
      order("GARBAGE", "execute:1");
      const garbage = await asked(["program.runs", "grid.vanish"]);
      expect(garbage.probes).toMatchObject([
        { id: "program.runs", verdict: "did not hold", ended: "told" },
        { id: "grid.vanish", verdict: "unknown", ended: "not tried" },
      ]);
      vi.stubEnv("ANECDOTE_DOUBLE_GARBAGE", "");
      order("FAIL", "e5rt_e5_compiler_compile");
      const refused = await asked(["program.runs"]);
      expect(refused.probes[0]).toMatchObject({ verdict: "did not hold", ended: "error" });
      expect(refused.probes[0]?.detail).toMatch(/was told to fail/);
    },
  );

  test(
    "tells which answer killed the engine's service, waits until it is back, and goes on",
    { timeout: TIMEOUT_MS },
    async () => {
      order("CRASH", "e5rt_execution_stream_execute_sync:3");
      order("SERVICE", join(folder, "service"));
      const report = await asked(["program.runs", "e5rt.release-early", "grid.vanish"]);
      expect(report.probes).toMatchObject([
        { id: "program.runs", verdict: "held" },
        { id: "e5rt.release-early", verdict: "did not hold", signal: "SIGSEGV" },
        { id: "grid.vanish", verdict: "held" },
      ]);
      expect(report.probes[1]?.detail).toMatch(
        /after it the engine's service did not answer for [\d.]+ s, and then did again/,
      );
    },
  );

  test(
    "ends in its time with what has no room named, and goes on there the next time",
    { timeout: TIMEOUT_MS },
    async () => {
      const ids = ["program.runs", "grid.vanish", "e5rt.program-cap"];
      const started = performance.now();
      // Eight seconds are expected of the last one.
      const first = await asked(ids, { totalMs: 4000 });
      expect(performance.now() - started).toBeLessThan(30_000);
      expect(first.complete).toBe(false);
      expect(first.probes.at(-1)).toMatchObject({ verdict: "unknown", ended: "not tried" });
      expect(first.probes.at(-1)?.detail).toMatch(/the time of the test is over/);
      expect(profileOf(first.library.path).state).toBe("absent");
      const second = await asked(ids);
      expect(second.complete).toBe(true);
      expect(second.probes.find(({ id }) => id === "e5rt.program-cap")?.verdict).toBe("held");
    },
  );

  test(
    "asks how weights are handed over where sources disagree",
    { timeout: TIMEOUT_MS },
    async () => {
      const ids = [
        "program.runs",
        "in-memory.no-weights",
        "in-memory.weight-files",
        "in-memory.same-text",
      ];
      const report = await asked(ids, {}, "in-memory");
      const rows = Object.fromEntries(report.probes.map((row) => [row.id, row]));
      expect(rows["in-memory.no-weights"]).toMatchObject({
        verdict: "held",
        measured: { dictionary: "runs", nil: "refused" },
      });
      // The library that stands for the engine takes several files; a source saw a Mac refuse them.
      expect(rows["in-memory.weight-files"]).toMatchObject({
        verdict: "did not hold",
        measured: { one: "runs", each: "runs" },
      });
      expect(rows["in-memory.same-text"]?.verdict).toBe("held");
    },
  );

  test(
    "keeps what is known when it is interrupted, and asks the rest the next time",
    { timeout: TIMEOUT_MS },
    async () => {
      const ids = ["program.runs", "grid.vanish", "grid.survive"];
      const stopper = new AbortController();
      const first = await asked(ids, {
        signal: stopper.signal,
        onResult: () => stopper.abort(),
      });
      expect(first).toMatchObject({ complete: false });
      expect(first.probes.map(({ id }) => id)).toEqual(["program.runs"]);
      expect(profileOf(first.library.path).state).toBe("absent");
      const kept: string[] = [];
      const second = await asked(ids, {
        onResult: ({ id }, isKept) => void (isKept && kept.push(id)),
      });
      expect(kept).toEqual(["program.runs"]);
      expect(second.probes.map(({ id }) => id)).toEqual(ids);
      expect(second.complete).toBe(true);
    },
  );

  test(
    "gives surfaces sizes of their own on a machine that takes them",
    { timeout: TIMEOUT_MS },
    async () => {
      const ids = ["program.runs", "in-memory.equal-surfaces", "in-memory.surface-minimum"];
      const strict = await asked(ids, {}, "in-memory");
      expect(strict.probes.map(({ verdict }) => verdict)).toEqual(["held", "held", "held"]);
      expect(profileOf(strict.library.path)).toMatchObject({
        profile: { drivers: { "in-memory": { equalSizes: true, minimumBytes: 49152 } } },
      });
      order("SURFACES", "any");
      const loose = await asked(ids, {}, "in-memory");
      expect(loose.probes.map(({ verdict }) => verdict)).toEqual([
        "held",
        "did not hold",
        "did not hold",
      ]);
      expect(profileOf(strict.library.path)).toMatchObject({
        profile: { drivers: { "in-memory": { equalSizes: false, minimumBytes: 64 } } },
      });
    },
  );

  test(
    "compares ops of the plans with the reference and the simulator",
    { timeout: TIMEOUT_MS },
    async () => {
      const report = await asked([], {
        level: "quick",
        groups: ["ops"],
        only: (id) => /^op\.(?:exp|matmul|split|rsqrt) /.test(id),
      });
      expect(report.ops.length).toBe(4);
      for (const { verdict, measured, id } of report.ops) {
        expect(verdict, id).toBe("held");
        expect(measured?.["equalsSimulator"], id).toBe(true);
      }
    },
  );

  test("is a command that prints a table and saves a report", { timeout: TIMEOUT_MS }, async () => {
    const file = join(folder, "report.json");
    const env = { ANECDOTE_CACHE_DIR: folder, ANECDOTE_ANE_LIBRARY: buildDouble("e5rt") };
    const run = await runCli(["doctor", "--quick", "--group", "symbols", "--report", file], env);
    expect(run.code, run.stderr).toBe(0);
    expect(run.stdout).toMatch(/of \d+ are there/);
    expect(run.stdout).toContain("this tells nothing of silicon");
    const report = reportSchema.parse(JSON.parse(readFileSync(file, "utf8")));
    expect(report.counts["did not hold"]).toBe(0);
  });
});

test(
  "a machine without an engine says what runs instead, and why there is no self-test",
  { timeout: TIMEOUT_MS },
  async () => {
    const folder = temporaryFolder();
    const env = { ANECDOTE_ANE_LIBRARY: "", ANECDOTE_CACHE_DIR: folder };
    const wrong = await runCli(["doctor", "--group", "symbol"], env);
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toMatch(/no group "symbol"\. Did you mean "symbols"/);
    const run = await runCli(["doctor", "--quick"], env);
    expect(run.stdout).toMatch(/--engine sim:m4/);
    expect(run.stdout).toMatch(/predicted for the engine of M4/);
    if (process.platform !== "darwin") {
      expect(run.code).not.toBe(0);
      expect(run.stderr).toMatch(/a Neural Engine is in Apple Silicon Macs only/);
    }
    expect(existsSync(join(folder, "machine"))).toBe(false);
  },
);
