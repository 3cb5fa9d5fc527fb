// Processor time a token of texts that are written together, by the row program and with the weights as constants of one graph
// (`frozenWeights`), interleaved; whether each text gets the numbers that it gets alone; memory.
// Usage: node bench/decode-frozen.mjs [--preset stories15M] [--sizes 1,2,4,8,16,32] [--rounds 5] [--steps 15] [--threads 2]
import { parseArgs } from "node:util";
import { createCpuEngine } from "../dist/engine/cpu/index.js";
import { buildWeightsPlan } from "../dist/generate/decode-plan.js";
import { Decoder } from "../dist/generate/decoder.js";
import { initialiseWeight, modelOf } from "../dist/model/index.js";
import { presetOf } from "../dist/train/config/presets.js";
import { median } from "./median.mjs";

const { values } = parseArgs({
  options: {
    preset: { type: "string", default: "stories15M" },
    sizes: { type: "string", default: "1,2,4,8,16,32" },
    rounds: { type: "string", default: "5" },
    steps: { type: "string", default: "15" },
    threads: { type: "string", default: "2" },
  },
});
const sizes = values.sizes.split(",").map(Number);
const stepCount = Number(values.steps);
const model = modelOf(presetOf(values.preset).model);
const engine = await createCpuEngine({ threads: Number(values.threads) });
const weights = await engine.load(buildWeightsPlan(model));
for (const weight of model.parameters.weights)
  initialiseWeight(weight, 5, weights.view(weight.name));
const ways = [
  { name: "rows", decoder: new Decoder({ engine, model, weights }) },
  { name: "constants", decoder: new Decoder({ engine, model, weights, frozenWeights: true }) },
];
const mebibytes = () => (process.memoryUsage().rss / 2 ** 20).toFixed(0);
/** What each way gives the first text alone. */
const alone = new Map();

/** Texts that begin otherwise, and how their next token is found. */
async function begin(decoder, size) {
  const sequences = Array.from({ length: size }, () => decoder.sequence());
  for (const [index, sequence] of sequences.entries())
    await decoder.append(sequence, [1 + index, 2, 3, 4]);
  return async () =>
    decoder.step(sequences.map((sequence, index) => ({ sequence, token: 7 + index })));
}

for (const size of sizes) {
  const times = new Map(ways.map(({ name }) => [name, { wallMs: [], cpuMs: [] }]));
  const equal = new Map();
  const prepareMs = new Map();
  for (let round = 0; round <= Number(values.rounds); round++) {
    for (const { name, decoder } of ways) {
      const startedMs = performance.now();
      const step = await begin(decoder, size);
      const rows = (await step()).map((logits) => logits.slice());
      if (round === 0) {
        prepareMs.set(name, performance.now() - startedMs);
        for (const [index, row] of rows.entries()) {
          const key = `${name} ${index}`;
          if (!alone.has(key)) {
            const one = decoder.sequence();
            await decoder.append(one, [1 + index, 2, 3, 4]);
            const [logits] = await decoder.step([{ sequence: one, token: 7 + index }]);
            alone.set(key, logits.slice());
          }
          const same = row.every((number, at) => Object.is(number, alone.get(key)[at]));
          equal.set(name, (equal.get(name) ?? 0) + (same ? 1 : 0));
        }
      }
      const beganMs = performance.now();
      const before = process.cpuUsage();
      for (let count = 0; count < stepCount; count++) await step();
      const { user, system } = process.cpuUsage(before);
      if (round === 0) continue;
      times.get(name).wallMs.push((performance.now() - beganMs) / stepCount);
      times.get(name).cpuMs.push((user + system) / 1000 / stepCount);
    }
  }
  const cells = ways.map(({ name }) => {
    const { wallMs, cpuMs } = times.get(name);
    return `${name} ${(median(cpuMs) / size).toFixed(3)} ms of processor a token (${(median(wallMs) / size).toFixed(3)} by the clock), first step ${prepareMs.get(name).toFixed(0)} ms, ${equal.get(name)} of ${size} as alone`;
  });
  console.log(`${size} together: ${cells.join("; ")}; ${mebibytes()} MiB`);
}
for (const { decoder } of ways) await decoder.close();
await engine.close();
