// One benchmark: training steps against PyTorch and llm.c, generation against llama2.c and llama.cpp, the machine's limits
// and its load, in one run. Who takes part takes turns; medians are told, by wall and by processor time, and runs in which
// something else took the machine are marked. Whoever is missing is told of, never left out in silence.
//
//   npm run bench -- [--threads N] [--turns 6] [--steps 2] [--only WORD,WORD] [--growth] [--output FOLDER]
//                    [--llm-c DIR] [--llama2-c DIR] [--llama-cpp LLAMA_BENCH --gguf FILE] [--pytorch-capability NAME]
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { writeWholeFile } from "../dist/util/atomic-file.js";
import { xyPlot } from "../dist/util/plot/xy-plot.js";
import {
  llama2CTokens,
  llmCStep,
  machineLimits,
  ourStep,
  ourTokens,
  pytorchMissing,
  pytorchStep,
  sgemmTurns,
} from "./suite/contenders.mjs";
import { shapeArguments, stepFlops } from "./suite/shape.mjs";
import { median } from "./median.mjs";

const { values } = parseArgs({
  options: {
    threads: { type: "string", default: `${os.availableParallelism()}` },
    turns: { type: "string", default: "6" },
    steps: { type: "string", default: "2" },
    tokens: { type: "string", default: "64" },
    only: { type: "string", default: "" },
    growth: { type: "boolean", default: false },
    output: { type: "string", default: "bench-results" },
    "llm-c": { type: "string" },
    "llama2-c": { type: "string" },
    "llama-cpp": { type: "string" },
    gguf: { type: "string" },
    "pytorch-capability": { type: "string" },
  },
});
const threads = Number(values.threads);
const turns = Number(values.turns);
const steps = Number(values.steps);

const gpt2 = (layers, heads, channels, vocab, batch, context) => ({
  ...{ family: "gpt2", layers, heads, kv_heads: heads, channels, ffn: 4 * channels },
  ...{ vocab, batch, context, tied: true, lora: 0 },
});
const llama = (layers, heads, kv_heads, channels, ffn, batch, context, more = {}) => ({
  ...{ family: "llama", layers, heads, kv_heads, channels, ffn },
  ...{ vocab: 32_000, batch, context, tied: true, lora: 0, ...more },
});
const STORIES_15M = [6, 6, 6, 288, 768];
const STORIES_110M = [12, 12, 12, 768, 2048];

const TRAINING = {
  "train gpt2 6L/384/8192 B4 T256": gpt2(6, 6, 384, 8192, 4, 256),
  "train gpt2 124M B1 T256": gpt2(12, 12, 768, 50_257, 1, 256),
  "train stories15M B4 T256": llama(...STORIES_15M, 4, 256),
  "train stories110M B1 T1024": llama(...STORIES_110M, 1, 1024),
  "train LoRA on 1.1B B1 T256": llama(22, 32, 4, 2048, 5632, 1, 256, { tied: false, lora: 8 }),
};
const GENERATION = {
  "generate 260K": llama(5, 8, 4, 64, 172, 1, 512, { vocab: 512 }),
  "generate stories15M": llama(...STORIES_15M, 1, 256),
  "generate stories110M": llama(...STORIES_110M, 1, 1024),
};
const words = values.only.split(",").filter((word) => word !== "");
const isWanted = (name) => words.length === 0 || words.some((word) => name.includes(word));

const sorted = (numbers) => numbers.toSorted((a, b) => a - b);
/** The middle half of the times over their median: above a tenth something else ran. */
const spread = (numbers) => {
  const list = sorted(numbers);
  const at = (share) => list[Math.floor((list.length - 1) * share)];
  return (at(0.75) - at(0.25)) / median(list);
};
const NOISY_SPREAD = 0.1;
/** Processor time over wall time and threads: lower where others had the cores. */
const NOISY_SHARE = 0.8;

const folder = mkdtempSync(join(os.tmpdir(), "anecdote-bench-"));
const missing = [];
const rows = [];

/**
 * A row's rate beside sgemm's of the same turns, by processor time: what one measures at the start of a run says little
 * of a machine whose neighbours come and go.
 */
function rates(shape, { wallMs, processorMs, sgemm = [] }) {
  const flops = stepFlops(shape);
  const shares = sgemm.map(
    ({ gflops_a_processor_second: rate }, turn) => flops / processorMs[turn] / 1e6 / rate,
  );
  return {
    gflop: flops / 1e9,
    gflops: flops / median(wallMs) / 1e6,
    gflops_a_processor_second: flops / median(processorMs) / 1e6,
    ...(sgemm.length > 0 && {
      sgemm_gflops_a_processor_second: median(sgemm.map((one) => one.gflops_a_processor_second)),
      share_of_sgemm: median(shares),
    }),
  };
}

function told(name, contender, measured) {
  const { wallMs, processorMs, memoryBytes, shape, wanted = threads } = measured;
  const share = median(processorMs) / (median(wallMs) * wanted);
  const isNoisy = spread(wallMs) > NOISY_SPREAD || share < NOISY_SHARE;
  const row = {
    name,
    contender,
    ms: median(wallMs),
    processor_ms: median(processorMs),
    spread: spread(wallMs),
    processor_share: share,
    noisy: isNoisy,
    load: os.loadavg()[0],
    ...(memoryBytes !== undefined && { peak_memory_bytes: memoryBytes }),
    ...(shape !== undefined && rates(shape, measured)),
  };
  rows.push(row);
  console.error(
    `${name}: ${contender} ${row.ms.toFixed(1)} ms, processor ${row.processor_ms.toFixed(1)} ms${row.share_of_sgemm === undefined ? "" : `, ${(100 * row.share_of_sgemm).toFixed(0)} % of sgemm's rate`}${isNoisy ? " (noisy)" : ""}`,
  );
  return row;
}

/** Starts a contender; one that cannot is told of. */
async function started(name, start) {
  try {
    return await start();
  } catch (error) {
    missing.push(`${name}: ${error.message}`);
    console.error(missing.at(-1));
    return undefined;
  }
}

const newTimes = () => ({ wallMs: [], turnMs: [], processorMs: [], sgemm: [] });

/** Medians of the quotients of each turn, in which both met the same machine. */
function pairs(ours, its) {
  const quotients = (of) => ours[of].map((ms, turn) => ms / its[of][turn]);
  return { wall: median(quotients("turnMs")), processor: median(quotients("processorMs")) };
}

/** Turns of all contenders of a training step. */
async function train(name, shape) {
  const args = shapeArguments({ ...shape, threads });
  const capability = values["pytorch-capability"];
  const contenders = { anecdote: await started(`${name}, anecdote`, () => ourStep(args)) };
  const noPytorch = pytorchMissing();
  if (noPytorch === undefined) {
    contenders.pytorch = await started(`${name}, pytorch`, () =>
      pytorchStep(args, { capability, blasCore: limits?.blasCore }),
    );
  }
  if (values["llm-c"] !== undefined && shape.family === "gpt2") {
    const place = join(folder, name.replaceAll(/\W+/g, "-"));
    mkdirSync(place);
    const run = await started(`${name}, llm.c`, () =>
      llmCStep(values["llm-c"], place, { ...shape, threads }),
    );
    if (run !== undefined)
      contenders["llm.c"] = { run, stop: () => rmSync(place, { recursive: true }) };
  }
  const there = Object.entries(contenders).filter(([, one]) => one !== undefined);
  const times = new Map(there.map(([who]) => [who, newTimes()]));
  const products =
    limits &&
    (await started(`${name}, sgemm`, () => sgemmTurns(threads, limits.blasCore ?? undefined)));
  for (const [, one] of there) await one.run(1);
  for (let turn = 0; turn < turns; turn += 1) {
    const sgemm = await products?.run(1);
    for (const [who, one] of there) {
      const { ms, processor_ms, peak_memory_bytes } = await one.run(steps);
      const of = times.get(who);
      of.wallMs.push(...ms);
      of.turnMs.push(median(ms));
      of.processorMs.push(processor_ms);
      of.memoryBytes = peak_memory_bytes;
      if (sgemm !== undefined) of.sgemm.push(sgemm);
    }
  }
  await products?.stop();
  for (const [who, one] of there) {
    const row = told(name, who, { ...times.get(who), shape });
    if (who !== "anecdote" && times.has("anecdote"))
      row.ours_over_its = pairs(times.get("anecdote"), times.get(who));
    await one.stop();
  }
}

/** Turns of all contenders of greedy decoding, one sequence. */
async function generate(name, shape) {
  const args = shapeArguments({ ...shape, threads });
  const tokens = Number(values.tokens);
  const ours = await started(`${name}, anecdote`, () => ourTokens(args));
  let theirs;
  if (values["llama2-c"] !== undefined) {
    const place = join(folder, name.replaceAll(/\W+/g, "-"));
    mkdirSync(place);
    theirs = await started(`${name}, llama2.c`, () =>
      llama2CTokens(values["llama2-c"], place, { ...shape, threads }),
    );
  }
  const times = { anecdote: newTimes(), "llama2.c": newTimes() };
  await ours?.run(tokens);
  for (let turn = 0; turn < turns; turn += 1) {
    const mine = await ours?.run(tokens);
    if (mine !== undefined) {
      times.anecdote.wallMs.push(1000 / mine.tokens_per_second);
      times.anecdote.turnMs.push(1000 / mine.tokens_per_second);
      times.anecdote.processorMs.push(mine.processor_ms);
      times.anecdote.memoryBytes = mine.peak_memory_bytes;
    }
    const other = theirs?.(tokens);
    if (other !== undefined) {
      times["llama2.c"].wallMs.push(1000 / other.tokensPerSecond);
      times["llama2.c"].turnMs.push(1000 / other.tokensPerSecond);
      times["llama2.c"].processorMs.push(other.processorMs);
    }
  }
  await ours?.stop();
  for (const [who, of] of Object.entries(times)) {
    if (of.wallMs.length === 0) continue;
    const row = told(name, who, of);
    if (who !== "anecdote" && times.anecdote.wallMs.length === of.wallMs.length)
      row.ours_over_its = pairs(times.anecdote, of);
  }
}

/** llama.cpp's own benchmark of a file that the user names. */
function llamaCpp() {
  if (values["llama-cpp"] === undefined || values.gguf === undefined) return;
  const args = [
    "-m",
    values.gguf,
    "-p",
    "0",
    "-n",
    values.tokens,
    "-t",
    values.threads,
    "-o",
    "json",
  ];
  const { status, stdout, stderr } = spawnSync(values["llama-cpp"], args, { encoding: "utf8" });
  if (status !== 0) {
    missing.push(`llama.cpp ended with ${status}: ${stderr.slice(-200)}`);
    return;
  }
  const [result] = JSON.parse(stdout);
  rows.push({
    name: `generate ${values.gguf}`,
    contender: "llama.cpp",
    ms: 1000 / result.avg_ts,
    load: os.loadavg()[0],
  });
}

/** How a step of ours grows with each size alone; a picture. */
async function growth() {
  const base = gpt2(4, 4, 256, 4096, 2, 128);
  const lines = {
    depth: [2, 4, 8].map((layers) => ({ times: layers / 4, shape: { ...base, layers } })),
    width: [1, 2, 4].map((times) => ({
      times: times / 2,
      shape: { ...base, channels: 128 * times, ffn: 512 * times },
    })),
    context: [64, 128, 256, 512].map((context) => ({
      times: context / 128,
      shape: { ...base, context },
    })),
    batch: [1, 2, 4, 8].map((batch) => ({ times: batch / 2, shape: { ...base, batch } })),
  };
  const series = [];
  for (const [index, [name, points]] of Object.entries(lines).entries()) {
    const found = [];
    for (const { times, shape } of points) {
      const one = await ourStep(shapeArguments({ ...shape, threads }));
      await one.run(2);
      const { ms, processor_ms } = await one.run(4 * steps);
      await one.stop();
      const row = told(`growth ${name} x${times}`, "anecdote", {
        ...{ wallMs: ms, processorMs: [processor_ms], shape },
      });
      found.push({
        x: times,
        y: row.processor_ms,
        title: `${name} x${times}: ${row.processor_ms.toFixed(1)} ms`,
      });
    }
    series.push({ name, style: "measured", hue: index, points: found });
  }
  return xyPlot({
    title: "A training step as each size grows",
    description: `Processor time of a step; gpt2 4 layers of 256, batch 2 x 128, and one size of it changed, ${threads} threads`,
    x: { label: "times the size", kind: "log" },
    y: { label: "processor ms a step", kind: "log" },
    series,
  });
}

const startLoad = os.loadavg()[0];
const limits = machineLimits(threads);
if (limits === undefined)
  missing.push("the machine's limits: numpy is missing (Debian: python3-numpy)");
let picture;
try {
  const noPytorch = pytorchMissing();
  if (noPytorch !== undefined) missing.push(`PyTorch: ${noPytorch}`);
  for (const option of ["llm-c", "llama2-c", "llama-cpp"]) {
    if (values[option] === undefined) missing.push(`${option}: no --${option} PATH was given`);
  }
  for (const [name, shape] of Object.entries(TRAINING))
    if (isWanted(name)) await train(name, shape);
  for (const [name, shape] of Object.entries(GENERATION))
    if (isWanted(name)) await generate(name, shape);
  llamaCpp();
  if (values.growth) picture = await growth();
} finally {
  rmSync(folder, { recursive: true, force: true });
}

const report = {
  date: new Date().toISOString().slice(0, 10),
  machine: { model: os.cpus()[0]?.model, cores: os.cpus().length, memory_bytes: os.totalmem() },
  node: process.version,
  threads,
  load: { before: startLoad, after: os.loadavg()[0] },
  limits: limits ?? null,
  missing,
  rows,
};
mkdirSync(values.output, { recursive: true });
writeWholeFile(join(values.output, "bench.json"), `${JSON.stringify(report, null, 2)}\n`);
if (picture !== undefined) writeFileSync(join(values.output, "growth.svg"), picture);

const cell = (value, digits, width) =>
  (value === undefined ? "-" : value.toFixed(digits)).padStart(width);
console.log(
  `${report.machine.model}, ${report.machine.cores} cores, ${threads} threads; load ${startLoad.toFixed(1)} before, ${report.load.after.toFixed(1)} after`,
);
if (limits !== undefined) {
  const products = Object.entries(limits.sgemm).map(
    ([size, rate]) =>
      `${size}: ${rate.gflops.toFixed(0)} (${rate.gflops_a_processor_second.toFixed(0)} a processor second)`,
  );
  const kernels = limits.blasCore === undefined ? "" : `, OPENBLAS_CORETYPE=${limits.blasCore}`;
  console.log(
    `sgemm GFLOP/s${kernels} ${products.join(", ")}; memory read ${limits.memory_read_gb_s.toFixed(1)} GB/s`,
  );
}
console.log(
  `${"what".padEnd(34)}${"who".padEnd(10)}${"ms".padStart(9)}${"proc. ms".padStart(10)}${"ours/its".padStart(10)}${"by proc.".padStart(10)}${"GFLOP/s".padStart(9)}${"of sgemm".padStart(9)}${"MB".padStart(8)}`,
);
for (const row of rows) {
  const { wall, processor } = row.ours_over_its ?? {};
  const memory = row.peak_memory_bytes === undefined ? undefined : row.peak_memory_bytes / 1e6;
  console.log(
    `${row.name.padEnd(34)}${row.contender.padEnd(10)}${cell(row.ms, 2, 9)}${cell(row.processor_ms, 2, 10)}${cell(wall, 3, 10)}${cell(processor, 3, 10)}${cell(row.gflops, 1, 9)}${cell(row.share_of_sgemm, 2, 9)}${cell(memory, 0, 8)}${row.noisy ? "  noisy" : ""}`,
  );
}
for (const line of missing) console.log(`not measured: ${line}`);
console.log(
  `written: ${join(values.output, "bench.json")}${picture === undefined ? "" : " and growth.svg"}`,
);
