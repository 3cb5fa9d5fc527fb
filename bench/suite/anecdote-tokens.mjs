// Greedy decoding of one sequence, driven over standard input: each line is a number of tokens, the answer one JSON line
// with what they took. Weights are drawn at random; sizes are those of a llama.
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { createEngine } from "../../dist/engine/create.js";
import { buildWeightsPlan } from "../../dist/generate/decode-plan.js";
import { Decoder } from "../../dist/generate/decoder.js";
import { initialiseWeights } from "../../dist/model/index.js";
import { benchModel, parseShape, SHAPE_OPTIONS } from "./shape.mjs";

const { values } = parseArgs({ options: SHAPE_OPTIONS });
const shape = parseShape(values);
const model = benchModel(shape);
const engine = await createEngine("cpu", { threads: shape.threads });
const weights = await engine.load(buildWeightsPlan(model));
initialiseWeights(model.parameters.weights, 5, (name) => weights.view(name));
const decoder = new Decoder({ engine, model, weights });
console.log(JSON.stringify({ ready: true, ...engine.description }));

const argmax = (row) => {
  let best = 0;
  for (let i = 1; i < row.length; i++) if (row[i] > row[best]) best = i;
  return best;
};
for await (const line of createInterface({ input: process.stdin })) {
  const sequence = decoder.sequence();
  let scores = await decoder.append(sequence, [1]);
  const before = process.cpuUsage();
  const started = performance.now();
  const count = Number(line);
  for (let token = 0; token < count; token++) {
    [scores] = await decoder.step([{ sequence, token: argmax(scores) }]);
  }
  const elapsedMs = performance.now() - started;
  const { user, system } = process.cpuUsage(before);
  console.log(
    JSON.stringify({
      tokens_per_second: (1000 * count) / elapsedMs,
      processor_ms: (user + system) / 1000 / count,
      peak_memory_bytes: process.resourceUsage().maxRSS * 1024,
    }),
  );
}
await decoder.close();
await engine.close();
