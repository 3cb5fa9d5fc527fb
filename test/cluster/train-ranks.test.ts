import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { readEvents } from "../../src/runs/event-log.ts";
import { finished, runCli, temporaryFolder, tinyTraining } from "../helpers/cli.ts";
import { BIN, needsMpi, runCluster, startMpi, WITHOUT_MPI } from "../helpers/mpi.ts";

// Several processes a test, each of which starts a runtime of its own.
vi.setConfig({ testTimeout: 240_000 });

/** Settings of an update of four micro-batches, whoever computes them. */
const FOUR = [
  ...["--gradient-accumulation-steps", "4", "--max-steps", "8", "--logging-steps", "1"],
  ...["--eval-steps", "4", "--eval-batches", "2", "--save-steps", "4", "--seed", "3"],
  ...["--save-total-limit", "0", "--engine", "cpu"],
];

function numbers(run: string): unknown[] {
  return readEvents(join(run, "events.ndjson")).flatMap((event): unknown[] => {
    if (event.kind === "step") return [[event.step, event.train_loss, event.gradient_norm]];
    return event.kind === "eval" ? [[event.step, event.eval_loss]] : [];
  });
}

/** Of each step its number, loss and norm. */
function steps(run: string): readonly (readonly number[])[] {
  return readEvents(join(run, "events.ndjson")).flatMap((event) =>
    event.kind === "step" ? [[event.step, event.train_loss, event.gradient_norm]] : [],
  );
}

function bytes(run: string, step: number): readonly string[] {
  return ["model.safetensors", "optimizer.safetensors"].map((file) =>
    readFileSync(join(run, `checkpoint-${step}`, file)).toString("base64"),
  );
}

function wireOf(run: string, step: number): string {
  return readFileSync(join(run, `checkpoint-${step}`, "wire.safetensors")).toString("base64");
}

/** A copy of a run as it was in the middle. */
function half(run: string, copy: string): void {
  cpSync(run, copy, { recursive: true });
  rmSync(join(copy, "checkpoint-8"), { recursive: true });
}

/** The package as another version, which runs as it stands. */
function otherVersion(folder: string): string {
  const copy = join(folder, "other");
  const root = join(BIN, "..", "..");
  for (const part of ["bin", "dist/bundle"])
    cpSync(join(root, part), join(copy, part), { recursive: true });
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as object;
  writeFileSync(join(copy, "package.json"), JSON.stringify({ ...manifest, version: "9.9.9" }));
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
  return join(copy, "bin", "anecdote.mjs");
}

describe.skipIf(WITHOUT_MPI !== undefined)(needsMpi("several processes train one model"), () => {
  it("to the bit as one does on all of their batches, and a checkpoint of any goes on under any", async () => {
    const folder = temporaryFolder();
    const run = (name: string): string => join(folder, name);
    const args = (name: string, more: readonly string[] = []): string[] =>
      tinyTraining(folder, run(name), [...FOUR, "--sum-order", "tree", ...more]);
    expect((await runCli(args("one"))).code).toBe(0);
    const two = await runCluster(2, args("two", ["--check-steps", "2"]));
    expect(two).toMatchObject({ code: 0 });
    expect(numbers(run("two"))).toEqual(numbers(run("one")));
    expect(bytes(run("two"), 8)).toEqual(bytes(run("one"), 8));
    // Half of it with two, the rest with four.
    half(run("two"), run("four"));
    const four = await runCluster(4, args("four", ["--resume", "--check-steps", "2"]));
    expect(four).toMatchObject({ code: 0 });
    expect(numbers(run("four")).slice(-6)).toEqual(numbers(run("one")).slice(-6));
    expect(bytes(run("four"), 8)).toEqual(bytes(run("one"), 8));
  });

  it("near to one where rows of a batch are apart, where each has as many micro-batches as it was measured to be fast, and with fp16 on the wire", async () => {
    const folder = temporaryFolder();
    const run = (name: string): string => join(folder, name);
    const args = (name: string, more: readonly string[]): string[] =>
      tinyTraining(folder, run(name), [...FOUR, ...more]);
    const near = (name: string, limit: number): void => {
      const [found, wanted] = [name, "one"].map((one) => steps(run(one)).flat());
      expect(found).toHaveLength(wanted?.length ?? 0);
      found?.forEach((value, i) => {
        const exact = wanted?.[i] ?? NaN;
        expect(Math.abs(value - exact)).toBeLessThanOrEqual(limit * Math.abs(exact));
      });
      expect(found).not.toEqual(wanted);
    };
    expect((await runCli(args("one", []))).code).toBe(0);
    // The same rows as one batch, half of it each.
    const rows = ["--gradient-accumulation-steps", "1", "--batch-size", "8"];
    expect((await runCluster(2, args("rows", rows))).code).toBe(0);
    near("rows", 1e-5);
    expect((await runCluster(2, args("auto", ["--shares", "auto"]))).code).toBe(0);
    near("auto", 1e-5);
    const notices = readEvents(join(run("auto"), "events.ndjson")).flatMap((event) =>
      event.kind === "notice" && event.step === 4 ? [event.message] : [],
    );
    const [, first, second] = /they take (\d), (\d) of an update/.exec(notices.join()) ?? [];
    expect(Number(first) + Number(second)).toBe(4);
    const wire = ["--wire", "fp16"];
    expect((await runCluster(2, args("fp16", wire))).code).toBe(0);
    near("fp16", 2e-3);
    // What rounding lost is in checkpoints: from the one in the middle as it was, and with another layout.
    for (const name of ["again", "sharded"]) half(run("fp16"), run(name));
    const again = await runCluster(2, args("again", [...wire, "--resume"]));
    expect(again.code).toBe(0);
    expect(again.stdout + again.stderr).not.toContain("what rounding");
    expect(bytes(run("again"), 8)).toEqual(bytes(run("fp16"), 8));
    expect(wireOf(run("again"), 8)).toBe(wireOf(run("fp16"), 8));
    const sharded = await runCluster(
      2,
      args("sharded", [...wire, "--resume", "--shard-optimizer"]),
    );
    expect(sharded.code).toBe(0);
    expect(sharded.stdout + sharded.stderr).toContain(
      "was kept by 2 data-parallel processes: its sum goes on with 2 data-parallel processes with sharded",
    );
  });

  it("refuse at the start what differs between them, and write nothing; one without data takes them from rank 0", async () => {
    const folder = temporaryFolder();
    const run = join(folder, "run");
    const words = tinyTraining(folder, run, FOUR);
    const relative = words.map((word, i) => (words[i - 1] === "--data" ? "text.txt" : word));
    const [first = "", second = "", third = ""] = ["first", "second", "third"].map((name) => {
      mkdirSync(join(folder, name));
      return join(folder, name);
    });
    copyFileSync(join(folder, "text.txt"), join(first, "text.txt"));
    writeFileSync(join(second, "text.txt"), "something else entirely ".repeat(400));
    const both = async (at: string, bin: string, more: readonly string[] = []) =>
      await finished(
        startMpi([
          ...["-np", "1", "-wdir", first, process.execPath, BIN, ...relative],
          ...[":", "-np", "1", "-wdir", at, process.execPath, bin, ...relative, ...more],
        ]),
      );
    const refused = await both(second, otherVersion(folder), ["--learning-rate", "0.5"]);
    expect(refused.code).not.toBe(0);
    for (const difference of [
      'version is "9.9.9" there and',
      "learning_rate is 0.5 there and 0.001 here",
      "contents of --data is",
    ])
      expect(refused.stderr).toMatch(
        new RegExp(`rank 1 on .* differs from rank 0 on .*${difference}`),
      );
    const swapped = await finished(
      startMpi([
        ...["-np", "1", process.execPath, BIN, ...words],
        ...[":", "-np", "1", "-x", "ANECDOTE_TEST_BYTE_ORDER=other"],
        ...[process.execPath, BIN, ...words],
      ]),
    );
    expect(swapped.code).not.toBe(0);
    expect(swapped.stderr).toContain(
      "rank 1 has another byte order: 0x01020304 arrives as 0x04030201",
    );
    expect(existsSync(run)).toBe(false);
    expect(await both(third, BIN)).toMatchObject({ code: 0 });
    expect(numbers(run)).not.toEqual([]);
  });
});

describe("settings of several processes", () => {
  it("are refused by name in a process on its own, where they would do nothing", async () => {
    const folder = temporaryFolder();
    const args = tinyTraining(folder, join(folder, "run"), ["--pipeline-stages", "2"]);
    const { code, stderr } = await runCli(args);
    expect(code).not.toBe(0);
    expect(stderr).toContain(
      "--pipeline-stages 2 would do nothing: this process trains on its own",
    );
  });
});
