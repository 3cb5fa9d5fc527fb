// Several processes on this machine: what exchanges take and how much of it stands beside the backward pass, the ratio
// of 2 and 4 processes to 1 at an equal global batch, and training steps and transfers between network namespaces whose
// links are limited, against what the planner predicts. The processes share this machine's cores: only ratios and shares count, no speed-up.
//
//   node bench/cluster.mjs [--quick] [--no-steps] [--no-namespaces] [--no-drift] [--no-ratios]
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { exchangeMs, linkNamed, simulateStep } from "../dist/cluster/index.js";
import { Namespaces, run, withoutNamespaces } from "./cluster-namespaces.mjs";
import { HOST_NS_PER_NUMBER } from "../dist/train/costs/cluster-plan.js";
import { stageOperations } from "../dist/train/costs/stage-costs.js";
import { plannedModel, priceMachines, resolveRun, trainedModel } from "../dist/train/index.js";
import { median } from "./median.mjs";

const BIN = fileURLToPath(new URL("../bin/anecdote.mjs", import.meta.url));
const EXCHANGE = fileURLToPath(new URL("cluster-exchange.mjs", import.meta.url));
const isQuick = process.argv.includes("--quick");
const folder = mkdtempSync(join(tmpdir(), "anecdote-bench-cluster-"));

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

async function namespaceRuns() {
  const without = withoutNamespaces();
  if (without !== undefined) return without;
  const rows = [];
  for (const { count, megabits } of [
    { count: 2, megabits: 200 },
    { count: 4, megabits: 200 },
    { count: 2, megabits: 800 },
  ]) {
    let spaces;
    try {
      spaces = new Namespaces(count, megabits, folder);
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

/** Sizes of the step that is trained between namespaces. */
const STEP_SIZES = {
  ...{ layers: 4, hidden_size: 256, heads: 4, max_seq_length: 128, batch_size: 2 },
  data: "random",
};
const STEP_BATCHES = 4;

const stepFlags = (output, batches) => [
  ...[BIN, "train", "--data", "random", "--layers", "4"],
  ...["--hidden-size", "256", "--heads", "4", "--max-seq-length", "128", "--batch-size", "2"],
  ...["--gradient-accumulation-steps", String(batches), "--max-steps", isQuick ? "5" : "9"],
  ...["--logging-steps", "1", "--eval-steps", "0", "--save-steps", "0", "--final-samples", "0"],
  ...["--sample-steps", "0", "--threads", "1", "--engine", "cpu", "--json"],
  ...["--output-dir", join(folder, output)],
];

/** Median milliseconds of a step, without the first two. */
function stepMsOf(stdout) {
  const times = stdout
    .split("\n")
    .filter((line) => line.includes('"kind":"step"'))
    .map((line) => JSON.parse(line).t * 1000);
  return median(times.slice(3).map((t, i) => t - times[i + 2]));
}

/** What a step's parts take here: of whole steps with one and with three micro-batches, divided by operations. */
async function measuredParts(number) {
  const alone = async (batches) =>
    stepMsOf(
      await run(process.execPath, [
        ...stepFlags(`alone-${number}-${batches}`, batches),
        // Dispatches run apart, as they do in a group.
        ...["--sum-order", "tree"],
      ]),
    );
  const [one, three] = [await alone(1), await alone(3)];
  const batchMs = Math.max(1, (three - one) / 2);
  const updateMs = Math.max(0, one - batchMs);
  const { config } = resolveRun([{ origin: "bench", values: STEP_SIZES }]);
  const model = trainedModel(config, plannedModel(config));
  const { blocks, head } = stageOperations(model, { batchSize: 2, sequenceLength: 128 });
  const unit = batchMs / (3 * (blocks.reduce((sum, flops) => sum + flops, 0) + head));
  const block = (blocks[0] ?? 0) * unit;
  return {
    ...{ batchMs, updateMs, parts: priceMachines(config, [{ chip: "m4", count: 1 }]).parts },
    times: {
      ...{ embedForward: 0, embedBackward: 0, head: 3 * head * unit },
      ...{ blockForward: block, blockBackward: 2 * block },
      ...{ blockUpdate: updateMs / blocks.length, embedUpdate: 0, headUpdate: 0 },
    },
  };
}

/** Steps of a training between hosts of their own, against what the plan's simulation says of them. */
async function steps() {
  const without = withoutNamespaces();
  if (without !== undefined) return without;
  const rows = [];
  for (const { name, count, megabits, stages = 1, more = [], wire = "fp32" } of [
    { name: "data", count: 2, megabits: 100 },
    { name: "data, fp16", count: 2, megabits: 100, wire: "fp16", more: ["--wire", "fp16"] },
    { name: "sharded", count: 2, megabits: 100, more: ["--shard-optimizer"] },
    { name: "data", count: 4, megabits: 100 },
    { name: "pipeline", count: 2, megabits: 100, stages: 2, more: ["--pipeline-stages", "2"] },
    { name: "data", count: 2, megabits: 800 },
  ]) {
    const { parts, times, batchMs, updateMs } = await measuredParts(rows.length);
    let spaces;
    try {
      spaces = new Namespaces(count, megabits, folder);
      const stdout = await run("mpirun", [
        ...[...spaces.mpirunWords(), "-np", String(count), process.execPath],
        ...[...stepFlags(`step-${rows.length}`, STEP_BATCHES), "--check-steps", "0", ...more],
      ]);
      const measuredMs = stepMsOf(stdout);
      const { stepMs, linkMs, computeMs } = simulateStep({
        ...{ blockCount: parts.blockCount, times, bytes: parts.bytes, wire },
        ...{ stageCount: stages, replicaCount: count / stages },
        isSharded: more.includes("--shard-optimizer"),
        batchCount: STEP_BATCHES,
        link: linkNamed(`${(megabits * 1448) / 1538}mbit:0.1ms`),
        hostNsPerNumber: HOST_NS_PER_NUMBER,
      });
      rows.push({
        ...{ name, count, megabits, batchMs, updateMs },
        ...{ measuredMs, predictedMs: stepMs, ratio: measuredMs / stepMs },
        linkShare: linkMs / stepMs,
        computeShare: computeMs / stepMs,
      });
    } finally {
      spaces?.remove();
    }
  }
  return rows;
}

try {
  const step = process.argv.includes("--no-steps") ? "not asked for" : await steps();
  const namespaces = process.argv.includes("--no-namespaces")
    ? "not asked for"
    : await namespaceRuns();
  const local = await run("mpirun", ["-np", "2", process.execPath, EXCHANGE, "4000000", "5"]);
  const exchange = JSON.parse(local.split("\n").find((line) => line.startsWith("{")));
  const rows = process.argv.includes("--no-ratios") ? "not asked for" : await ratios();
  const drift = process.argv.includes("--no-drift") ? "not asked for" : await drifts();
  process.stdout.write(
    `${JSON.stringify({ step, namespaces, drift, nsPerNumberOverSharedMemory: (exchange.ms * 1e6) / 4e6, ratios: rows }, null, 2)}\n`,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
