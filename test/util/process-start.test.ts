import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { processStart } from "../../src/util/process-start.ts";

describe("when a process began", () => {
  it("is the same whenever one asks, and another for another process", () => {
    const own = processStart(process.pid);
    expect(own.kind).toBe("runs");
    expect(own).toEqual(processStart(process.pid));
    expect(own.kind === "runs" && own.mark).toBeTruthy();
    expect(processStart(process.ppid)).not.toEqual(own);
  });

  it("a process that has ended is gone", async () => {
    const child = spawn(process.execPath, ["-e", "setInterval(() => undefined, 1000)"]);
    await once(child, "spawn");
    const pid = child.pid ?? 0;
    expect(processStart(pid).kind).toBe("runs");
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(processStart(pid)).toEqual({ kind: "gone" });
  });
});
