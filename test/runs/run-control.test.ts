import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { askRun, RunControl, runToken } from "../../src/runs/run-control.ts";
import { RunLock } from "../../src/runs/run-lock.ts";

let folder: string;
let lock: RunLock;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "anecdote-control-"));
  lock = RunLock.take(folder);
});
afterEach(() => {
  lock.release();
  rmSync(folder, { recursive: true, force: true });
});

const codeOf = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    return (error as { code?: string }).code ?? "";
  }
  return "none";
};

describe("a run that trains", () => {
  it("hears what is asked with its token, in order, once", () => {
    const control = RunControl.open(folder);
    const token = runToken(folder) ?? "";
    askRun(folder, token, "pause");
    askRun(folder, token, "save");
    askRun(folder, token, "resume");
    expect(control.take()).toEqual(["pause", "save", "resume"]);
    expect(control.take()).toEqual([]);
    control.close();
  });

  it("does not hear what comes with another token, or is no order", () => {
    const control = RunControl.open(folder);
    expect(codeOf(() => askRun(folder, "0".repeat(32), "stop"))).toBe("run.control.token");
    expect(codeOf(() => askRun(folder, "", "stop"))).toBe("run.control.token");
    writeFileSync(join(folder, "control", "1.json"), '{"token":"x","command":"stop"}');
    writeFileSync(join(folder, "control", "2.json"), "no json");
    expect(control.take()).toEqual([]);
    expect(existsSync(join(folder, "control", "1.json"))).toBe(false);
    control.close();
  });

  it("lets nobody else read its token", () => {
    RunControl.open(folder);
    expect(statSync(join(folder, "control")).mode & 0o077).toBe(0);
  });

  it("has a new token in every process, and none after it", () => {
    RunControl.open(folder);
    const first = runToken(folder);
    RunControl.open(folder);
    expect(runToken(folder)).not.toBe(first);
    lock.release();
    expect(runToken(folder)).toBeUndefined();
    expect(existsSync(join(folder, "control"))).toBe(false);
    expect(codeOf(() => askRun(folder, first ?? "", "stop"))).toBe("run.control.none");
  });
});
