import { spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { readEvents } from "../../src/runs/event-log.ts";
import { checkpointProblem, listCheckpoints } from "../../src/runs/checkpoint.ts";
import { finished, runCli, startCli, temporaryFolder, tinyTraining } from "../helpers/cli.ts";
import { needsMpi, runCluster, WITHOUT_MPI } from "../helpers/mpi.ts";

// Several processes a test, each of which starts a runtime of its own.
vi.setConfig({ testTimeout: 240_000 });

/** A run that goes on until it is ended. */
const ENDLESS = [
  ...["--gradient-accumulation-steps", "2", "--max-steps", "1000000", "--logging-steps", "1000"],
  ...["--eval-steps", "0", "--save-steps", "20", "--seed", "3", "--engine", "cpu"],
];

/** Process ids of the ranks that train into a folder, by rank. */
function ranksOf(run: string): ReadonlyMap<number, number> {
  const ranks = new Map<number, number>();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      const environment = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
      const rank = environment.find((line) => line.startsWith("OMPI_COMM_WORLD_RANK="));
      if (
        words.includes(run) &&
        rank !== undefined &&
        readlinkSync(`/proc/${pid}/exe`) === process.execPath
      )
        ranks.set(Number(rank.split("=")[1]), Number(pid));
    } catch {
      // It has ended meanwhile.
    }
  }
  return ranks;
}

async function until(holds: () => boolean, limitMs = 60_000): Promise<void> {
  const startedMs = Date.now();
  while (!holds()) {
    if (Date.now() - startedMs > limitMs) throw new Error("it does not come to pass");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** `cluster run` of two processes. */
function supervise(words: readonly string[]): ChildProcess {
  const child = startCli(["cluster", "run", "--np", "2", "--pause-seconds", "0", "--", ...words], {
    OMPI_ALLOW_RUN_AS_ROOT: "1",
    OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1",
    OMPI_MCA_rmaps_base_oversubscribe: "1",
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  return child;
}

/** The steps at which a run was interrupted. */
function interruptions(run: string): readonly number[] {
  return readEvents(join(run, "events.ndjson")).flatMap((event) =>
    event.kind === "interrupted" ? [event.step] : [],
  );
}

const hasSaved = (run: string): boolean => listCheckpoints(run).length > 0;

function newest(run: string): string {
  const { folder } = listCheckpoints(run).at(-1) ?? {};
  if (folder === undefined) throw new Error("there is no checkpoint");
  return folder;
}

function mountSmallDisk(at: string): number | null {
  return spawnSync("mount", ["-t", "tmpfs", "-o", "size=700k", "tmpfs", at]).status;
}

/** Why a small disk cannot be made here. */
function smallDiskProblem(): string | undefined {
  if (process.platform !== "linux" || process.getuid?.() !== 0)
    return "only root makes small disks";
  const at = mkdtempSync(join(tmpdir(), "anecdote-disk-"));
  const status = mountSmallDisk(at);
  if (status === 0) spawnSync("umount", ["-l", at]);
  rmSync(at, { recursive: true });
  return status === 0 ? undefined : "this container may not mount a small disk";
}

const isLinux = process.platform === "linux";
const skips = WITHOUT_MPI !== undefined || !isLinux;
const name = isLinux
  ? needsMpi("a group of processes")
  : "a group of processes (skipped: needs /proc)";

describe.skipIf(skips)(name, () => {
  it("ends within 10 s where one is killed, and goes on by itself; Ctrl-C saves once and ends all; its weights are at last those of a run that nobody disturbed", async () => {
    const folder = temporaryFolder();
    const run = join(folder, "run");
    const words = (name: string, steps: number): string[] =>
      tinyTraining(folder, join(folder, name), [
        ...[...ENDLESS, "--max-steps", String(steps), "--save-steps", "40"],
        ...["--lr-scheduler-type", "constant", "--warmup-steps", "0"],
        ...["--sum-order", "tree", "--save-total-limit", "0"],
      ]);
    const child = supervise(words("run", 1_000_000));
    let stderr = "";
    child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    const end = finished(child);
    await until(() => hasSaved(run));
    const before = ranksOf(run);
    const killedMs = Date.now();
    process.kill(before.get(1) ?? 0, "SIGKILL");
    await until(() => ranksOf(run).get(0) !== before.get(0));
    expect(Date.now() - killedMs).toBeLessThan(10_000);
    expect(checkpointProblem(newest(run))).toBeUndefined();
    await until(() => /the run ended with code \d+; it goes on from step \d+/.test(stderr));
    expect(stderr).toMatch(/process rank 1 .*exited on signal 9/);
    const { step: killedAt = 0 } = listCheckpoints(run).at(-1) ?? {};
    await until(() => (listCheckpoints(run).at(-1)?.step ?? 0) > killedAt);
    child.kill("SIGINT");
    expect((await end).code).toBe(130);
    expect(ranksOf(run).size).toBe(0);
    const { step: stoppedAt = 0 } = listCheckpoints(run).at(-1) ?? {};
    expect(interruptions(run)).toEqual([stoppedAt]);
    expect(checkpointProblem(newest(run))).toBeUndefined();
    expect(existsSync(join(run, "run.lock"))).toBe(false);
    // A process on its own has the same bits with this order of sums.
    expect((await runCli(words("calm", stoppedAt))).code).toBe(0);
    const weights = (name: string): string =>
      readFileSync(join(folder, name, `checkpoint-${stoppedAt}`, "model.safetensors")).toString(
        "base64",
      );
    expect(weights("run") === weights("calm")).toBe(true);
  });

  it("tells of one that is stopped, and of its coming back; saves once where it is asked to end", async () => {
    const folder = temporaryFolder();
    const run = join(folder, "run");
    const child = supervise(tinyTraining(folder, run, [...ENDLESS, "--stall-seconds", "1"]));
    let stderr = "";
    child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    const end = finished(child);
    await until(() => hasSaved(run));
    const pid = ranksOf(run).get(1) ?? 0;
    process.kill(pid, "SIGSTOP");
    await until(() => /rank 1 on .* has said nothing for .*\(step \d+\)/.test(stderr));
    process.kill(pid, "SIGCONT");
    await until(() => /rank 1 on .* is back after/.test(stderr));
    child.kill("SIGTERM");
    const { code } = await end;
    expect(code).toBe(130);
    expect(interruptions(run)).toEqual([listCheckpoints(run).at(-1)?.step]);
    expect(checkpointProblem(newest(run))).toBeUndefined();
    expect(ranksOf(run).size).toBe(0);
  });

  const withoutDisk = smallDiskProblem();
  it.skipIf(withoutDisk !== undefined)(
    `stops cleanly where rank 0's disk is full${withoutDisk === undefined ? "" : ` (skipped: ${withoutDisk})`}`,
    async () => {
      const folder = temporaryFolder();
      const disk = join(folder, "disk");
      mkdirSync(disk);
      expect(mountSmallDisk(disk)).toBe(0);
      onTestFinished(() => void spawnSync("umount", ["-l", disk]));
      const run = join(disk, "run");
      const { code, stderr } = await runCluster(
        2,
        tinyTraining(folder, run, [...ENDLESS, "--save-total-limit", "0"]),
      );
      expect(code).toBe(1);
      expect(stderr.match(/The disk is full/g)).toHaveLength(1);
      expect(checkpointProblem(newest(run))).toBeUndefined();
      expect(ranksOf(run).size).toBe(0);
    },
  );
});
