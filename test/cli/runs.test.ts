import { cpSync, existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { RunLock } from "../../src/runs/run-lock.ts";
import { readRun } from "../../src/runs/run-summary.ts";
import { runCli, temporaryFolder } from "../helpers/cli.ts";

const FIXTURES = fileURLToPath(new URL("../fixtures/first-round", import.meta.url));

/** A folder of runs that version 0.1.0 wrote. */
function runsFolder(): string {
  const root = join(temporaryFolder(), "runs");
  for (const name of ["gpt2-cpu", "llama-reference", "llama-sim-m4"])
    cpSync(join(FIXTURES, name), join(root, name), { recursive: true });
  return root;
}

async function runs(root: string, ...args: string[]) {
  const [command = "", ...rest] = args;
  return runCli(["runs", command, ...rest, "--runs-dir", root]);
}

describe("anecdote runs", () => {
  it("lists runs with state, losses and a curve, in 80 columns", async () => {
    const root = runsFolder();
    const { code, stdout, stderr } = await runs(root, "list");
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/^ {2}run +state +step +loss +eval +tok\/s +size/);
    expect(stdout.match(/finished +12\/12 +\d\.\d{4}/g)).toHaveLength(3);
    expect(stdout).toMatch(/[▁▂▃▄▅▆▇█]{2}/);
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
    const empty = await runs(join(root, "none"), "list");
    expect(empty).toMatchObject({ code: 0, stdout: expect.stringContaining("no runs in") });
  });

  it("shows a run whole, and as JSON what it shows", async () => {
    const root = runsFolder();
    const { stdout } = await runs(root, "show", "gpt2-cpu");
    expect(stdout).toMatch(/^run +.*gpt2-cpu: finished, step 12\/12/);
    expect(stdout).toMatch(/^train +[▁▂▃▄▅▆▇█]+ \d\.\d{4} to \d\.\d{4}, least \d\.\d{4}$/m);
    expect(stdout).toMatch(/checkpoint-8 +8 +[\d.]+ KiB/);
    expect(stdout).toContain("  max_steps: 12\n");
    const json = await runs(root, "show", join(root, "gpt2-cpu"), "--json");
    expect(JSON.parse(json.stdout)).toEqual(
      JSON.parse(JSON.stringify(readRun(join(root, "gpt2-cpu")))),
    );
  });

  it("compares settings and losses at the last step that all have", async () => {
    const { stdout } = await runs(runsFolder(), "compare", "llama-reference", "llama-sim-m4");
    expect(stdout).toMatch(/^ {2}engine +reference +sim:m4$/m);
    expect(stdout).not.toMatch(/^ {2}max_steps/m);
    expect(stdout).toMatch(/^ {2}loss at step 12 +\d\.\d{4} +\d\.\d{4}$/m);
  });

  it("exports to csv once, and to TensorBoard's files", async () => {
    const root = runsFolder();
    const first = await runs(root, "export", "gpt2-cpu", "--format", "csv");
    expect(first.code, first.stderr).toBe(0);
    const csv = readFileSync(join(root, "gpt2-cpu", "metrics.csv"), "utf8");
    expect(csv.trimEnd().split("\n").length).toBe(
      1 +
        readRun(join(root, "gpt2-cpu")).trainLosses.length +
        readRun(join(root, "gpt2-cpu")).evalLosses.length,
    );
    const again = await runs(root, "export", "gpt2-cpu", "--format", "csv");
    expect(again).toMatchObject({ code: 2, stderr: expect.stringContaining("--overwrite") });
    const board = await runs(root, "export", "gpt2-cpu", "--format", "tensorboard");
    expect(board.code, board.stderr).toBe(0);
    const files = (): readonly string[] => readdirSync(join(root, "gpt2-cpu", "tensorboard"));
    const [made] = files();
    const twice = await runs(root, "export", "gpt2-cpu", "--format", "tensorboard");
    expect(twice).toMatchObject({ code: 2, stderr: expect.stringContaining("--overwrite") });
    await runs(root, "export", "gpt2-cpu", "--format", "tensorboard", "--overwrite");
    expect(files()).toHaveLength(1);
    expect(files()).not.toContain(made);
    const wrong = await runs(root, "export", "gpt2-cpu", "--format", "wandb");
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining("csv, tensorboard") });
  });

  it("removes only runs, never one that is trained, and not without a yes", async () => {
    const root = runsFolder();
    const folder = join(root, "gpt2-cpu");
    expect((await runs(root, "rm", "gpt2-cpu")).stderr).toContain("Add --yes");
    const lock = RunLock.take(folder);
    const busy = await runs(root, "rm", "gpt2-cpu", "--yes");
    expect(busy).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("is being trained now"),
    });
    expect(readRun(folder).state).toBe("running");
    lock.release();
    expect((await runs(root, "rm", root, "--yes")).stderr).toContain("is no run");
    const unknown = await runs(root, "rm", "gpt2-cpi", "--yes");
    expect(unknown.stderr).toContain('Did you mean "gpt2-cpu"?');
    const removed = await runs(root, "rm", "gpt2-cpu", "llama-reference", "--yes");
    expect(removed.code, removed.stderr).toBe(0);
    expect(existsSync(folder)).toBe(false);
    expect(readdirSync(root)).toEqual(["llama-sim-m4"]);
  });
});
