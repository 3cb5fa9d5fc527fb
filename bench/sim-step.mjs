// Speed of whole training steps on sim:m4 in exact mode: npm run bench:sim -- [--threads N] [--steps N] [--json]
// Protocol: two presets, gradients, their norm and the update; one step to warm up, then --steps steps; medians and
// best by the clock, mean by CPU seconds; today's arithmetic and that of August 2026 in turn. Multiply-accumulates count as the products' rows * depth * columns.
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { build, isStale } from "../scripts/build.mjs";
import { median } from "./median.mjs";

if (isStale()) await build();
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
  const contenders = [];
  for (const arithmetic of ["2026-11", "2026-08"]) {
    const engine = createSimEngine("m4", { threads, arithmetic });
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
    contenders.push({
      arithmetic,
      engine,
      step,
      counts: engine.products(),
      elapsed: [],
      cpuMs: [],
    });
  }
  for (let i = 0; i < steps; i++) {
    for (const { step, elapsed, cpuMs } of contenders) {
      const before = process.cpuUsage();
      const started = performance.now();
      await step();
      elapsed.push(performance.now() - started);
      const { user, system } = process.cpuUsage(before);
      cpuMs.push((user + system) / 1e3);
    }
  }
  const base = median(contenders.find(({ arithmetic }) => arithmetic === "2026-08").cpuMs);
  for (const { arithmetic, engine, counts, elapsed, cpuMs } of contenders) {
    const after = engine.products();
    await engine.close();
    const macs = Object.entries(after).map(([path, count]) => [
      path,
      (count - counts[path]) / steps,
    ]);
    const total = macs.reduce((sum, [, count]) => sum + count, 0);
    const medianMs = median(elapsed);
    const best = Math.min(...elapsed);
    results.push({
      preset,
      arithmetic,
      batch_size: batchSize,
      sequence_length: sequenceLength,
      threads,
      gmacs_per_step: total / 1e9,
      median_ms: medianMs,
      best_ms: best,
      cpu_ms: median(cpuMs),
      speed_against_2026_08: base / median(cpuMs),
      gmacs_per_second: total / medianMs / 1e6,
      best_gmacs_per_second: total / best / 1e6,
      gmacs_per_cpu_second: total / median(cpuMs) / 1e6,
      share_by_path: Object.fromEntries(macs.map(([path, count]) => [path, count / total])),
    });
  }
}
if (values.json) process.stdout.write(`${JSON.stringify(results)}\n`);
else {
  for (const row of results) {
    const shares = Object.entries(row.share_by_path)
      .filter(([, share]) => share > 0)
      .map(([path, share]) => `${path} ${(100 * share).toFixed(1)} %`);
    process.stdout.write(
      `${row.preset} ${row.arithmetic} ${row.batch_size} x ${row.sequence_length}: ${row.median_ms.toFixed(0)} ms a step (best ${row.best_ms.toFixed(0)}), ${row.gmacs_per_second.toFixed(2)} G multiply-accumulates/s on ${threads} threads (best ${row.best_gmacs_per_second.toFixed(2)}), ${row.gmacs_per_cpu_second.toFixed(2)} G a CPU second, ${row.speed_against_2026_08.toFixed(2)} of 2026-08's speed; ${shares.join(", ")}\n`,
    );
  }
}
