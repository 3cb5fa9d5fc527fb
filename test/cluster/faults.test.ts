import { spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { readEvents } from "../../src/runs/event-log.ts";
import { checkpointProblem, listCheckpoints } from "../../src/runs/checkpoint.ts";
import { finished, startCli, temporaryFolder, tinyTraining } from "../helpers/cli.ts";
import { needsMpi, runCluster, startCluster, WITHOUT_MPI } from "../helpers/mpi.ts";

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

function start(run: string, folder: string, more: readonly string[] = []): ChildProcess {
  const child = startCluster(2, tinyTraining(folder, run, [...ENDLESS, ...more]));
  onTestFinished(() => void child.kill("SIGKILL"));
  return child;
}

const hasSaved = (run: string): boolean => listCheckpoints(run).length > 0;

function newest(run: string): string {
  const { folder } = listCheckpoints(run).at(-1) ?? {};
  if (folder === undefined) throw new Error("there is no checkpoint");
  return folder;
}

const isLinux = process.platform === "linux";
const skips = WITHOUT_MPI !== undefined || !isLinux;
const name = isLinux
  ? needsMpi("a group of processes")
  : "a group of processes (skipped: needs /proc)";

describe.skipIf(skips)(name, () => {
  it("ends within 10 s where one is killed, names it, and the last checkpoint is whole", async () => {
    const folder = temporaryFolder();
    const run = join(folder, "run");
    const child = start(run, folder);
    const end = finished(child);
    await until(() => hasSaved(run));
    const killedMs = Date.now();
    process.kill(ranksOf(run).get(1) ?? 0, "SIGKILL");
    const { code, stderr } = await end;
    expect(Date.now() - killedMs).toBeLessThan(10_000);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/process rank 1 .*exited on signal 9/);
    expect(checkpointProblem(newest(run))).toBeUndefined();
    expect(ranksOf(run).size).toBe(0);
  });

  it("tells of one that is stopped, and of its coming back; saves once where it is asked to stop", async () => {
    const folder = temporaryFolder();
    const run = join(folder, "run");
    const child = start(run, folder, ["--stall-seconds", "1"]);
    let stderr = "";
    child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    const end = finished(child);
    await until(() => hasSaved(run));
    const pid = ranksOf(run).get(1) ?? 0;
    process.kill(pid, "SIGSTOP");
    await until(() => /rank 1 on .* has said nothing for .*\(step \d+\)/.test(stderr));
    process.kill(pid, "SIGCONT");
    await until(() => /rank 1 on .* is back after/.test(stderr));
    child.kill("SIGUSR2");
    const { code } = await end;
    expect(code).toBe(130);
    const events = readEvents(join(run, "events.ndjson"));
    const { step } = listCheckpoints(run).at(-1) ?? {};
    expect(
      events.filter((event) => event.kind === "interrupted").map((event) => event.step),
    ).toEqual([step]);
    expect(checkpointProblem(newest(run))).toBeUndefined();
  });

  const canMount = isLinux && process.getuid?.() === 0;
  it.skipIf(!canMount)(
    `stops cleanly where rank 0's disk is full${canMount ? "" : " (skipped: only root makes small disks)"}`,
    async () => {
      const folder = temporaryFolder();
      const disk = join(folder, "disk");
      mkdirSync(disk);
      const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=700k", "tmpfs", disk]);
      // A container may be refused it.
      if (mounted.status !== 0) return;
      onTestFinished(() => void spawnSync("umount", ["-l", disk]));
      const run = join(disk, "run");
      const { code, stderr } = await runCluster(
        2,
        tinyTraining(folder, run, [...ENDLESS, "--save-total-limit", "0"]),
      );
      expect(code).toBe(1);
      expect(stderr).toContain("The disk is full");
      expect(stderr.match(/The disk is full/g)).toHaveLength(1);
      expect(checkpointProblem(newest(run))).toBeUndefined();
      expect(ranksOf(run).size).toBe(0);
    },
  );

  it("goes on by itself under cluster run, with the weights of a run that nobody disturbed", async () => {
    const folder = temporaryFolder();
    const args = (run: string): string[] =>
      tinyTraining(folder, run, [...ENDLESS, "--max-steps", "300", "--save-steps", "40"]);
    const [calm, killed] = [join(folder, "calm"), join(folder, "killed")];
    expect((await runCluster(2, args(calm))).code).toBe(0);
    const child = startCli(
      ["cluster", "run", "--np", "2", "--pause-seconds", "0", "--", ...args(killed)],
      {
        OMPI_ALLOW_RUN_AS_ROOT: "1",
        OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1",
        OMPI_MCA_rmaps_base_oversubscribe: "1",
      },
    );
    onTestFinished(() => void child.kill("SIGKILL"));
    const end = finished(child);
    await until(() => hasSaved(killed));
    process.kill(ranksOf(killed).get(1) ?? 0, "SIGKILL");
    const { code, stderr } = await end;
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(stderr).toMatch(/the run ended with code \d+; it goes on from step \d+/);
    const weights = (run: string): string =>
      readFileSync(join(run, "checkpoint-300", "model.safetensors")).toString("base64");
    expect(weights(killed)).toBe(weights(calm));
    expect(existsSync(join(killed, "run.lock"))).toBe(false);
  });
});
