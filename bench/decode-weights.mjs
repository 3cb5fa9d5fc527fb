// Greedy decoding of one sequence with weights as fp32, bf16, int8 and int4, interleaved: processor and wall time a token,
// and with --model DIR --text FILE the loss of each on the text, token by token through the same programs.
// Usage: node bench/decode-weights.mjs [--preset stories110M | --model DIR --text FILE] [--threads 2] [--turns 5]
//        [--tokens 20]; the weights of a preset are drawn at random.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { createEngine } from "../dist/engine/create.js";
import { weightViews } from "../dist/engine/weight-views.js";
import { buildWeightsPlan } from "../dist/generate/decode-plan.js";
import { Decoder } from "../dist/generate/decoder.js";
import { inFormat, WEIGHT_FORMATS } from "../dist/generate/weight-format.js";
import { fillWeights, modelOf, openModel, withOrigin } from "../dist/model/index.js";
import { loadTokenizer } from "../dist/text/index.js";
import { presetOf } from "../dist/train/config/presets.js";
import { median } from "./median.mjs";

const { values } = parseArgs({
  options: {
    preset: { type: "string", default: "stories110M" },
    model: { type: "string" },
    text: { type: "string" },
    threads: { type: "string", default: "2" },
    turns: { type: "string", default: "5" },
    tokens: { type: "string", default: "20" },
  },
});
const tokenCount = Number(values.tokens);

function opened() {
  if (values.model !== undefined) return openModel(values.model);
  const model = withOrigin(modelOf(presetOf(values.preset).model), { kind: "drawn", seed: 5 });
  return {
    model,
    load: (viewOf, weights = model.parameters.weights) =>
      fillWeights({ ...model, parameters: { ...model.parameters, weights } }, viewOf),
  };
}

const engine = await createEngine("cpu", { threads: Number(values.threads) });
const formats = new Map();
for (const format of ["fp32", ...WEIGHT_FORMATS]) {
  const { model, load } = format === "fp32" ? opened() : inFormat(opened(), format);
  const weights = await engine.load(buildWeightsPlan(model));
  load(weightViews((name) => weights.view(name)));
  const decoder = new Decoder({ engine, model, weights });
  formats.set(format, { decoder, model, processorMs: [], wallMs: [] });
}

/** Mean of -ln p of each token of the text behind the first, within the context. */
async function lossOf({ decoder, model }) {
  const { tokenizer } = loadTokenizer(values.model);
  const ids = tokenizer.encode(readFileSync(values.text, "utf8"));
  const sequence = decoder.sequence();
  const count = Math.min(ids.length, model.config.contextLength) - 1;
  let sum = 0;
  for (let place = 0; place < count; place++) {
    const scores = await decoder.append(sequence, [ids[place]]);
    const highest = scores.reduce((most, score) => Math.max(most, score), -Infinity);
    let total = 0;
    for (const score of scores) total += Math.exp(score - highest);
    sum += highest + Math.log(total) - scores[ids[place + 1]];
  }
  return sum / count;
}

for (let turn = 0; turn <= Number(values.turns); turn++) {
  for (const { decoder, processorMs, wallMs } of formats.values()) {
    const sequence = decoder.sequence();
    await decoder.append(sequence, [1]);
    const startedMs = performance.now();
    const before = process.cpuUsage();
    for (let token = 0; token < tokenCount; token++) await decoder.step([{ sequence, token: 7 }]);
    const { user, system } = process.cpuUsage(before);
    // The first turn compiles and warms up.
    if (turn === 0) continue;
    wallMs.push((performance.now() - startedMs) / tokenCount);
    processorMs.push((user + system) / 1000 / tokenCount);
  }
}

const whole = formats.get("fp32");
for (const [format, one] of formats) {
  const loss =
    values.model === undefined || values.text === undefined
      ? ""
      : `, loss ${(await lossOf(one)).toFixed(4)}`;
  const processor = median(one.processorMs);
  const wall = median(one.wallMs);
  console.log(
    `${format}: ${processor.toFixed(2)} ms of processor a token (${(median(whole.processorMs) / processor).toFixed(2)} of fp32's speed), wall ${wall.toFixed(2)} ms (${(median(whole.wallMs) / wall).toFixed(2)})${loss}`,
  );
}
for (const { decoder } of formats.values()) await decoder.close();
await engine.close();
