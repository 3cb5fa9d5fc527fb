import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { cleanLine, commandEnvironment, hasCommand, runCommand } from "../../src/util/command.ts";

/** Node itself as a command of the system. */
const node = (script: string, options = {}) =>
  runCommand(process.execPath, ["-e", script], { timeoutMs: 20_000, ...options });

describe("commands of the system", () => {
  it("give what they print, in English", async () => {
    expect(await node("process.stdout.write(process.env.LC_ALL)")).toEqual({
      ok: true,
      stdout: "C",
    });
    expect(commandEnvironment()["PATH"]).toMatch(/:\/bin$/);
  });

  it("that fail keep what they printed before, and say why in one line", async () => {
    const failed = await node(
      "process.stdout.write('half'); console.error('no \\u001b[31mluck\\nmore'); process.exitCode = 3",
    );
    expect(failed).toMatchObject({ ok: false, stdout: "half" });
    expect(failed.ok || failed.reason).toMatch(/ended with code 3: no  \[31mluck$/);
  });

  it("that are not there, hang or print too much are told as such", async () => {
    expect(await runCommand("no-such-command-here", [])).toMatchObject({
      ok: false,
      reason: "there is no no-such-command-here on this machine",
    });
    const hung = await node("setInterval(() => undefined, 1000)", { timeoutMs: 300 });
    expect(hung.ok || hung.reason).toContain("did not end within 0.3 s");
    const loud = await node("process.stdout.write('x'.repeat(10_000))", { maximumBytes: 100 });
    expect(loud.ok || loud.reason).toContain("printed too much");
  });

  it("are known to be there without being run, on the path or by a path of their own", () => {
    const found = spawnSync("/bin/sh", ["-c", "command -v node"], { encoding: "utf8" });
    expect(hasCommand("node")).toBe(found.status === 0);
    expect(hasCommand(process.execPath)).toBe(true);
    expect(hasCommand("anecdote-has-no-such-command")).toBe(false);
    // A file that cannot be run.
    expect(hasCommand(fileURLToPath(import.meta.url))).toBe(false);
  });

  it("lines of others are cut and cleaned", () => {
    expect(cleanLine("  first\nsecond")).toBe("first");
    expect(cleanLine("a\u0007b\u202ec")).toBe("a b c");
    expect(cleanLine("x".repeat(300), 10)).toBe(`${"x".repeat(10)} …`);
    expect(cleanLine("")).toBe("");
  });
});
