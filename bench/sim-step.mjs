// Speed of whole training steps on sim:m4 in exact mode: npm run bench:sim -- [--threads N] [--steps N] [--json]
// Protocol: two presets, gradients, their norm and the update; one step to warm up, then --steps steps; medians and
// best by the clock, mean by CPU seconds. Multiply-accumulates count as the products' rows * depth * columns.
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { build, isStale } from "../scripts/build.mjs";

if (isStale()) build();
const { createSimEngine } = await import("../dist/engine/sim/index.js");
const { modelOf, withOrigin } = await import("../dist/model/index.js");
const { restoreWeights } = await import("../dist/train/run/checkpoint-contents.js");
const { presetOf } = await import("../dist/train/config/presets.js");
const { buildTrainingPlan } = await import("../dist/train/step/step-plan.js");

const { values } = parseArgs({
  options: {
    threads: { type: "string", default: String(Math.min(2, availableParallelism())) },
    steps: { type: "string", default: "21" },
    json: { type: "boolean", default: false },
  },
});
const threads = Number(values.threads);
const steps = Number(values.steps);
const LOSS_SCALE = 65536;
const SECTIONS = ["forward_backward", "gradient_norm", "update"];
const results = [];

for (const [preset, batchSize, sequenceLength] of [
  ["storyteller", 4, 208],
  ["nanogpt-char", 12, 64],
]) {
  const { model: config } = presetOf(preset);
  const model = withOrigin(modelOf(config), { kind: "drawn", seed: 1 });
  const { plan } = buildTrainingPlan({ model, batchSize, sequenceLength, accumulation: false });
  const engine = createSimEngine("m4", { threads });
  const loaded = await engine.load(plan);
  restoreWeights(model, undefined, (name) => loaded.view(name));
  for (const name of ["tokens", "targets"]) {
    const view = loaded.view(name);
    for (let i = 0; i < view.length; i++) view[i] = (i * 7919) % 61;
  }
  const settings = {
    loss_scale: LOSS_SCALE / (batchSize * sequenceLength),
    gradient_scale: 1 / LOSS_SCALE,
    learning_rate: 1e-4,
    bias_correction1: 0.1,
    bias_correction2: 0.01,
  };
  for (const [name, value] of Object.entries(settings)) loaded.view(name)[0] = value;
  const step = async () => {
    for (const section of SECTIONS) await loaded.run(section);
  };
  await step();
  const counts = engine.products();
  const before = process.cpuUsage();
  const elapsed = [];
  for (let i = 0; i < steps; i++) {
    const started = performance.now();
    await step();
    elapsed.push(performance.now() - started);
  }
  const used = process.cpuUsage(before);
  const after = engine.products();
  await engine.close();
  const macs = Object.entries(after).map(([path, count]) => [path, (count - counts[path]) / steps]);
  const total = macs.reduce((sum, [, count]) => sum + count, 0);
  const sorted = elapsed.toSorted((a, b) => a - b);
  const medianMs = sorted[Math.floor(steps / 2)];
  const cpuSeconds = (used.user + used.system) / 1e6 / steps;
  results.push({
    preset,
    batch_size: batchSize,
    sequence_length: sequenceLength,
    threads,
    gmacs_per_step: total / 1e9,
    median_ms: medianMs,
    best_ms: sorted[0],
    cpu_ms: 1e3 * cpuSeconds,
    gmacs_per_second: total / medianMs / 1e6,
    best_gmacs_per_second: total / sorted[0] / 1e6,
    gmacs_per_cpu_second: total / cpuSeconds / 1e9,
    share_by_path: Object.fromEntries(macs.map(([path, count]) => [path, count / total])),
  });
}
if (values.json) process.stdout.write(`${JSON.stringify(results)}\n`);
else {
  for (const row of results) {
    const shares = Object.entries(row.share_by_path)
      .filter(([, share]) => share > 0)
      .map(([path, share]) => `${path} ${(100 * share).toFixed(1)} %`);
    process.stdout.write(
      `${row.preset} ${row.batch_size} x ${row.sequence_length}: ${row.median_ms.toFixed(0)} ms a step (best ${row.best_ms.toFixed(0)}), ${row.gmacs_per_second.toFixed(2)} G multiply-accumulates/s on ${threads} threads (best ${row.best_gmacs_per_second.toFixed(2)}), ${row.gmacs_per_cpu_second.toFixed(2)} G a CPU second; ${shares.join(", ")}\n`,
    );
  }
}
