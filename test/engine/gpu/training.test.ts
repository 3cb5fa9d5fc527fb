import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCpuEngine } from "../../../src/engine/cpu/index.ts";
import type { Engine, LoadedPlan } from "../../../src/engine/engine.ts";
import { modelOf } from "../../../src/model/model.ts";
import { parseModelConfig } from "../../../src/model/index.ts";
import type { Plan } from "../../../src/plan/plan.ts";
import { buildTrainingPlan } from "../../../src/train/step/step-plan.ts";
import { Random } from "../../../src/util/random.ts";
import { openSoftwareDevice, strictEngine } from "./software-device.ts";

/**
 * Sizes below 8 and no biases: SwiftShader takes seconds to compile each of the tiled products, which the suite of ops
 * has. bench/gpu-steps.mjs takes a hundred steps of the presets.
 */
const CONFIG = {
  ...{ model_type: "llama", vocab_size: 7, hidden_size: 4, intermediate_size: 6 },
  ...{ num_hidden_layers: 2, num_attention_heads: 2, max_position_embeddings: 4 },
} as const;

const SCALARS: Readonly<Record<string, number>> = {
  ...{ learning_rate: 0.01, weight_decay: 0.1, gradient_scale: 0.7, loss_scale: 1 / 3 },
  ...{ bias_correction1: 0.271, bias_correction2: 0.142625 },
};
const STEP = ["forward_backward", "forward_backward_accumulate", "gradient_norm", "update"];
const VOCABULARY = 7;

function trainingPlan(): Plan {
  const model = modelOf(parseModelConfig(CONFIG));
  return buildTrainingPlan({ model, batchSize: 1, sequenceLength: 4 }).plan;
}

/** The same start on every engine. */
function fill(loaded: LoadedPlan): void {
  const random = new Random(5);
  for (const { name, role } of loaded.plan.buffers.values()) {
    if (role !== "weight" && role !== "optimizer") continue;
    const view = loaded.view(name);
    for (let i = 0; i < view.length; i++)
      view[i] = name.startsWith("v:") ? random.uniform() * 0.01 : random.uniform() * 0.2 - 0.1;
  }
  for (const [name, value] of Object.entries(SCALARS)) loaded.view(name)[0] = value;
  const tokens = loaded.view("tokens");
  const targets = loaded.view("targets");
  for (let i = 0; i < tokens.length; i++) {
    // Few different tokens, so that rows of the table take many gradients.
    tokens[i] = (i * i) % 3;
    targets[i] = i % 4 === 3 ? -100 : (i * 11) % VOCABULARY;
  }
}

async function contentsAfter(engine: Engine, plan: Plan, count: number) {
  const loaded = await engine.load(plan);
  fill(loaded);
  for (let step = 0; step < count; step++) for (const section of STEP) await loaded.run(section);
  const contents = new Map<string, Float32Array>();
  for (const { name, role } of plan.buffers.values()) {
    if (["weight", "gradient", "optimizer", "output"].includes(role))
      contents.set(name, Float32Array.from(loaded.view(name)));
  }
  await loaded.close();
  return contents;
}

function largestDifference(a: Float32Array | undefined, b: Float32Array): number {
  if (a === undefined) return Number.POSITIVE_INFINITY;
  const scale = b.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-6);
  return (
    a.reduce((most, value, index) => Math.max(most, Math.abs(value - (b[index] ?? 0))), 0) / scale
  );
}

const missing = openSoftwareDevice();
const title = "training on the GPU engine";
describe.skipIf(missing !== undefined)(
  missing === undefined ? title : `${title}, skipped: ${missing}`,
  () => {
    let gpu: Engine;
    let cpu: Engine;
    beforeAll(async () => {
      gpu = strictEngine();
      cpu = await createCpuEngine({ threads: 2 });
    });
    afterAll(async () => {
      await gpu.close();
      await cpu.close();
    });

    it("gives the cpu engine's numbers after three steps, and nothing runs on the processor", async () => {
      const plan = trainingPlan();
      const expected = await contentsAfter(cpu, plan, 3);
      const actual = await contentsAfter(gpu, plan, 3);
      for (const [name, numbers] of expected) {
        // AdamW divides by the root of v: where a gradient is all but zero, its sign is noise.
        const limit = name.startsWith("gradient:") || name === "loss_sum" ? 1e-4 : 1e-3;
        expect(largestDifference(actual.get(name), numbers), name).toBeLessThan(limit);
      }
    });

    it("gives the same bits twice, though rows of the table take several gradients", async () => {
      const plan = trainingPlan();
      const first = await contentsAfter(gpu, plan, 2);
      const second = await contentsAfter(gpu, plan, 2);
      for (const [name, numbers] of first) expect(second.get(name), name).toEqual(numbers);
    });

    it("refuses a token outside the vocabulary before the device clamps it", async () => {
      const loaded = await gpu.load(trainingPlan());
      fill(loaded);
      loaded.view("tokens")[2] = VOCABULARY;
      await expect(loaded.run("forward_backward")).rejects.toMatchObject({
        code: "engine.index",
        message: expect.stringMatching(/index 7 is outside the 7 elements/) as string,
      });
      await loaded.close();
    });
  },
);
