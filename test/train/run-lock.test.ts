import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { RunLock } from "../../src/runs/run-lock.ts";
import { finished, runCli, startCli, temporaryFolder, tinyTraining } from "../helpers/cli.ts";

const LOCK_MODULE = new URL("../../dist/util/process-lock.js", import.meta.url).href;

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 10));
}

const isTraining = (run: string): boolean =>
  existsSync(join(run, "events.ndjson")) &&
  readFileSync(join(run, "events.ndjson"), "utf8").includes('"step"');

describe("a run's folder", () => {
  it("is trained by one process; another one is told by whom, and is free after kill -9", async () => {
    const folder = temporaryFolder();
    const run = join(folder, "run");
    const first = startCli(tinyTraining(folder, run, ["--max-steps", "100000"]));
    const end = finished(first);
    await Promise.race([until(() => isTraining(run)), end]);
    const before = readFileSync(join(run, "config.yaml"), "utf8");

    for (const more of [[], ["--resume"]]) {
      const second = await runCli(tinyTraining(folder, run, ["--max-steps", "7", ...more]));
      expect(second.code).toBe(1);
      expect(second.stderr).toMatch(
        new RegExp(
          `run is being trained by process ${first.pid ?? 0} since 20\\d\\d-\\d\\d-\\d\\d \\d\\d:.*\\n.*kill ${first.pid ?? 0}.*--output-dir`,
        ),
      );
    }
    expect(readFileSync(join(run, "config.yaml"), "utf8")).toBe(before);

    first.kill("SIGKILL");
    await end;
    expect(existsSync(join(run, "run.lock"))).toBe(true);
    writeFileSync(join(run, `.config.yaml.${first.pid ?? 0}.tmp`), "half of it");
    mkdirSync(join(run, ".checkpoint-99999.tmp"), { recursive: true });
    const third = await runCli(tinyTraining(folder, run, ["--max-steps", "2", "--resume"]));
    expect(third.code, third.stderr).toBe(0);
    expect(readdirSync(run).filter((name) => /lock|tmp/.test(name))).toEqual([]);
  });

  it("is free after an error, and what was made for it is gone", async () => {
    const folder = temporaryFolder();
    const run = join(folder, "runs", "one");
    const { code, stderr } = await runCli(
      tinyTraining(folder, run, ["--data", join(folder, "none.txt")]),
    );
    expect(code, stderr).toBe(1);
    expect(existsSync(join(folder, "runs"))).toBe(false);
  });

  it("is held together with the process that goes on, and until both are gone", () => {
    const run = join(temporaryFolder(), "run");
    const lock = RunLock.take(run);
    const file = join(run, "run.lock");
    const joined = RunLock.take(run, lock.token);
    const record = JSON.parse(readFileSync(file, "utf8")) as { holders: unknown[] };
    expect(record.holders).toHaveLength(2);
    expect(() => RunLock.take(run)).toThrow(/is being trained by process/);
    lock.release();
    joined.release();
    expect(existsSync(run)).toBe(false);
  });

  it("is not taken from a process of another machine, which can be waited for alone", () => {
    const run = join(temporaryFolder(), "run");
    mkdirSync(run);
    const record = { token: "ab", since: "2026-01-02T03:04:05Z", holders: [{ pid: 1 << 30 }] };
    writeFileSync(join(run, "run.lock"), JSON.stringify({ ...record, host: "elsewhere" }));
    expect(() => RunLock.take(run)).toThrow(/on elsewhere since .*delete .*run\.lock/s);
    writeFileSync(join(run, "run.lock"), JSON.stringify({ ...record, host: hostname() }));
    RunLock.take(run).release();
    writeFileSync(join(run, "run.lock"), "cut o");
    RunLock.take(run).release();
    expect(existsSync(join(run, "run.lock"))).toBe(false);
  });

  it("goes to one of many processes that find what a killed one left", async () => {
    const folder = temporaryFolder();
    const path = join(folder, "run.lock");
    const log = join(folder, "log");
    writeFileSync(log, "");
    const stale = { token: "ab", host: hostname(), since: "", holders: [{ pid: 1 << 30 }] };
    writeFileSync(path, JSON.stringify(stale));
    const script = `
      import { ProcessLock } from ${JSON.stringify(LOCK_MODULE)};
      import { appendFileSync } from "node:fs";
      while (Date.now() < ${Date.now() + 1500});
      for (let turn = 0; turn < 40; turn++) {
        let lock;
        try { lock = ProcessLock.take(${JSON.stringify(path)}); } catch (error) {
          if (error.record === undefined) throw error;
          continue;
        }
        appendFileSync(${JSON.stringify(log)}, "(");
        appendFileSync(${JSON.stringify(log)}, ")");
        lock.release();
      }`;
    const ends = Array.from({ length: 4 }, () =>
      finished(
        spawn(process.execPath, ["--input-type=module", "-e", script], {
          stdio: ["ignore", "pipe", "pipe"],
        }),
      ),
    );
    for (const { code, stderr } of await Promise.all(ends)) expect(code, stderr).toBe(0);
    expect(readFileSync(log, "utf8")).toMatch(/^(\(\))+$/);
  });
});
