// Peak resident memory of a training step above that of the idle engine, beside the plan's own figures.
//   node bench/memory.mjs [--preset stories15M] [--batch 4] [--context 256] [--recompute auto]
import { parseArgs } from "node:util";
import { readFileSync } from "node:fs";
import { createEngine } from "../dist/engine/create.js";
import { initialiseWeights, modelPreset, modelWeights } from "../dist/model/index.js";
import { optimize } from "../dist/passes/pipeline.js";
import { buildTrainingPlan } from "../dist/train/step-plan.js";

const { values } = parseArgs({
  options: {
    preset: { type: "string", default: "stories15M" },
    batch: { type: "string", default: "4" },
    context: { type: "string", default: "256" },
    recompute: { type: "string", default: "auto" },
    threads: { type: "string", default: "2" },
    steps: { type: "string", default: "3" },
  },
});
const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
/** The process's peak so far; reset through clear_refs where the kernel lets us. */
const peak = () =>
  Number(/VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? 0) * 1024;
const resident = () =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? 0) * 1024;

const engine = await createEngine("cpu", { threads: Number(values.threads) });
const config = modelPreset(values.preset);
const { plan, model } = buildTrainingPlan({
  config,
  batchSize: Number(values.batch),
  sequenceLength: Number(values.context),
  accumulation: false,
  optimize: (fn) => optimize(fn),
  recompute: values.recompute,
});
globalThis.gc?.();
const idle = resident();
const loaded = await engine.load(plan);
initialiseWeights(modelWeights(model), 1, (name) => loaded.view(name));
loaded.view("tokens").fill(1);
loaded.view("targets").fill(2);
loaded.view("loss_scale")[0] = 1 / (Number(values.batch) * Number(values.context));
loaded.view("gradient_scale")[0] = 1;
loaded.view("bias_correction1")[0] = 0.1;
loaded.view("bias_correction2")[0] = 0.05;
for (let step = 0; step < Number(values.steps); step++) {
  for (const section of ["forward_backward", "gradient_norm", "update"]) await loaded.run(section);
}
const measured = peak() - idle;
const memory = loaded.memory();
const planned = memory.persistentBytes + memory.transientBytes + memory.runtimeBytes;
console.log(`idle engine          ${mib(idle)}`);
console.log(`peak above idle      ${mib(measured)}`);
console.log(
  `plan                 ${mib(planned)}  (persistent ${mib(memory.persistentBytes)}, transient ${mib(memory.transientBytes)}, runtime ${mib(memory.runtimeBytes)})`,
);
console.log(`measured / plan      ${(measured / planned).toFixed(3)}`);
await loaded.close();
await engine.close();
