// Several processes on this machine: what exchanges take and how much of it stands beside the backward pass, the ratio
// of 2 and 4 processes to 1 at an equal global batch, and transfers between network namespaces whose links are limited,
// against what the planner predicts. The processes share this machine's cores: only ratios and shares count, no speed-up.
//
//   node bench/cluster.mjs [--quick] [--no-namespaces] [--no-drift] [--no-ratios]
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { exchangeMs, linkNamed } from "../dist/cluster/index.js";
import { HOST_NS_PER_NUMBER } from "../dist/train/costs/cluster-plan.js";

const BIN = fileURLToPath(new URL("../bin/anecdote.mjs", import.meta.url));
const EXCHANGE = fileURLToPath(new URL("cluster-exchange.mjs", import.meta.url));
const isQuick = process.argv.includes("--quick");
const folder = mkdtempSync(join(tmpdir(), "anecdote-bench-cluster-"));
const environment = {
  ...process.env,
  OMPI_ALLOW_RUN_AS_ROOT: "1",
  OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1",
  OMPI_MCA_rmaps_base_oversubscribe: "1",
};

function run(command, words, env = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, words, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...environment, ...env },
    });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => (stdout += chunk));
    child.stderr.on("data", (chunk) => (stderr += chunk));
    child.on("close", (code) => {
      if (code === 0) resolve(stdout);
      else reject(new Error(`${command} ${words.join(" ")} ended with ${code}: ${stderr}`));
    });
  });
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/** Ratios of several processes to one, at one global batch. */
async function ratios() {
  const steps = isQuick ? 6 : 20;
  const flags = (output) => [
    ...[BIN, "train", "--data", "random", "--layers", "6", "--hidden-size", "256", "--heads", "4"],
    ...["--max-seq-length", "128", "--batch-size", "2"],
    ...["--gradient-accumulation-steps", "4", "--max-steps", String(steps), "--logging-steps", "1"],
    ...["--eval-steps", "0", "--save-steps", "0", "--final-samples", "0", "--sample-steps", "0"],
    ...["--threads", "1", "--engine", "cpu", "--json", "--output-dir", output],
  ];
  const rows = [];
  const variants = [
    { name: "1 process", size: 1, more: [] },
    { name: "2, data", size: 2, more: ["--check-steps", "0"] },
    { name: "2, sharded", size: 2, more: ["--check-steps", "0", "--shard-optimizer"] },
    { name: "2, fp16 wire", size: 2, more: ["--check-steps", "0", "--wire", "fp16"] },
    { name: "2, pipeline", size: 2, more: ["--check-steps", "0", "--pipeline-stages", "2"] },
    { name: "4, data", size: 4, more: ["--check-steps", "0"] },
    { name: "4, pipeline 2 x 2", size: 4, more: ["--check-steps", "0", "--pipeline-stages", "2"] },
  ];
  for (const { name, size, more } of variants) {
    const output = join(folder, name.replaceAll(/\W+/g, "-"));
    const words = [...flags(output), ...more];
    const stdout =
      size === 1
        ? await run(process.execPath, words)
        : await run("mpirun", ["-np", String(size), process.execPath, ...words]);
    const events = stdout
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line));
    const times = events.filter(({ kind }) => kind === "step").map(({ t }) => t);
    const stepSeconds = median(times.slice(2).map((t, i) => t - times[i + 1]));
    const told = events.find(({ kind }) => kind === "end");
    const elapsed = told.elapsed_seconds;
    rows.push({
      ...{ name, size, stepSeconds, ratio: stepSeconds / (rows[0]?.stepSeconds ?? stepSeconds) },
      ...(size > 1 && {
        exchangeShare: told.exchange_seconds / elapsed,
        waitedShare: told.waited_seconds / elapsed,
        besideCompute: 1 - told.waited_seconds / told.exchange_seconds,
        megabytesAStep: told.sent_bytes / steps / 1e6,
      }),
      loss: events.findLast(({ kind }) => kind === "step").train_loss,
    });
  }
  return rows;
}

/** The largest relative difference of losses from those of one process, over 10 and over 50 steps. */
async function drifts() {
  const config = join(folder, "untied.json");
  writeFileSync(
    config,
    JSON.stringify({
      ...{ model_type: "llama", vocab_size: 257, hidden_size: 32, intermediate_size: 64 },
      ...{ num_hidden_layers: 4, num_attention_heads: 4, num_key_value_heads: 2 },
      ...{ max_position_embeddings: 32, tie_word_embeddings: false },
    }),
  );
  const losses = async (name, size, more) => {
    const words = [
      ...[BIN, "train", "--data", "stories", "--story-count", "200", "--tokenizer", "byte"],
      ...["--model-config", config, "--max-seq-length", "32", "--batch-size", "2"],
      ...["--gradient-accumulation-steps", "4", "--max-steps", "50", "--logging-steps", "1"],
      ...["--learning-rate", "3e-3", "--eval-steps", "0", "--save-steps", "0", "--threads", "1"],
      ...["--engine", "cpu", "--json", "--output-dir", join(folder, `drift-${name}`), ...more],
    ];
    const stdout =
      size === 1
        ? await run(process.execPath, words)
        : await run("mpirun", ["-np", String(size), process.execPath, ...words]);
    return stdout
      .split("\n")
      .filter((line) => line.includes('"kind":"step"'))
      .map((line) => JSON.parse(line).train_loss);
  };
  const one = await losses("one", 1, []);
  const tree = await losses("tree", 1, ["--sum-order", "tree"]);
  const largest = (found, wanted, count) =>
    Math.max(...found.slice(0, count).map((loss, i) => Math.abs(loss - wanted[i]) / wanted[i]));
  const rows = [
    {
      name: "1, the other order of sums",
      ten: largest(tree, one, 10),
      fifty: largest(tree, one, 50),
    },
  ];
  for (const { name, size, more, wanted = one } of [
    { name: "2, data", size: 2, more: [] },
    { name: "4, data", size: 4, more: [] },
    { name: "2, data, tree", size: 2, more: ["--sum-order", "tree"], wanted: tree },
    { name: "4, data, tree", size: 4, more: ["--sum-order", "tree"], wanted: tree },
    { name: "2, sharded", size: 2, more: ["--shard-optimizer"] },
    { name: "4, sharded", size: 4, more: ["--shard-optimizer"] },
    { name: "2, pipeline", size: 2, more: ["--pipeline-stages", "2"] },
    { name: "4, pipeline", size: 4, more: ["--pipeline-stages", "4"] },
    { name: "4, pipeline 2 x 2", size: 4, more: ["--pipeline-stages", "2"] },
  ]) {
    const found = await losses(name.replaceAll(/\W+/g, "-"), size, more);
    rows.push({ name, ten: largest(found, wanted, 10), fifty: largest(found, wanted, 50) });
  }
  return rows;
}

/** Namespaces joined by a bridge, each with an address of its own and a link limited by a token bucket. */
class Namespaces {
  constructor(count, megabits) {
    this.names = Array.from({ length: count }, (_, index) => `anecdote-${process.pid}-${index}`);
    this.bridge = `ab${process.pid % 100000}`;
    const ip = (...words) => this.must("ip", words);
    ip("link", "add", this.bridge, "type", "bridge");
    ip("addr", "add", "10.213.7.254/24", "dev", this.bridge);
    ip("link", "set", this.bridge, "up");
    this.names.forEach((name, index) => {
      const [outer, inner] = [
        `ao${process.pid % 10000}${index}`,
        `ai${process.pid % 10000}${index}`,
      ];
      ip("netns", "add", name);
      ip("link", "add", outer, "type", "veth", "peer", "name", inner);
      ip("link", "set", inner, "netns", name);
      ip("link", "set", outer, "master", this.bridge);
      ip("link", "set", outer, "up");
      ip("-n", name, "addr", "add", `10.213.7.${index + 1}/24`, "dev", inner);
      ip("-n", name, "link", "set", inner, "up");
      ip("-n", name, "link", "set", "lo", "up");
      const limit = [
        "root",
        "tbf",
        "rate",
        `${megabits}mbit`,
        "burst",
        "256kb",
        "latency",
        "200ms",
      ];
      this.must("tc", ["-n", name, "qdisc", "add", "dev", inner, ...limit]);
      this.must("tc", ["qdisc", "add", "dev", outer, ...limit]);
    });
  }

  must(command, words) {
    const { status, stderr, error } = spawnSync(command, words, { encoding: "utf8" });
    if (status !== 0) throw new Error(`${command} ${words.join(" ")}: ${error?.message ?? stderr}`);
  }

  /** Host file, and the agent by which mpirun's daemon is started inside a namespace. */
  mpirunWords() {
    const hosts = join(folder, "hosts");
    writeFileSync(hosts, this.names.map((_, index) => `10.213.7.${index + 1} slots=1\n`).join(""));
    const agent = join(folder, "agent.sh");
    writeFileSync(
      agent,
      `#!/bin/sh\n# Called as ssh is: options, a host, a command.\nwhile [ "\${1#-}" != "$1" ]; do shift; done\nhost=$1; shift\nindex=$((\${host##*.} - 1))\nexec ip netns exec anecdote-${process.pid}-$index sh -c "$*"\n`,
    );
    chmodSync(agent, 0o755);
    return [
      ...[
        "--hostfile",
        hosts,
        "--mca",
        "plm_rsh_agent",
        agent,
        "--mca",
        "plm_rsh_no_tree_spawn",
        "1",
      ],
      ...["--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", "10.213.7.0/24"],
      ...["--mca", "oob_tcp_if_include", "10.213.7.0/24"],
    ];
  }

  remove() {
    for (const name of this.names) spawnSync("ip", ["netns", "del", name]);
    spawnSync("ip", ["link", "del", this.bridge]);
  }
}

async function namespaceRuns() {
  if (process.getuid?.() !== 0) return "skipped: only root makes network namespaces";
  if (spawnSync("tc", ["-V"]).error !== undefined) return "skipped: there is no tc";
  const rows = [];
  for (const { count, megabits } of [
    { count: 2, megabits: 200 },
    { count: 4, megabits: 200 },
    { count: 2, megabits: 800 },
  ]) {
    let spaces;
    try {
      spaces = new Namespaces(count, megabits);
      const elements = Math.round((megabits * 1e6 * 2.5) / 8 / 4 / ((2 * (count - 1)) / count));
      const stdout = await run("mpirun", [
        ...[...spaces.mpirunWords(), "-np", String(count)],
        ...[process.execPath, EXCHANGE, String(elements), isQuick ? "1" : "3"],
      ]);
      const told = JSON.parse(stdout.split("\n").find((line) => line.startsWith("{")));
      const link = linkNamed(`${(megabits * 1448) / 1538}mbit:0.1ms`);
      const predictedMs =
        2 * exchangeMs(4 * elements, count, link).ms + elements * HOST_NS_PER_NUMBER * 1e-6;
      rows.push({
        ...{ count, megabits, megabytes: (4 * elements) / 1e6 },
        ...{ measuredMs: told.ms, predictedMs, ratio: told.ms / predictedMs },
      });
    } finally {
      spaces?.remove();
    }
  }
  return rows;
}

try {
  const namespaces = process.argv.includes("--no-namespaces")
    ? "not asked for"
    : await namespaceRuns();
  const local = await run("mpirun", ["-np", "2", process.execPath, EXCHANGE, "4000000", "5"]);
  const exchange = JSON.parse(local.split("\n").find((line) => line.startsWith("{")));
  const rows = process.argv.includes("--no-ratios") ? "not asked for" : await ratios();
  const drift = process.argv.includes("--no-drift") ? "not asked for" : await drifts();
  process.stdout.write(
    `${JSON.stringify({ namespaces, drift, nsPerNumberOverSharedMemory: (exchange.ms * 1e6) / 4e6, ratios: rows }, null, 2)}\n`,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
