import { describe, expect, it } from "vitest";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";
import type { HostTensor } from "../../src/mil/host-tensor.ts";
import type { MilFunction } from "../../src/mil/program.ts";
import { elementCount, formatType, staticShape } from "../../src/mil/types.ts";
import { initialiseWeight } from "../../src/model/initialise.ts";
import type { StageInstance } from "../../src/model/parameters.ts";
import { roundToFloat16 } from "../../src/util/float16.ts";
import { parseModelConfig } from "../../src/model/config-json.ts";
import { FAMILY_JSON } from "./configs.ts";
import { modelOf } from "../../src/model/model.ts";
import { parameterCount } from "../../src/model/parameters.ts";

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
    expect(model.parameters.weights.length).toBeGreaterThan(10);
    expect(parameterCount(model.parameters.weights)).toBeGreaterThan(0);
  });
});

describe("stages in fp16", () => {
  it.each(FAMILY_JSON)("of $model_type stay near those in fp32", (json) => {
    const model = modelOf(parseModelConfig(json));
    const run = (dataType: "fp32" | "fp16"): readonly number[] => {
      const sizes = { batchSize: 1, sequenceLength: 6, dataType } as const;
      const evaluate = (
        fn: MilFunction,
        stage: StageInstance,
        given: Readonly<Record<string, ArrayLike<number>>>,
      ): Float64Array => {
        const inputs = new Map<string, HostTensor>();
        for (const input of fn.inputs) {
          if (input.type.kind !== "tensor") throw new Error("tensors only");
          const shape = staticShape(input.type);
          let source = given[input.name];
          if (source === undefined) {
            const weight = stage.weights.find(({ parameter }) => parameter === input.name);
            if (weight === undefined) throw new Error(input.name);
            const fresh = new Float32Array(elementCount(staticShape(weight.type)));
            initialiseWeight(weight, 8, fresh);
            source = fresh.map((value) => (value === 1 ? 1 : value * 10));
          }
          const numbers = source;
          const data = Float64Array.from({ length: elementCount(shape) }, (_, i) => {
            const value = numbers[i] ?? NaN;
            return input.type.kind === "tensor" && input.type.dataType === "fp16"
              ? roundToFloat16(value)
              : value;
          });
          inputs.set(input.name, hostTensor(input.type.dataType, shape, data));
        }
        const [result] = evaluateFunction(fn, inputs).values();
        if (result === undefined) throw new Error("no result");
        return result.data;
      };
      const { functions } = model;
      let hidden = evaluate(functions.embed(sizes), model.parameters.embed, {
        tokens: [1, 5, 9, 2, 40, 3],
      });
      for (const stage of model.parameters.blocks)
        hidden = evaluate(functions.block({ ...sizes, variant: stage.variant }), stage, { hidden });
      const head = functions.head({ rowCount: 6, dataType });
      const loss = evaluate(head, model.parameters.head, {
        hidden,
        targets: [5, 9, -100, 40, 3, 7],
      });
      return [...hidden, loss[0] ?? NaN];
    };
    const wide = run("fp32");
    const scale = Math.max(...wide.map(Math.abs));
    run("fp16").forEach((value, i) =>
      expect(Math.abs(value - (wide[i] ?? NaN))).toBeLessThan(0.01 * scale),
    );
  });
});
