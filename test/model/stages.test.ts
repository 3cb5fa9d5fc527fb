import { describe, expect, it } from "vitest";
import { formatType } from "../../src/mil/types.ts";
import { parseModelConfig } from "../../src/model/config-json.ts";
import { modelOf, modelWeights, parameterCount } from "../../src/model/model.ts";

const LLAMA = {
  model_type: "llama",
  vocab_size: 50,
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 32,
};
const GPT2 = { model_type: "gpt2", vocab_size: 50, n_embd: 16, n_layer: 2, n_head: 4, n_positions: 32 };
const QWEN3 = { ...LLAMA, model_type: "qwen3", head_dim: 8, tie_word_embeddings: true };

describe("stages", () => {
  it.each([LLAMA, GPT2, QWEN3])("of $model_type take rows to rows", (json) => {
    const model = modelOf(parseModelConfig(json));
    const sizes = { batchSize: 2, sequenceLength: 8, dataType: "fp32" } as const;
    const types = (fn: { outputs: readonly { name: string; type: Parameters<typeof formatType>[0] }[] }) =>
      fn.outputs.map((output) => `${output.name} ${formatType(output.type)}`);
    expect(types(model.functions.embed(sizes))).toEqual(["hidden fp32[16, 16]"]);
    expect(types(model.functions.block(sizes))).toEqual(["hidden_out fp32[16, 16]"]);
    const rows = { rowCount: 7, dataType: "fp32" } as const;
    expect(types(model.functions.head(rows))).toEqual(["loss_sum fp32[]"]);
    expect(types(model.functions.logits(rows))).toEqual(["logits fp32[1, 50]"]);
    expect(types(model.functions.cachedEmbed(rows))).toEqual(["hidden fp32[7, 16]"]);
    expect(types(model.functions.cachedBlock({ ...rows, cacheLength: 64 })).length).toBe(3);
    expect(modelWeights(model).length).toBeGreaterThan(10);
    expect(parameterCount(model)).toBeGreaterThan(0);
  });
});
