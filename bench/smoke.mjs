// A small benchmark of under a minute for every change: a step of a small model, its first token and sixteen more, weights
// that are drawn, and a start, each in processor time over that of a fixed loop on the same machine, beside the ratios of
// bench/data/smoke.json. Information, never a failure: shared machines are noisy. `--update` writes the file anew.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { drawNormals } from "../dist/model/draw-weights.js";
import { Random } from "../dist/util/random.js";
import { ourStep, ourTokens } from "./suite/contenders.mjs";
import { shapeArguments } from "./suite/shape.mjs";
import { median } from "./median.mjs";

const { values } = parseArgs({ options: { update: { type: "boolean", default: false } } });
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const BASELINE = here("data/smoke.json");
const SMALL = {
  ...{ family: "llama", layers: 4, heads: 4, kv_heads: 4, channels: 128, ffn: 384, vocab: 2048 },
  ...{ batch: 4, context: 64, tied: true, lora: 0, threads: 1 },
};
const processorMs = (before) => {
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
};

/** What the others are measured by: the same double-precision sums everywhere. */
function fixedLoop() {
  const before = process.cpuUsage();
  let sum = 0;
  for (let i = 1; i < 40_000_000; i += 1) sum += 1 / (i * i);
  if (!(sum > 1.6)) throw new Error("the loop was left out");
  return processorMs(before);
}

const step = await ourStep(shapeArguments(SMALL));
const tokens = await ourTokens(shapeArguments(SMALL));
const target = new Float32Array(2_000_000);
const found = {
  "training step": [],
  "token of 16": [],
  "2 M weights drawn": [],
  "anecdote --help": [],
};
const loops = [];
await step.run(3);
await tokens.run(16);
for (let turn = 0; turn < 5; turn += 1) {
  loops.push(fixedLoop());
  found["training step"].push((await step.run(5)).processor_ms);
  found["token of 16"].push((await tokens.run(16)).processor_ms);
  const before = process.cpuUsage();
  drawNormals([{ state: new Random(1).state, standardDeviation: 1, target }], 1);
  found["2 M weights drawn"].push(processorMs(before));
  const help = ["--require", here("processor-time.cjs"), here("../bin/anecdote.mjs"), "--help"];
  const { output } = spawnSync(process.execPath, help, {
    stdio: ["ignore", "ignore", "ignore", "pipe"],
  });
  found["anecdote --help"].push(Number(output[3]));
}
await step.stop();
await tokens.stop();

const loop = median(loops);
const ratios = Object.fromEntries(
  Object.entries(found).map(([name, list]) => [name, median(list) / loop]),
);
if (values.update) writeFileSync(BASELINE, `${JSON.stringify(ratios, null, 2)}\n`);
const baseline = JSON.parse(readFileSync(BASELINE, "utf8"));
console.log(
  `processor time over that of a fixed loop (${loop.toFixed(0)} ms); information, not a limit`,
);
for (const [name, ratio] of Object.entries(ratios)) {
  const change = ratio / baseline[name];
  const note = change > 1.25 ? "  slower than the baseline" : change < 0.8 ? "  faster" : "";
  console.log(
    `${name.padEnd(20)} ${ratio.toFixed(4)}  x${change.toFixed(2)} of the baseline${note}`,
  );
}
