import { describe, expect, it } from "vitest";
import { formatType } from "../../src/mil/types.ts";
import { parseModelConfig } from "../../src/model/config-json.ts";
import { FAMILY_JSON } from "./configs.ts";
import { modelOf, modelWeights, parameterCount } from "../../src/model/model.ts";

describe("stages", () => {
  it.each(FAMILY_JSON)("of $model_type take rows to rows", (json) => {
    const model = modelOf(parseModelConfig(json));
    const sizes = { batchSize: 2, sequenceLength: 8, dataType: "fp32" } as const;
    const types = (fn: {
      outputs: readonly { name: string; type: Parameters<typeof formatType>[0] }[];
    }) => fn.outputs.map((output) => `${output.name} ${formatType(output.type)}`);
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
