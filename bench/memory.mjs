// Peak resident size of training steps above that of the idle engine, beside what the plan and the engine say.
//   node bench/memory.mjs [--preset stories15M --batch 4 --context 256 --threads 2 --steps 3]
import { parseArgs } from "node:util";
import { createEngine } from "../dist/engine/create.js";
import { initialiseWeights, modelOf } from "../dist/model/index.js";
import { modelPreset } from "../dist/model/presets.js";
import { buildTrainingPlan } from "../dist/train/step/step-plan.js";

const { values } = parseArgs({
  options: {
    preset: { type: "string", default: "stories15M" },
    batch: { type: "string", default: "4" },
    context: { type: "string", default: "256" },
    threads: { type: "string", default: "2" },
    steps: { type: "string", default: "3" },
  },
});
const config = modelPreset(values.preset);
const batchSize = Number(values.batch);
const sequenceLength = Number(values.context);
const engine = await createEngine("cpu", { threads: Number(values.threads) });
const idleBytes = process.memoryUsage().rss;
const { plan, model } = buildTrainingPlan({
  model: modelOf(config),
  batchSize,
  sequenceLength,
  accumulation: false,
  recompute: "auto",
});
const loaded = await engine.load(plan);
initialiseWeights(model.parameters.weights, 1, (name) => loaded.view(name));
for (const name of ["tokens", "targets"]) {
  const view = loaded.view(name);
  for (let i = 0; i < view.length; i++) view[i] = (i * 7919) % config.vocabularySize;
}
const scalars = {
  loss_scale: 1 / (batchSize * sequenceLength),
  learning_rate: 1e-4,
  weight_decay: 0.1,
  bias_correction1: 0.1,
  bias_correction2: 0.05,
  gradient_scale: 1,
};
for (const [name, value] of Object.entries(scalars)) loaded.view(name)[0] = value;
for (let step = 0; step < Number(values.steps); step++)
  for (const section of ["forward_backward", "gradient_norm", "update"]) await loaded.run(section);
const told = loaded.memory();
const bufferBytes = told.persistentBytes + told.transientBytes;
// The buffers, which `plan` prints, and what the runtime takes inside programs.
const toldBytes = bufferBytes + told.runtimeBytes;
const peakBytes = process.resourceUsage().maxRSS * 1024 - idleBytes;
console.log(
  JSON.stringify({
    preset: values.preset,
    ...told,
    buffer_bytes: bufferBytes,
    told_bytes: toldBytes,
    peak_bytes_above_idle: peakBytes,
    ratio: peakBytes / toldBytes,
  }),
);
await loaded.close();
await engine.close();
