// A training step on the CPU engine, driven over standard input: each line is a number of steps to run, the answer one
// JSON line with the milliseconds of each step. Sizes: bench/suite/shape.mjs; `--lora RANK` trains an adapter alone.
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { createEngine } from "../dist/engine/create.js";
import { adaptableModules } from "../dist/model/index.js";
import { withAdapter } from "../dist/model/adapters/with-adapter.js";
import { processorOptions } from "../dist/train/step/processor-options.js";
import { buildTrainingPlan } from "../dist/train/step/step-plan.js";
import { randomTrainer } from "./random-trainer.mjs";
import { benchModel, parseShape, SHAPE_OPTIONS } from "./suite/shape.mjs";

const { values } = parseArgs({ options: SHAPE_OPTIONS });
const size = parseShape(values);
const whole = benchModel(size);
const trained =
  size.lora === 0
    ? whole
    : withAdapter(whole, {
        ...{ method: "lora", rank: size.lora, alpha: 2 * size.lora, isRankStabilized: false },
        ...{ dropout: 0, modules: adaptableModules(whole, ["all-linear"]) },
        layers: [...whole.parameters.blocks.keys()],
      });
const engine = await createEngine("cpu", { threads: size.threads, blas: size.blas });
const { plan, model } = buildTrainingPlan({
  model: trained,
  batchSize: size.batch,
  sequenceLength: size.context,
  accumulation: false,
  recompute: size.recompute,
  ...(size.plan === "processor" && processorOptions(size.context)),
});
const loaded = await engine.load(plan);
const trainer = randomTrainer(loaded, model, size);
for (const section of ["forward_backward", "gradient_norm", "update"])
  await loaded.prepare(section);
console.log(JSON.stringify({ ready: true, ...engine.description, memory: loaded.memory() }));
for await (const line of createInterface({ input: process.stdin })) {
  const ms = [];
  let loss = Number.NaN;
  const before = process.cpuUsage();
  for (let step = 0; step < Number(line); step++) {
    const started = performance.now();
    ({ loss } = await trainer.update(() => undefined));
    ms.push(performance.now() - started);
  }
  const { user, system } = process.cpuUsage(before);
  console.log(
    JSON.stringify({
      ms,
      processor_ms: (user + system) / 1000 / ms.length,
      loss,
      peak_memory_bytes: process.resourceUsage().maxRSS * 1024,
    }),
  );
}
await loaded.close();
await engine.close();
