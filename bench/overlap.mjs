// What overlap gains: training steps on a Neural Engine whose every program takes as long as the cost model says,
// with the host's work real. The engine is the tests' double (test/doubles/e5rt.c) told to wait and not to compute,
// so numbers are zeros; time is what counts. Sequential and overlapped steps take turns in one process.
//   node bench/overlap.mjs [--layers 6 --channels 384 --batch 4 --context 256 --vocab 4096 --chip m4 --rounds 5]
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chipByName } from "../dist/chip/chips.js";
import { estimateFunction } from "../dist/chip/estimate.js";
import { createAneEngine } from "../dist/engine/ane/index.js";
import { canonicalSource, programFiles } from "../dist/engine/ane/program-text.js";
import { createCpuEngine } from "../dist/engine/cpu/index.js";
import { modelOf, parseModelConfig } from "../dist/model/index.js";
import { placePlan } from "../dist/lower/place-plan.js";
import { optimize } from "../dist/passes/pipeline.js";
import { buildTrainingPlan } from "../dist/train/step/step-plan.js";
import { randomTrainer } from "./random-trainer.mjs";
import { median } from "./median.mjs";

const { values } = parseArgs({
  options: {
    layers: { type: "string", default: "6" },
    channels: { type: "string", default: "384" },
    vocab: { type: "string", default: "4096" },
    batch: { type: "string", default: "4" },
    context: { type: "string", default: "256" },
    threads: { type: "string", default: "2" },
    rounds: { type: "string", default: "5" },
    chip: { type: "string", default: "m4" },
  },
});
const size = Object.fromEntries(
  Object.entries(values).map(([key, value]) => [key, key === "chip" ? value : Number(value)]),
);
const folder = mkdtempSync(join(tmpdir(), "anecdote-overlap-"));
const library = join(folder, "e5rt.so");
const source = fileURLToPath(new URL("../test/doubles/e5rt.c", import.meta.url));
const { status, stderr } = spawnSync(
  "cc",
  [..."-std=gnu11 -O2 -shared -fPIC -fvisibility=hidden -o".split(" "), library, source],
  { encoding: "utf8" },
);
if (status !== 0) throw new Error(`cc: ${stderr}`);
const order = createRequire(import.meta.url)("koffi")
  .load(library)
  .func("void anecdote_double_control(const char *, const char *)");

const { plan, model } = buildTrainingPlan({
  model: modelOf(
    parseModelConfig({
      model_type: "gpt2",
      n_embd: size.channels,
      n_layer: size.layers,
      n_head: size.channels / 64,
      n_positions: size.context,
      vocab_size: size.vocab,
    }),
  ),
  batchSize: size.batch,
  sequenceLength: size.context,
  accumulation: false,
  optimize: (fn) => optimize(fn),
});
const chip = chipByName(size.chip);
let predictedMs = 0;
order("arithmetic", "off");
order("watch", "off");
for (const [name, placed] of placePlan(plan, chip, "e5rt")) {
  if (placed.place !== "engine") continue;
  const fn = placed.program.function;
  const { ms } = estimateFunction(fn, chip, "e5rt");
  const { hash } = programFiles(canonicalSource(name, fn), "@model_path/weights.bin");
  order("delay", `${hash.slice(0, 16)}:${ms}`);
  for (const { program } of plan.sections.get("forward_backward") ?? [])
    if (program === name) predictedMs += ms;
}

async function prepare(sequential) {
  const host = await createCpuEngine({ threads: size.threads });
  const engine = await createAneEngine({
    library,
    chip: size.chip,
    host,
    threads: size.threads,
    cacheFolder: folder,
    sequential,
  });
  const loaded = await engine.load(plan);
  const trainer = randomTrainer(loaded, model, size, { lookahead: !sequential });
  return { engine, host, loaded, trainer, times: [] };
}

const ways = { sequential: await prepare(true), overlapped: await prepare(false) };
for (let round = -1; round < size.rounds; round++) {
  for (const way of Object.values(ways)) {
    if (round === 0) way.before = way.loaded.usage();
    const started = performance.now();
    await way.trainer.update(() => undefined);
    if (round >= 0) way.times.push(performance.now() - started);
  }
}
console.log(`predicted for the engine alone (${chip.name}): ${predictedMs.toFixed(1)} ms a step`);
for (const [name, { loaded, times, before }] of Object.entries(ways)) {
  const usage = loaded.usage();
  const part = (key) => ((usage[key] - before[key]) / size.rounds).toFixed(1);
  console.log(
    `${name}: ${median(times).toFixed(1)} ms a step (engine ${part("engineMs")}, host ${part("hostMs")}, both at once ${part("overlapMs")})`,
  );
}
const ratio = median(ways.overlapped.times) / median(ways.sequential.times);
console.log(`overlapped / sequential: ${ratio.toFixed(2)}`);
for (const { engine, host } of Object.values(ways)) {
  await engine.close();
  await host.close();
}
rmSync(folder, { recursive: true, force: true });
