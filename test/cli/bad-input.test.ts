import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { fileURLToPath } from "node:url";
import { verifyCheckpoint } from "../../src/runs/checkpoint.ts";
import { runCli, temporaryFolder, tinyTask, tinyTraining } from "../helpers/cli.ts";

const BIN = fileURLToPath(new URL("../../bin/anecdote.mjs", import.meta.url));

/** Trains on a file's content; one clear error is expected. */
async function trainOn(content: string | Uint8Array, more: readonly string[] = []) {
  const folder = temporaryFolder();
  const { config } = tinyTask(folder);
  const data = join(folder, "bad.txt");
  writeFileSync(data, content);
  const run = join(folder, "run");
  return runCli([
    ...[
      "train",
      "--model-config",
      config,
      "--data",
      data,
      "--tokenizer",
      "byte",
      "--output-dir",
      run,
    ],
    ...["--max-steps", "2", "--max-seq-length", "16", ...more],
  ]);
}

function expectOneClearError(
  result: { code: number | null; stderr: string },
  message: RegExp,
): void {
  expect(result.code, result.stderr).toBe(1);
  expect(result.stderr).toMatch(message);
  expect(result.stderr.match(/error:/g)).toHaveLength(1);
  expect(result.stderr).not.toContain("This is a bug");
}

async function trainedRun(folder: string): Promise<{ run: string; args: string[] }> {
  const run = join(folder, "run");
  const args = tinyTraining(folder, run, []);
  const { code, stderr } = await runCli([...args, "--max-steps", "4"]);
  expect(code, stderr).toBe(0);
  return { run, args };
}

describe("bad input", () => {
  it("an empty file", async () =>
    expectOneClearError(await trainOn(""), /bad\.txt.*(empty|no tokens)/i));

  it("a binary file as text", async () =>
    expectOneClearError(
      await trainOn(Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0, 0, 0, 13, 0xff)),
      /bad\.txt/,
    ));

  it("a corpus shorter than the context", async () =>
    expectOneClearError(await trainOn("too short\n"), /needs \d+|too few|shorter/));

  it("a configuration of another family", async () => {
    const folder = temporaryFolder();
    const { data } = tinyTask(folder);
    const config = join(folder, "bert.json");
    writeFileSync(config, JSON.stringify({ model_type: "bert", hidden_size: 8 }));
    const result = await runCli([
      "train",
      "--model-config",
      config,
      "--data",
      data,
      "--output-dir",
      join(folder, "r"),
    ]);
    expectOneClearError(result, /"bert".*llama, gpt2, qwen3|llama, gpt2, qwen3.*"bert"/s);
  });

  it("weights cut off, lying about their size, or of another shape", async () => {
    const folder = temporaryFolder();
    const { run } = await trainedRun(folder);
    const good = join(run, "checkpoint-4");
    const bad = join(folder, "bad-model");
    mkdirSync(bad);
    for (const file of readdirSync(good)) copyFileSync(join(good, file), join(bad, file));
    const weights = readFileSync(join(good, "model.safetensors"));
    const tryModel = async () =>
      runCli(["generate", "--model", bad, "--prompt", "the", "--max-tokens", "2"]);

    writeFileSync(join(bad, "model.safetensors"), weights.subarray(0, weights.length >> 1));
    expectOneClearError(await tryModel(), /model\.safetensors/);

    const lying = Buffer.from(weights);
    lying.writeBigUInt64LE(1n << 60n, 0);
    writeFileSync(join(bad, "model.safetensors"), lying);
    expectOneClearError(await tryModel(), /model\.safetensors/);

    writeFileSync(join(bad, "model.safetensors"), weights);
    const config = JSON.parse(readFileSync(join(bad, "config.json"), "utf8")) as Record<
      string,
      unknown
    >;
    writeFileSync(join(bad, "config.json"), JSON.stringify({ ...config, n_embd: 32 }));
    expectOneClearError(await tryModel(), /shape|\[257, 16\]/);
  });

  it("a disk that fills up while a checkpoint is saved leaves the earlier one intact", async (context) => {
    const folder = temporaryFolder();
    const small = join(folder, "small");
    mkdirSync(small);
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=400k", "tmpfs", small]);
    if (mounted.status !== 0) context.skip("no small tmpfs can be mounted here");
    onTestFinished(() => void spawnSync("umount", ["-l", small]));
    const run = join(small, "run");
    const result = await runCli(
      tinyTraining(folder, run, [
        ...["--max-steps", "60", "--save-steps", "10", "--save-total-limit", "0"],
      ]),
    );
    expectOneClearError(result, /No space left|ENOSPC|disk is full/i);
    const kept = readdirSync(run).filter((name) => name.startsWith("checkpoint-"));
    expect(kept.length).toBeGreaterThan(0);
    for (const name of kept) verifyCheckpoint(join(run, name));
  });

  it("a file-size limit in the way of a checkpoint leaves the earlier one intact", async () => {
    const folder = temporaryFolder();
    const { run, args } = await trainedRun(folder);
    const command = [process.execPath, BIN, ...args, "--resume", "--max-steps", "8"]
      .map((part) => `'${part}'`)
      .join(" ");
    const result = spawnSync("bash", ["-c", `trap '' XFSZ; ulimit -f 20; exec ${command}`], {
      encoding: "utf8",
      env: { ...process.env, NO_COLOR: "1" },
    });
    expect(result.status, result.stderr).toBe(1);
    expect(result.stderr).toMatch(/EFBIG|File too large|too large/i);
    verifyCheckpoint(join(run, "checkpoint-4"));
  });

  it("a read-only mount", async (context) => {
    const folder = temporaryFolder();
    const mount = join(folder, "mount");
    mkdirSync(mount);
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", mount], {
        stdio: "ignore",
      });
    } catch {
      context.skip("nothing can be mounted here");
    }
    onTestFinished(() => void spawnSync("umount", ["-l", mount]));
    const result = await runCli(tinyTraining(folder, join(mount, "run"), ["--max-steps", "2"]));
    expectOneClearError(result, /read-only/i);
  });
});
