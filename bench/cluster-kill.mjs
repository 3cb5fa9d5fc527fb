// A run of 200 steps whose processes are killed at three random steps and that `cluster run` brings to its end, held
// against the same run left alone: the final weights must be equal to the byte. Prints what happened as one JSON object.
//
//   node bench/cluster-kill.mjs [--seed 7]
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as delay } from "node:timers/promises";

const BIN = fileURLToPath(new URL("../bin/anecdote.mjs", import.meta.url));
const STEPS = 200;
const KILLS = 3;
const seed = Number(process.argv[process.argv.indexOf("--seed") + 1] || 7) || 7;
const folder = mkdtempSync(join(tmpdir(), "anecdote-cluster-kill-"));
const environment = {
  ...process.env,
  OMPI_ALLOW_RUN_AS_ROOT: "1",
  OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1",
  OMPI_MCA_rmaps_base_oversubscribe: "1",
};

let state = seed >>> 0;
/** 0 to below 1, the same for a seed (mulberry32). */
function random() {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = state;
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}

const flags = (run) => [
  ...["train", "--data", "stories", "--story-count", "500", "--tokenizer", "byte"],
  ...["--layers", "4", "--hidden-size", "96", "--heads", "4", "--max-seq-length", "64"],
  ...["--batch-size", "4", "--gradient-accumulation-steps", "4", "--max-steps", String(STEPS)],
  ...["--save-steps", "10", "--eval-steps", "0", "--logging-steps", "1", "--final-samples", "0"],
  ...[
    "--sample-steps",
    "0",
    "--threads",
    "1",
    "--engine",
    "cpu",
    "--seed",
    "5",
    "--output-dir",
    run,
  ],
];

function start(run) {
  return spawn(
    process.execPath,
    [BIN, "cluster", "run", "--np", "2", "--pause-seconds", "0", "--", ...flags(run)],
    { stdio: ["ignore", "ignore", "pipe"], env: environment },
  );
}

function finished(child) {
  let stderr = "";
  child.stderr.on("data", (chunk) => (stderr += chunk));
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, stderr })));
}

/** The last step that the run's log tells of. */
function stepOf(run) {
  const path = join(run, "events.ndjson");
  if (!existsSync(path)) return 0;
  const lines = readFileSync(path, "utf8").trimEnd().split("\n");
  for (const line of lines.reverse()) {
    const [, step] = /"kind":"(?:step|progress)","step":(\d+)/.exec(line) ?? [];
    if (step !== undefined) return Number(step);
  }
  return 0;
}

/** The process of a rank that trains into a folder. */
function rankProcess(run, rank) {
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      if (!words.includes(run) || !words[0]?.endsWith("node")) continue;
      const environ = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
      if (environ.includes(`OMPI_COMM_WORLD_RANK=${rank}`)) return Number(pid);
    } catch {
      // It has ended meanwhile.
    }
  }
  return undefined;
}

function digest(run, file) {
  const path = join(run, `checkpoint-${STEPS}`, file);
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}

try {
  const calm = join(folder, "calm");
  const undisturbed = await finished(start(calm));
  if (undisturbed.code !== 0) throw new Error(undisturbed.stderr);
  const killed = join(folder, "killed");
  const at = Array.from({ length: KILLS }, () => 15 + Math.floor(random() * (STEPS - 30))).sort(
    (a, b) => a - b,
  );
  const child = start(killed);
  const end = finished(child);
  const kills = [];
  for (const step of at) {
    while (stepOf(killed) < step && child.exitCode === null) await delay(5);
    const rank = Math.floor(random() * 2);
    const pid = rankProcess(killed, rank);
    if (pid === undefined) continue;
    const startedMs = performance.now();
    const reached = stepOf(killed);
    process.kill(pid, "SIGKILL");
    while (rankProcess(killed, 1 - rank) !== undefined && performance.now() - startedMs < 30_000)
      await delay(10);
    kills.push({ rank, step: reached, endedAfterSeconds: (performance.now() - startedMs) / 1000 });
    // The next start has come as far as its first step before the next kill is considered.
    while (rankProcess(killed, 0) === undefined && child.exitCode === null) await delay(20);
  }
  const { code, stderr } = await end;
  const files = ["model.safetensors", "optimizer.safetensors"];
  const equal = code === 0 && files.every((file) => digest(calm, file) === digest(killed, file));
  process.stdout.write(
    `${JSON.stringify({
      ...{ seed, steps: STEPS, code, kills, equal },
      restarts: stderr.match(/it goes on from/g)?.length ?? 0,
      sha256: code === 0 ? digest(killed, files[0]) : undefined,
    })}\n`,
  );
  if (!equal) process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
