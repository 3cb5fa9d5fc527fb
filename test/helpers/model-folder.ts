import { mkdirSync } from "node:fs";
import { elementCount, staticShape } from "../../src/mil/types.ts";
import {
  initialiseWeight,
  modelOf,
  parseModelConfig,
  saveWeights,
  writeModelConfig,
} from "../../src/model/index.ts";
import type { Model } from "../../src/model/index.ts";
import { byteTokenizer, saveTokenizer } from "../../src/text/index.ts";
import type { DescribedTokenizer } from "../../src/text/index.ts";

/**
 * A folder with a tiny llama and a tokenizer, by default of bytes. Weights are drawn, matrices eight times as large, so
 * that texts differ.
 */
export function tinyModelFolder(
  folder: string,
  {
    contextLength = 128,
    described = byteTokenizer(),
    config = {},
  }: {
    readonly contextLength?: number;
    readonly described?: DescribedTokenizer;
    readonly config?: Readonly<Record<string, unknown>>;
  } = {},
): Model {
  mkdirSync(folder, { recursive: true });
  const model = modelOf(
    parseModelConfig({
      model_type: "llama",
      vocab_size: described.tokenizer.vocabularySize,
      hidden_size: 32,
      intermediate_size: 64,
      num_hidden_layers: 2,
      num_attention_heads: 2,
      num_key_value_heads: 1,
      max_position_embeddings: contextLength,
      tie_word_embeddings: true,
      ...config,
    }),
  );
  writeModelConfig(folder, model.config);
  saveTokenizer(folder, described);
  const values = new Map(
    model.parameters.weights.map((weight) => {
      const drawn = new Float32Array(elementCount(staticShape(weight.type)));
      initialiseWeight(weight, 5, drawn);
      return [weight.name, weight.decays ? drawn.map((value) => value * 8) : drawn] as const;
    }),
  );
  saveWeights(folder, model.parameters, (name) => values.get(name) ?? new Float32Array());
  return model;
}
