import { expect, it } from "vitest";
import { createCpuEngine } from "../../../src/engine/cpu/index.ts";
import type { Engine } from "../../../src/engine/engine.ts";
import { buildWeightsPlan } from "../../../src/generate/decode-plan.ts";
import { Generator } from "../../../src/generate/generator.ts";
import { initialiseWeights, modelOf, parseModelConfig } from "../../../src/model/index.ts";
import { byteTokenizer } from "../../../src/text/index.ts";
import { openSoftwareDevice, RUNS_ALL_ON_GPU, strictEngine } from "./software-device.ts";

const missing = RUNS_ALL_ON_GPU
  ? openSoftwareDevice()
  : "a device in software takes minutes; npm run conformance:gpu has it";

const { tokenizer } = byteTokenizer();
const model = modelOf(
  parseModelConfig({
    ...{ model_type: "llama", vocab_size: tokenizer.vocabularySize, hidden_size: 16 },
    ...{ intermediate_size: 32, num_hidden_layers: 2, num_attention_heads: 2 },
    ...{ num_key_value_heads: 1, max_position_embeddings: 96, tie_word_embeddings: true },
  }),
);

/** A text of the likeliest tokens and one of drawn ones, over weights that both plans of the generator share. */
async function textsOn(engine: Engine): Promise<readonly string[]> {
  const weights = await engine.load(buildWeightsPlan(model));
  initialiseWeights(model.parameters.weights, 5, (name) => {
    const view = weights.view(name);
    if (view instanceof Float32Array) return view;
    throw new Error(`${name} is not fp32`);
  });
  const generator = new Generator({ engine, model, tokenizer, weights });
  const texts: string[] = [];
  for (const temperature of [0, 1]) {
    const { text } = await generator.generate("abc", { maxTokens: 8, temperature, seed: 4 });
    texts.push(text);
  }
  await generator.close();
  await weights.close();
  await engine.close();
  return texts;
}

it.skipIf(missing !== undefined)(
  `the GPU engine writes what cpu writes${missing === undefined ? "" : `, skipped: ${missing}`}`,
  async () => {
    const expected = await textsOn(await createCpuEngine({ threads: 2 }));
    expect(await textsOn(strictEngine())).toEqual(expected);
  },
  600_000,
);
