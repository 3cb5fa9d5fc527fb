// A gpt2-family training step on the CPU engine, driven over standard input by bench/against-pytorch.mjs:
// each line is a number of steps to run, the answer one JSON line with the milliseconds of each step.
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { createEngine } from "../dist/engine/create.js";
import { modelOf, parseModelConfig } from "../dist/model/index.js";
import { optimize } from "../dist/passes/pipeline.js";
import { buildTrainingPlan } from "../dist/train/step/step-plan.js";
import { randomTrainer } from "./random-trainer.mjs";

const { values } = parseArgs({
  options: {
    layers: { type: "string", default: "6" },
    heads: { type: "string", default: "6" },
    channels: { type: "string", default: "384" },
    vocab: { type: "string", default: "8192" },
    batch: { type: "string", default: "4" },
    context: { type: "string", default: "256" },
    threads: { type: "string", default: "2" },
    recompute: { type: "string", default: "auto" },
  },
});
const size = Object.fromEntries(
  Object.entries(values).map(([key, value]) => [key, key === "recompute" ? value : Number(value)]),
);
const config = parseModelConfig({
  model_type: "gpt2",
  n_embd: size.channels,
  n_layer: size.layers,
  n_head: size.heads,
  n_positions: size.context,
  vocab_size: size.vocab,
  activation_function: "gelu_new",
});
const engine = await createEngine("cpu", { threads: size.threads });
const { plan, model } = buildTrainingPlan({
  model: modelOf(config),
  batchSize: size.batch,
  sequenceLength: size.context,
  accumulation: false,
  optimize: (fn) => optimize(fn),
  recompute: size.recompute,
});
const loaded = await engine.load(plan);
const trainer = randomTrainer(loaded, model, size);
for (const section of ["forward_backward", "gradient_norm", "update"])
  await loaded.prepare(section);
console.log(JSON.stringify({ ready: true, ...engine.description, memory: loaded.memory() }));
for await (const line of createInterface({ input: process.stdin })) {
  const ms = [];
  let loss = Number.NaN;
  for (let step = 0; step < Number(line); step++) {
    const started = performance.now();
    ({ loss } = await trainer.update(() => undefined));
    ms.push(performance.now() - started);
  }
  console.log(
    JSON.stringify({ ms, loss, peak_memory_bytes: process.resourceUsage().maxRSS * 1024 }),
  );
}
await loaded.close();
await engine.close();
