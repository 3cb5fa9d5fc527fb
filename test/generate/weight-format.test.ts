import { describe, expect, it } from "vitest";
import { inFormat } from "../../src/generate/weight-format.ts";
import { fillWeights, modelOf, parseModelConfig, withOrigin } from "../../src/model/index.ts";
import type { OpenModel } from "../../src/model/index.ts";
import { LLAMA_JSON } from "../model/configs.ts";

function opened(sizes: object): OpenModel {
  const json = { ...LLAMA_JSON, ...sizes };
  const model = withOrigin(modelOf(parseModelConfig(json)), { kind: "drawn", seed: 1 });
  return { model, load: (viewOf, weights) => fillWeights(model, viewOf, weights) };
}

const storagesOf = ({ model }: OpenModel): ReadonlySet<string> =>
  new Set(
    model.parameters.weights.map(({ storage }) =>
      "groupSize" in storage ? `${storage.kind}/${storage.groupSize}` : storage.kind,
    ),
  );

describe("a model in another format of weights", () => {
  it("has its matrices and tables in it, and its vectors as they were", () => {
    expect(storagesOf(inFormat(opened({}), "bf16"))).toEqual(new Set(["bf16", "fp32"]));
  });

  it("takes groups of 64 where all rows are made of them, else of 32", () => {
    const wide = { hidden_size: 64, intermediate_size: 128 };
    expect(storagesOf(inFormat(opened(wide), "int4"))).toEqual(new Set(["int4/64", "fp32"]));
    const narrow = { hidden_size: 64, intermediate_size: 96 };
    expect(storagesOf(inFormat(opened(narrow), "int8"))).toEqual(new Set(["int8/32", "fp32"]));
  });

  it("is refused where no row is made of whole groups", () => {
    expect(() => inFormat(opened({ intermediate_size: 24 }), "int4")).toThrow(
      /no weight of this llama model can be stored as int4 in groups of 32/,
    );
  });
});
