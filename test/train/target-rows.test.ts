import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createReferenceEngine } from "../../src/engine/reference/index.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { modelOf } from "../../src/model/model.ts";
import { parseModelConfig } from "../../src/model/config-json.ts";
import { initialiseWeights } from "../../src/model/initialise.ts";
import { frozen } from "../../src/model/transforms.ts";
import type { Model } from "../../src/model/model.ts";
import { buildTrainingPlan } from "../../src/train/step/step-plan.ts";
import { headByTargetRows, TARGET_ROWS } from "../../src/train/step/target-rows.ts";
import { GEMMA2_JSON, GPT2_JSON, LLAMA_JSON, QWEN3_JSON } from "../model/configs.ts";

let reference: Engine;
beforeAll(() => {
  reference = createReferenceEngine();
});
afterAll(() => reference.close());

/** Loss and gradients of one batch with ignored targets, the last token of the vocabulary among them. */
async function gradients(
  model: Model,
  targetRows: boolean,
): Promise<ReadonlyMap<string, readonly number[]>> {
  const { plan } = buildTrainingPlan({
    ...{ model, batchSize: 2, sequenceLength: 5, headChunkRows: 4 },
    ...{ targetRows, accumulation: false },
  });
  const loaded = await reference.load(plan);
  for (const weight of model.parameters.weights) {
    const view = loaded.view(weight.name) as Float32Array;
    initialiseWeights([weight], 5, () => view);
  }
  loaded.view("tokens").set([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  loaded.view("targets").set([2, 3, -100, 5, 49, 2, -100, -100, 0, 2]);
  loaded.view("loss_scale")[0] = 2;
  await loaded.run("forward_backward");
  const loss = loaded.view("loss_sum")[0] ?? Number.NaN;
  await loaded.run("evaluate");
  const evaluated = loaded.view("loss_sum")[0] ?? Number.NaN;
  const found = new Map<string, readonly number[]>([["loss", [loss, evaluated]]]);
  for (const { name, role } of plan.buffers.values())
    if (role === "gradient") found.set(name, [...loaded.view(name)]);
  await loaded.close();
  return found;
}

describe("targets by rows of the head's matrix", () => {
  test.each([
    ["llama", LLAMA_JSON],
    ["a tied table", QWEN3_JSON],
    ["gpt2", GPT2_JSON],
  ])("give the loss and gradients of all logits: %s", async (_, json) => {
    const model = modelOf(parseModelConfig(json));
    const wanted = await gradients(model, false);
    const got = await gradients(model, true);
    expect([...got.keys()].sort()).toEqual([...wanted.keys()].sort());
    for (const [name, numbers] of wanted) {
      const scale = Math.max(...numbers.map(Math.abs));
      expect(scale, name).toBeGreaterThan(0);
      const found = got.get(name) ?? [];
      expect(found.length).toBe(numbers.length);
      for (const [index, number] of numbers.entries())
        expect(Math.abs((found[index] ?? Number.NaN) - number)).toBeLessThan(2e-6 * scale);
    }
  });

  test("are looked up and not learned where the matrix is frozen", async () => {
    const model = frozen(modelOf(parseModelConfig(LLAMA_JSON)), ({ name }) =>
      name.startsWith("lm_head"),
    );
    const { plan } = buildTrainingPlan({
      ...{ model, batchSize: 2, sequenceLength: 5, targetRows: true },
    });
    const labels = plan.sections.get("forward_backward")?.map(({ label }) => label);
    expect(labels).toContain("target rows");
    expect(labels).not.toContain("backward target rows");
    const [wanted, got] = [await gradients(model, false), await gradients(model, true)];
    const name = "gradient:model.layers.0.mlp.up_proj.weight";
    expect(got.get(name)?.[7]).toBeCloseTo(wanted.get(name)?.[7] ?? Number.NaN, 6);
  });

  test("are no input of a head that caps its logits: all logits are looked at", () => {
    const { functions } = modelOf(parseModelConfig(GEMMA2_JSON));
    expect(headByTargetRows(functions.head({ rowCount: 4, dataType: "fp32" }))).toBeUndefined();
    const llama = modelOf(parseModelConfig(LLAMA_JSON)).functions;
    const head = headByTargetRows(llama.head({ rowCount: 4, dataType: "fp32" }));
    expect(head?.matrix).toBe("lm_head_weight");
    expect(head?.function.inputs.map(({ name }) => name)).toContain(TARGET_ROWS);
  });
});
