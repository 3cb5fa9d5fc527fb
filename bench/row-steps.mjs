// A decoding step of several rows as one row program, without the host's side: time of a step by the clock (least and median
// of all) and of the processor (median), by number of rows and of threads, in turns. Weights are drawn.
// Usage: node bench/row-steps.mjs [--preset stories15M] [--rows 1,8,32] [--threads 1,2] [--positions 60] [--rounds 5] [--steps 20] [--sums separate]
import { parseArgs } from "node:util";
import { createCpuEngine } from "../dist/engine/cpu/index.js";
import { buildDecodePlan, buildWeightsPlan } from "../dist/generate/decode-plan.js";
import { initialiseWeight, modelOf } from "../dist/model/index.js";
import { presetOf } from "../dist/train/config/presets.js";
import { median } from "./median.mjs";

const { values } = parseArgs({
  options: {
    preset: { type: "string", default: "stories15M" },
    rows: { type: "string", default: "1,8,32" },
    threads: { type: "string", default: "1,2" },
    positions: { type: "string", default: "60" },
    rounds: { type: "string", default: "5" },
    steps: { type: "string", default: "20" },
    sums: { type: "string" },
  },
});
const numbers = (list) => list.split(",").map(Number);
const positions = Number(values.positions);
const bucket = 2 ** Math.ceil(Math.log2(Math.max(64, positions)));
const model = modelOf(presetOf(values.preset).model);
/** Of a row; a table that is looked up alone would count too much, and tied ones count once. */
const multiplyAdds = model.parameters.weights
  .map(({ type }) => type.shape)
  .filter((shape) => shape.length === 2)
  .reduce((sum, [rows, columns]) => sum + rows * columns, 0);

const cases = [];
for (const threads of numbers(values.threads)) {
  const engine = await createCpuEngine({ threads, ...(values.sums && { sums: values.sums }) });
  const weights = await engine.load(buildWeightsPlan(model));
  for (const weight of model.parameters.weights)
    initialiseWeight(weight, 5, weights.view(weight.name));
  for (const rows of numbers(values.rows)) {
    const plan = buildDecodePlan({ model, bucket, batchSize: rows, prefillRowCount: 32 });
    const loaded = await engine.load(plan, { share: weights });
    for (let row = 0; row < rows; row++) {
      const mask = loaded.view("cache_mask").subarray(row * bucket, (row + 1) * bucket);
      mask.fill(-1e9).fill(0, 0, positions);
    }
    const label = `${threads} thread${threads === 1 ? "" : "s"}, ${rows} row${rows === 1 ? "" : "s"}`;
    await loaded.run("decode");
    cases.push({ label, rows, run: () => loaded.run("decode"), wallMs: [], cpuMs: [] });
  }
}

for (let round = 0; round <= Number(values.rounds); round++) {
  for (const { run, wallMs, cpuMs } of cases) {
    for (let step = 0; step < Number(values.steps); step++) {
      const before = process.cpuUsage();
      const startedMs = performance.now();
      await run();
      const elapsedMs = performance.now() - startedMs;
      const { user, system } = process.cpuUsage(before);
      if (round === 0) continue;
      wallMs.push(elapsedMs);
      cpuMs.push((user + system) / 1000);
    }
  }
}
for (const { label, rows, wallMs, cpuMs } of cases) {
  const least = Math.min(...wallMs);
  const rate = (2 * rows * multiplyAdds) / least / 1e6;
  console.log(
    `${label}: least ${least.toFixed(2)} ms (${((rows * 1000) / least).toFixed(0)} tokens/s, ${rate.toFixed(0)} GFLOP/s of products), median ${median(wallMs).toFixed(2)} ms, ${median(cpuMs).toFixed(2)} ms of processor`,
  );
}
process.exit(0);
