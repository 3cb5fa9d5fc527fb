import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
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

function bytes(run: string, step: number): readonly string[] {
  return ["model.safetensors", "optimizer.safetensors"].map((file) =>
    readFileSync(join(run, `checkpoint-${step}`, file)).toString("base64"),
  );
}

function wireOf(run: string, step: number): string {
  return readFileSync(join(run, `checkpoint-${step}`, "wire.safetensors")).toString("base64");
}

describe.skipIf(WITHOUT_MPI !== undefined)(needsMpi("several processes train one model"), () => {
  it("to the bit as one does on all of their batches, and a checkpoint of any goes on under any", async () => {
    const folder = temporaryFolder();
    const run = (name: string): string => join(folder, name);
    const args = (name: string, more: readonly string[] = []): string[] =>
      tinyTraining(folder, run(name), [...FOUR, "--sum-order", "tree", ...more]);
    expect((await runCli(args("one"))).code).toBe(0);
    for (const size of [2, 4]) {
      const name = `of-${size}`;
      const { code, stderr } = await runCluster(size, args(name, ["--check-steps", "2"]));
      expect({ code, stderr }).toMatchObject({ code: 0 });
      expect(numbers(run(name))).toEqual(numbers(run("one")));
      expect(bytes(run(name), 8)).toEqual(bytes(run("one"), 8));
    }
    // Half with two, the rest with four and alone.
    const half = args("half", ["--max-steps", "4", "--lr-decay-steps", "8"]);
    expect((await runCluster(2, half)).code).toBe(0);
    const whole = args("whole", ["--lr-decay-steps", "8"]);
    expect((await runCli(whole)).code).toBe(0);
    const on = args("half", ["--max-steps", "8", "--lr-decay-steps", "8", "--resume"]);
    const { code, stderr } = await runCluster(4, on);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(bytes(run("half"), 8)).toEqual(bytes(run("whole"), 8));
  });

  it("with rows of a batch apart where there are fewer micro-batches than processes", async () => {
    const folder = temporaryFolder();
    const run = (name: string): string => join(folder, name);
    const args = (name: string): string[] =>
      tinyTraining(folder, run(name), [...FOUR, "--gradient-accumulation-steps", "1"]);
    expect((await runCli(args("one"))).code).toBe(0);
    expect((await runCluster(2, args("two"))).code).toBe(0);
    const [alone, two] = [numbers(run("one")), numbers(run("two"))].map((rows) =>
      (rows as number[][]).flat(),
    );
    expect(two).toHaveLength(alone?.length ?? 0);
    two?.forEach((value, i) => {
      const wanted = alone?.[i] ?? NaN;
      expect(Math.abs(value - wanted)).toBeLessThanOrEqual(1e-5 * Math.abs(wanted));
    });
    const { code, stderr } = await runCluster(3, args("three"));
    expect(code).not.toBe(0);
    expect(stderr).toContain("1 micro-batches of 2 rows, which 3 processes cannot share evenly");
    expect(existsSync(run("three"))).toBe(false);
  });

  it("with fp16 on the wire near to fp32; what rounding lost is in checkpoints, so that a run goes on with its bits", async () => {
    const folder = temporaryFolder();
    const run = (name: string): string => join(folder, name);
    const args = (name: string, more: readonly string[]): string[] =>
      tinyTraining(folder, run(name), [...FOUR, ...more]);
    const half = ["--wire", "fp16"];
    expect((await runCluster(2, args("a", half))).code).toBe(0);
    expect((await runCluster(2, args("exact", []))).code).toBe(0);
    const [halves, exact] = ["a", "exact"].map((name) => (numbers(run(name)) as number[][]).flat());
    halves?.forEach((value, i) => {
      const wanted = exact?.[i] ?? NaN;
      expect(Math.abs(value - wanted)).toBeLessThanOrEqual(2e-3 * Math.abs(wanted));
    });
    expect(halves).not.toEqual(exact);
    // From the checkpoint in the middle, as it was, with another layout, and without those who lost something.
    const names = ["again", "sharded", "alone"];
    for (const name of names) {
      cpSync(run("a"), run(name), { recursive: true });
      rmSync(join(run(name), "checkpoint-8"), { recursive: true });
    }
    const again = await runCluster(2, args("again", [...half, "--resume"]));
    expect(again.code).toBe(0);
    expect(again.stdout + again.stderr).not.toContain("what rounding");
    expect(bytes(run("again"), 8)).toEqual(bytes(run("a"), 8));
    expect(wireOf(run("again"), 8)).toBe(wireOf(run("a"), 8));
    const sharded = await runCluster(
      2,
      args("sharded", [...half, "--resume", "--shard-optimizer"]),
    );
    expect(sharded.code).toBe(0);
    expect(sharded.stdout + sharded.stderr).toContain(
      "was kept by 2 data-parallel processes: its sum goes on with 2 data-parallel processes with sharded",
    );
    const alone = await runCli(args("alone", ["--resume"]));
    expect(alone.stdout + alone.stderr).toContain(
      "what rounding to fp16 on the wire had lost is dropped",
    );
  });

  it("with as many micro-batches each as it was measured to be fast, near to one process", async () => {
    const folder = temporaryFolder();
    const run = (name: string): string => join(folder, name);
    const args = (name: string, more: readonly string[] = []): string[] =>
      tinyTraining(folder, run(name), [...FOUR, "--gradient-accumulation-steps", "6", ...more]);
    expect((await runCli(args("one"))).code).toBe(0);
    expect((await runCluster(2, args("auto", ["--shares", "auto"]))).code).toBe(0);
    const notices = readEvents(join(run("auto"), "events.ndjson")).flatMap((event) =>
      event.kind === "notice" && event.step === 4 ? [event.message] : [],
    );
    const [, first, second] = /they take (\d), (\d) of an update/.exec(notices.join()) ?? [];
    expect(Number(first) + Number(second)).toBe(6);
    const [one, auto] = [numbers(run("one")), numbers(run("auto"))].map((rows) =>
      (rows as number[][]).flat(),
    );
    expect(auto).toHaveLength(one?.length ?? 0);
    auto?.forEach((value, i) =>
      expect(Math.abs(value / (one?.[i] ?? NaN) - 1) || 0).toBeLessThan(1e-5),
    );
    const uneven = await runCluster(2, args("uneven", ["--shares", "1,5"]));
    expect(uneven.stdout + uneven.stderr).toContain("1, 5 micro-batches of 2 rows");
    const found = (numbers(run("uneven")) as number[][]).flat();
    found.forEach((value, i) =>
      expect(Math.abs(value / (one?.[i] ?? NaN) - 1) || 0).toBeLessThan(1e-5),
    );
  });

  it("refuse at the start what differs between them, and write nothing", async () => {
    const folder = temporaryFolder();
    const run = join(folder, "run");
    const args = tinyTraining(folder, run, FOUR);
    const { code, stderr } = await finished(
      startMpi([
        ...["-np", "1", process.execPath, BIN, ...args],
        ...[":", "-np", "1", process.execPath, BIN, ...args, "--learning-rate", "0.5"],
      ]),
    );
    expect(code).not.toBe(0);
    expect(stderr).toMatch(
      /rank 1 on .* differs from rank 0 on .*: learning_rate is 0.5 there and 0.001 here/,
    );
    expect(existsSync(run)).toBe(false);
  });
});

describe.skipIf(WITHOUT_MPI !== undefined)(needsMpi("processes with data of one name"), () => {
  it("and other contents are refused; one without them takes them from rank 0", async () => {
    const folder = temporaryFolder();
    const run = join(folder, "run");
    const words = tinyTraining(folder, run, FOUR);
    const relative = words.map((word, i) => (words[i - 1] === "--data" ? "text.txt" : word));
    const places = ["first", "second", "third"].map((name) => join(folder, name));
    for (const place of places) mkdirSync(place);
    const [first = "", second = "", third = ""] = places;
    copyFileSync(join(folder, "text.txt"), join(first, "text.txt"));
    writeFileSync(join(second, "text.txt"), "something else entirely ".repeat(400));
    const inFolders = (other: string): string[] => [
      ...["-np", "1", "-wdir", first, process.execPath, BIN, ...relative],
      ...[":", "-np", "1", "-wdir", other, process.execPath, BIN, ...relative],
    ];
    const refused = await finished(startMpi(inFolders(second)));
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toMatch(/rank 1 on .* differs from rank 0 on .*: contents of --data is/);
    expect(existsSync(run)).toBe(false);
    const taken = await finished(startMpi(inFolders(third)));
    expect(taken).toMatchObject({ code: 0 });
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
