import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { chooseStreams } from "../../src/cli/report-streams.ts";
import { readEvents } from "../../src/runs/event-log.ts";
import { finished, startCli, temporaryFolder, tinyTraining } from "../helpers/cli.ts";

const BIN = fileURLToPath(new URL("../../bin/anecdote.mjs", import.meta.url));
const ENDLESS = ["--max-steps", "1000000", "--save-steps", "0", "--eval-steps", "0"];

async function until(holds: () => boolean, what: string): Promise<void> {
  for (const startedMs = Date.now(); !holds();) {
    if (Date.now() - startedMs > 60_000) throw new Error(`waited a minute for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function hasTrained(run: string): boolean {
  return readEvents(join(run, "events.ndjson")).some(({ kind }) => kind === "step");
}

/** The run was saved, says so in its log, and nobody holds it any more. */
async function expectSaved(run: string): Promise<void> {
  await until(() => !existsSync(join(run, "run.lock")), "the run's end");
  const interrupted = readEvents(join(run, "events.ndjson")).at(-1);
  expect(interrupted).toMatchObject({ kind: "interrupted" });
  expect(readdirSync(run)).toContain(`checkpoint-${interrupted?.step ?? 0}`);
}

function quoted(words: readonly string[]): string {
  return words.map((word) => `'${word.replaceAll("'", String.raw`'\''`)}'`).join(" ");
}

describe("a run whose terminal goes away", () => {
  it("saves like at Ctrl-C when it is sent SIGHUP, however often", async () => {
    const folder = temporaryFolder();
    const run = join(folder, "run");
    const child = startCli(tinyTraining(folder, run, ENDLESS));
    const end = finished(child);
    await until(() => hasTrained(run), "a step");
    child.kill("SIGHUP");
    child.kill("SIGHUP");
    const { code, stderr } = await end;
    expect(code, stderr).toBe(130);
    expect(stderr).toContain("saving after this step");
    await expectSaved(run);
  });

  it("saves when a real pseudo-terminal is closed under it", async () => {
    const folder = temporaryFolder();
    const run = join(folder, "run");
    const command = [process.execPath, BIN, ...tinyTraining(folder, run, ENDLESS)];
    // `script` gives the command a terminal of its own; without it the terminal hangs up.
    const operands =
      process.platform === "darwin"
        ? ["-q", "/dev/null", ...command]
        : ["-q", "-c", `exec ${quoted(command)}`, "/dev/null"];
    const script = spawn("script", operands, { stdio: ["pipe", "pipe", "pipe"], detached: true });
    let shown = "";
    script.stdout.on("data", (chunk: Buffer) => (shown += chunk.toString()));
    await until(() => hasTrained(run), "a step");
    script.kill("SIGKILL");
    await expectSaved(run);
    expect(shown).toContain("Ctrl-C saves and stops");
  });
});

describe("a run whose report goes through a pipe", () => {
  it("keeps its rows in the file of `| tee`, and saves at Ctrl-C though tee ends at once", async () => {
    const folder = temporaryFolder();
    const run = join(folder, "run");
    const log = join(folder, "log.txt");
    const command = [process.execPath, BIN, ...tinyTraining(folder, run, ENDLESS)];
    const shell = spawn("bash", ["-c", `${quoted(command)} 2>&1 | tee ${quoted([log])}`], {
      detached: true,
      stdio: ["ignore", "ignore", "ignore"],
    });
    const end = new Promise((resolve) => shell.on("close", resolve));
    await until(() => hasTrained(run), "a step");
    await until(() => readFileSync(log, "utf8").includes("loss"), "a row in the log");
    process.kill(-(shell.pid ?? 0), "SIGINT");
    await end;
    await expectSaved(run);
    expect(readFileSync(log, "utf8").match(/^model /gm)).toHaveLength(1);
  });

  it("writes its rows once, to standard output, where both outputs are pipes of their own", async () => {
    const folder = temporaryFolder();
    const run = join(folder, "run");
    const { code, stdout, stderr } = await finished(
      startCli(tinyTraining(folder, run, ["--max-steps", "4", "--logging-steps", "2"])),
    );
    expect(code, stderr).toBe(0);
    expect(stdout.match(/^step .* loss /gm)).toHaveLength(2);
    expect(stdout).toContain("model in ");
    expect(stderr).not.toMatch(/^(?:step|model) /m);
  });
});

describe("where rows go", () => {
  const output = (kind: "terminal" | "file" | "pipe" | "null") => ({
    isTerminal: kind === "terminal",
    stats: {
      isFile: () => kind === "file",
      isCharacterDevice: () => kind === "terminal" || kind === "null",
    },
  });
  it.each([
    ["a terminal", output("terminal"), output("terminal"), "stderr", false],
    ["`| tee`", output("pipe"), output("terminal"), "stdout", false],
    ["`> log`", output("file"), output("terminal"), "stderr", true],
    ["`> /dev/null`", output("null"), output("terminal"), "stderr", false],
    ["`2>&1 | tee`", output("pipe"), output("pipe"), "stdout", false],
    ["two pipes", output("pipe"), output("pipe"), "stdout", false],
    ["`> log 2> notes`", output("file"), output("file"), "stdout", false],
    ["`> log 2>&1`", output("file"), output("file"), "stdout", false],
    ["`2> notes`", output("terminal"), output("file"), "stderr", false],
  ] as const)("%s", (_, stdout, stderr, stream, copies) => {
    expect(chooseStreams({ stdout, stderr })).toEqual({ stream, copies });
  });
});
