// Tokens a second and processor time a token of batches that are written together, against one sequence, interleaved.
// Usage: node bench/decode-batch.mjs [--preset stories15M] [--rounds 6] [--steps 40]; weights are drawn at random.
import { parseArgs } from "node:util";
import { createEngine } from "../dist/engine/create.js";
import { buildWeightsPlan } from "../dist/generate/decode-plan.js";
import { Decoder } from "../dist/generate/decoder.js";
import { initialiseWeight, modelOf } from "../dist/model/index.js";
import { presetOf } from "../dist/train/config/presets.js";
import { median } from "./median.mjs";

const { values } = parseArgs({
  options: {
    preset: { type: "string", default: "stories15M" },
    rounds: { type: "string", default: "6" },
    steps: { type: "string", default: "40" },
  },
});
const sizes = [1, 8, 32];
const stepCount = Number(values.steps);
const model = modelOf(presetOf(values.preset).model);
const engine = await createEngine("cpu", {});
const weights = await engine.load(buildWeightsPlan(model));
for (const weight of model.parameters.weights)
  initialiseWeight(weight, 5, weights.view(weight.name));
const decoder = new Decoder({ engine, model, weights });
const results = new Map(sizes.map((size) => [size, { perSecond: [], cpuMs: [] }]));

// The first round compiles and warms up.
for (let round = 0; round <= Number(values.rounds); round++) {
  for (const size of sizes) {
    const sequences = Array.from({ length: size }, () => decoder.sequence());
    for (const sequence of sequences) await decoder.append(sequence, [1, 2, 3, 4]);
    const step = () => decoder.step(sequences.map((sequence) => ({ sequence, token: 7 })));
    await step();
    const startedMs = performance.now();
    const before = process.cpuUsage();
    for (let count = 0; count < stepCount; count++) await step();
    const elapsedMs = performance.now() - startedMs;
    const { user, system } = process.cpuUsage(before);
    if (round === 0) continue;
    results.get(size).perSecond.push((stepCount * size * 1000) / elapsedMs);
    results.get(size).cpuMs.push((user + system) / 1000 / (stepCount * size));
  }
}

const one = median(results.get(1).cpuMs);
for (const [size, { perSecond, cpuMs }] of results) {
  const share = one / median(cpuMs);
  console.log(
    `${String(size).padStart(2)} together: ${median(perSecond).toFixed(0)} tokens/s, ${median(cpuMs).toFixed(2)} ms of processor a token (1/${share.toFixed(1)} of one alone)`,
  );
}
await decoder.close();
await engine.close();
