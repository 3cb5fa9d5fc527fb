import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";

const BIN = fileURLToPath(new URL("../../bin/anecdote.mjs", import.meta.url));

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The command line as a real process; `detached` makes a process group of it, as a terminal does. */
export function startCli(
  args: readonly string[],
  env: Record<string, string> = {},
  {
    detached = false,
    cwd,
    input = "ignore",
  }: {
    readonly detached?: boolean;
    readonly cwd?: string;
    /** "pipe": the test writes to its standard input. */
    readonly input?: "ignore" | "pipe";
  } = {},
): ChildProcess {
  return spawn(process.execPath, [BIN, ...args], {
    detached,
    ...(cwd !== undefined && { cwd }),
    stdio: [input, "pipe", "pipe"],
    env: { ...process.env, NO_COLOR: "1", ...env },
  });
}

export async function runCli(
  args: readonly string[],
  env: Record<string, string> = {},
  options: { readonly cwd?: string } = {},
): Promise<CliResult> {
  return finished(startCli(args, env, options));
}

/** Waits for a process's end and gives what it printed. */
export async function finished(child: ChildProcess): Promise<CliResult> {
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  return { code, stdout, stderr };
}

/** A folder that lives as long as the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "anecdote-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Events of a run with `--json`. */
export function parseEvents(stdout: string): readonly Record<string, unknown>[] {
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** A gpt2 of some thousand parameters and a text to train it on: a step takes milliseconds. */
export function tinyTask(folder: string): { readonly config: string; readonly data: string } {
  const config = join(folder, "tiny.json");
  writeFileSync(
    config,
    JSON.stringify({
      model_type: "gpt2",
      vocab_size: 257,
      n_embd: 16,
      n_layer: 2,
      n_head: 2,
      n_positions: 16,
      activation_function: "gelu_new",
    }),
  );
  const data = join(folder, "text.txt");
  const words = ["the", "small", "cat", "sat", "by", "a", "warm", "old", "stove", "and", "slept"];
  let text = "";
  for (let index = 0; index < 3000; index++)
    text += `${words[(index * index + 3 * index) % words.length] ?? ""} `;
  writeFileSync(data, text);
  return { config, data };
}

/** `train` on the tiny task, by bytes, on one thread; further flags follow. */
export function tinyTraining(folder: string, run: string, more: readonly string[]): string[] {
  const { config, data } = tinyTask(folder);
  return lastOnes([
    ...["train", "--model-config", config, "--data", data, "--tokenizer", "byte"],
    ...["--output-dir", run, "--batch-size", "2", "--max-seq-length", "16"],
    // The reference engine has one thread and takes no number of them.
    ...(more.includes("reference") ? [] : ["--threads", "1"]),
    ...more,
  ]);
}

/** A command line in which each option is given once: where it is repeated, as the last one says. */
export function lastOnes(words: readonly string[]): string[] {
  const groups: (readonly string[])[] = [];
  for (const word of words) {
    const last = groups.at(-1);
    if (word.startsWith("--") || last === undefined) groups.push([word]);
    else groups[groups.length - 1] = [...last, word];
  }
  return groups
    .filter(([flag], index) => !groups.slice(index + 1).some(([later]) => later === flag))
    .flat();
}
