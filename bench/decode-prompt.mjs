// Processor time of short prompts in a section of few rows against the section of many, interleaved in one process: the
// first prompt of a decoder, which loads and compiles what it needs, and later ones.
// Usage: node bench/decode-prompt.mjs [--preset stories15M] [--rounds 5] [--weights bf16|fp16|int8|int4]; weights are drawn at random.
import { parseArgs } from "node:util";
import { createEngine } from "../dist/engine/create.js";
import { weightViews } from "../dist/engine/weight-views.js";
import { buildWeightsPlan } from "../dist/generate/decode-plan.js";
import { Decoder } from "../dist/generate/decoder.js";
import { inFormat } from "../dist/generate/weight-format.js";
import { fillWeights, modelOf, withOrigin } from "../dist/model/index.js";
import { presetOf } from "../dist/train/config/presets.js";
import { median } from "./median.mjs";

const { values } = parseArgs({
  options: {
    preset: { type: "string", default: "stories15M" },
    rounds: { type: "string", default: "5" },
    weights: { type: "string", default: "fp32" },
  },
});
const lengths = [3, 5, 8, 12, 16];
const drawn = withOrigin(modelOf(presetOf(values.preset).model), { kind: "drawn", seed: 5 });
const whole = {
  model: drawn,
  load: (viewOf, weights = drawn.parameters.weights) =>
    fillWeights({ ...drawn, parameters: { ...drawn.parameters, weights } }, viewOf),
};
const { model, load } = values.weights === "fp32" ? whole : inFormat(whole, values.weights);
const engine = await createEngine("cpu", { threads: 1 });
const weights = await engine.load(buildWeightsPlan(model));
load(weightViews((name) => weights.view(name)));

/** Rows of the section for short prompts; 0: there is none. */
const kinds = [0, 8, 16];
const processorMs = async (work) => {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
};

const times = new Map();
const note = (kind, what, elapsedMs) => {
  const key = `${kind} ${what}`;
  times.set(key, [...(times.get(key) ?? []), elapsedMs]);
};
// The first round warms up.
for (let round = 0; round <= Number(values.rounds); round++) {
  for (const kind of kinds) {
    const limited = {
      ...engine,
      fewRowCounts: kind === 0 ? undefined : { whole: kind, stored: kind },
    };
    const decoder = new Decoder({ engine: limited, model, weights });
    const append = (length) =>
      decoder.append(
        decoder.sequence(),
        Array.from({ length }, (_, index) => index + 1),
      );
    const firstMs = await processorMs(() => append(5));
    if (round > 0) note(kind, "first", firstMs);
    for (const length of lengths) {
      await append(length);
      const elapsedMs = await processorMs(async () => {
        for (let count = 0; count < 3; count++) await append(length);
      });
      if (round > 0) note(kind, length, elapsedMs / 3);
    }
    await decoder.close();
  }
}

for (const what of ["first", ...lengths]) {
  const [many, ...few] = kinds.map((kind) => median(times.get(`${kind} ${what}`)));
  const name = what === "first" ? "first prompt of 5" : `prompt of ${what}`;
  const shares = few.map(
    (ms, index) =>
      `${kinds[index + 1]} rows ${ms.toFixed(1)} ms (${(ms / many).toFixed(2)} of the time)`,
  );
  console.log(`${name}: many rows ${many.toFixed(1)} ms, ${shares.join(", ")}`);
}
await engine.close();
