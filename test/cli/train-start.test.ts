import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import {
  finished,
  parseEvents,
  runCli,
  startCli,
  temporaryFolder,
  tinyTask,
  tinyTraining,
} from "../helpers/cli.ts";
import { run as runHere } from "./in-process.ts";

/** Every file of a folder with its bytes, the run's folder as it stands. */
function contents(folder: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => [path, readFileSync(path).toString("base64")]),
  );
}

describe("a run that is finished", () => {
  it("says so under --resume, ends with 0 and is left as it is; raised steps go on", async () => {
    const folder = temporaryFolder();
    const run = join(folder, "run");
    const train = (steps: number, ...more: readonly string[]) =>
      runHere(...tinyTraining(folder, run, ["--max-steps", String(steps), ...more]));
    expect((await train(6)).code).toBe(0);
    const before = contents(run);
    const { code, stdout, stderr } = await train(2, "--resume");
    expect(code, stderr).toBe(0);
    expect(stdout + stderr).toBe("note: finished at step 6; raise --max-steps to go on\n");
    const told = await train(6, "--resume", "--json");
    expect(parseEvents(told.stdout)).toMatchObject([{ kind: "notice", step: 6 }]);
    expect(contents(run)).toEqual(before);
    const more = await train(8, "--resume");
    expect(more.stdout + more.stderr).toMatch(/steps 6 to 8[\s\S]*model in .*checkpoint-8/);
  });
});

describe("a run that cannot begin", () => {
  it.each([
    [["--engine", "sim:m7"], 2, /no chip "m7"/],
    [["--engine", "gpuu"], 2, /no engine "gpuu"\. Did you mean "gpu"[\s\S]*sim:<chip>/],
    [["--engine", "cpu", "--ane-driver", "e5rt"], 2, /engine "cpu" has no drivers/],
    [
      ["--preset", "gpt2", "--data", "random", "--batch-size", "1000"],
      1,
      /a step needs \d+ GiB of memory, this machine has/,
    ],
    [["--max-seq-length", "4096"], 1, /longer than the model's context/],
  ])("with %j says so before anything is written", async (more, exitCode, message) => {
    const folder = temporaryFolder();
    const { code, stderr } = await runHere(
      ...["train", "--output-dir", join(folder, "runs", "one"), ...more],
    );
    expect(code).toBe(exitCode);
    expect(stderr).toMatch(message);
    expect(stderr).not.toContain("stories");
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe.skipIf(process.platform === "darwin")("a run on an engine that is not there", () => {
  it("ends with 3 and leaves nothing", async () => {
    const folder = temporaryFolder();
    const { code } = await runHere("train", "--engine", "ane", "--output-dir", join(folder, "run"));
    expect(code).toBe(3);
    expect(readdirSync(folder)).toEqual([]);
  });

  it("such as a GPU whose driver no loader finds, ends with 3, names Vulkan and leaves nothing", async () => {
    const folder = temporaryFolder();
    for (const name of ["VK_ICD_FILENAMES", "VK_DRIVER_FILES"])
      vi.stubEnv(name, join(folder, "no-driver.json"));
    try {
      const args = ["--engine", "gpu", "--output-dir", join(folder, "run")];
      const { code, stderr } = await runHere("train", ...args);
      expect(code, stderr).toBe(3);
      expect(stderr).toMatch(/no GPU[\s\S]*Vulkan[\s\S]*--engine cpu/);
      expect(readdirSync(folder)).toEqual([]);
    } finally {
      vi.unstubAllEnvs();
    }
  });
});

describe("a run that is stopped before its first step", () => {
  it.each(["SIGINT", "SIGTERM"] as const)(
    "leaves at one %s with 130, says that nothing was saved, and may begin again",
    async (signal) => {
      const folder = temporaryFolder();
      const run = join(folder, "run");
      const { data } = tinyTask(folder);
      const child = startCli([
        ...["train", "--preset", "stories15M", "--data", data, "--tokenizer", "byte"],
        ...["--output-dir", run, "--max-seq-length", "64", "--max-steps", "3"],
      ]);
      const end = finished(child);
      await new Promise<void>((resolve) => {
        child.stdout?.on("data", (chunk: Buffer) => {
          if (chunk.toString().includes("model ")) resolve();
        });
        void end.then(() => resolve());
      });
      const askedMs = Date.now();
      child.kill(signal);
      const { code, stdout, stderr } = await end;
      expect(code, stderr).toBe(130);
      expect(Date.now() - askedMs).toBeLessThan(10_000);
      expect(stdout).toContain("stopped before step 1; nothing was saved");
      expect(stdout + stderr).not.toMatch(/saving after|continue with|hangs/);
      expect(existsSync(join(run, "run.lock"))).toBe(false);
      const again = await runHere(...tinyTraining(folder, run, ["--max-steps", "1"]));
      expect(again.code, again.stderr).toBe(0);
    },
  );
});

describe("the header of a run", () => {
  it("tells what is trained, in lines of 80 columns", async () => {
    const folder = temporaryFolder();
    const run = join(folder, "run");
    const args = ["train", "--data", tinyTask(folder).data, "--max-steps", "1", "--output-dir"];
    const { stdout } = await runCli([
      ...[...args, run, "--tokenizer", "byte", "--max-seq-length", "32", "--final-samples", "0"],
    ]);
    const header = stdout.slice(0, stdout.indexOf("Ctrl-C saves"));
    const words = header.replaceAll(/\s+/g, " ");
    expect(words).toMatch(
      /^model storyteller \(the default preset\), llama, \d+ layers of \d+ channels, .* parameters, vocabulary 257, tokenizer byte, context 32 data/,
    );
    for (const line of header.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
    const log = parseEvents(readFileSync(join(run, "events.ndjson"), "utf8"));
    expect(log[0]).toMatchObject({
      ...{ kind: "start", preset: "storyteller", preset_by_default: true, family: "llama" },
      ...{ vocabulary: 257, tokenizer: "byte", context_length: 32 },
    });
  });
});
