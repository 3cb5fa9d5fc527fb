import { describe, expect, it } from "vitest";
import { adaptableModules, modelOf, parseModelConfig, withAdapter } from "../../src/model/index.ts";
import { DROPOUT_MASK } from "../../src/model/adapters/products.ts";
import type { LoadedPlan } from "../../src/engine/engine.ts";
import { DROPOUT_BUFFER, drawMasks, maskBuffers } from "../../src/train/step/dropout.ts";
import { buildTrainingPlan, gradientName } from "../../src/train/step/step-plan.ts";
import { initialiseWeight } from "../../src/model/index.ts";
import { PlanRunner } from "../model/plan-runner.ts";
import { GPT2_JSON, LLAMA_JSON } from "../model/configs.ts";

const SIZES = { batchSize: 1, sequenceLength: 6 } as const;

function planOf(json: object, dropout: number, recompute: "none" | "full") {
  const base = modelOf(parseModelConfig(json));
  const model = withAdapter(base, {
    ...{ method: "lora", rank: 2, alpha: 4, isRankStabilized: false, dropout },
    modules: adaptableModules(base),
    layers: [...base.parameters.blocks.keys()],
  });
  return buildTrainingPlan({ ...SIZES, model, recompute });
}

function runnerOf(json: object, dropout: number, recompute: "none" | "full", step = 0) {
  const training = planOf(json, dropout, recompute);
  const runner = new PlanRunner(training.plan, "float64");
  for (const weight of training.model.parameters.weights) {
    const fresh = new Float32Array(runner.view(weight.name).length);
    initialiseWeight(weight, 2, fresh);
    // B is zero at first, and then no mask counts.
    const isB = weight.name.includes("lora_B");
    runner.view(weight.name).set(isB ? fresh.map((_, i) => Math.sin(i) / 4) : fresh);
  }
  const loaded = { plan: training.plan, view: (name: string) => runner.view(name) };
  const masks = maskBuffers(loaded as unknown as LoadedPlan, { share: dropout, seed: 3 });
  drawMasks(
    loaded as unknown as LoadedPlan,
    masks,
    { share: dropout, seed: 3 },
    { step, microBatch: 0, part: 0 },
  );
  for (const [name, factor] of [
    ["tokens", 3],
    ["targets", 5],
  ] as const) {
    const ids = runner.view(name);
    for (let i = 0; i < ids.length; i++) ids[i] = (i * factor + 1) % 50;
  }
  runner.view("loss_scale").fill(1);
  return { training, runner, masks };
}

describe("dropout of an adapter", () => {
  it.each([LLAMA_JSON, GPT2_JSON])(
    "of $model_type has the derivative that its masks say, whatever is recomputed",
    (json) => {
      const { training, runner, masks } = runnerOf(json, 0.4, "none");
      expect(masks.length).toBeGreaterThan(0);
      runner.run("forward_backward");
      const other = runnerOf(json, 0.4, "full").runner;
      other.run("forward_backward");
      const weight = training.model.parameters.weights.find(({ name }) =>
        /\.1\..*lora_A/.test(name),
      );
      const name = weight?.name ?? "";
      const gradient = Float64Array.from(runner.view(gradientName(name)));
      gradient.forEach((value, i) =>
        expect(other.view(gradientName(name))[i]).toBeCloseTo(value, 9),
      );
      const step = 1e-4;
      const numbers = runner.view(name);
      for (const at of [0, 3, numbers.length - 1]) {
        const before = numbers[at] ?? 0;
        const losses = [1, -1].map((sign) => {
          numbers[at] = before + sign * step;
          runner.run("forward_backward");
          return runner.view("loss_sum")[0] ?? NaN;
        });
        numbers[at] = before;
        const slope = ((losses[0] ?? NaN) - (losses[1] ?? NaN)) / (2 * step);
        expect(gradient[at]).toBeCloseTo(slope, 5);
      }
    },
  );

  it("keeps the numbers' mean, drops its share, and draws anew for every step, layer and micro-batch", () => {
    const { runner, masks } = runnerOf(LLAMA_JSON, 0.25, "none");
    const all = masks.flatMap((name) => Array.from(runner.view(name)));
    const kept = all.filter((value) => value !== 0);
    expect(new Set(kept.map((value) => Number(value.toFixed(6))))).toEqual(new Set([1.333333]));
    expect(kept.length / all.length).toBeGreaterThan(0.7);
    expect(kept.length / all.length).toBeLessThan(0.8);
    const texts = masks.map((name) => Array.from(runner.view(name)).join());
    expect(new Set(texts).size).toBe(texts.length);
    const later = runnerOf(LLAMA_JSON, 0.25, "none", 1);
    expect(Array.from(later.runner.view(masks[0] ?? ""))).not.toEqual(
      Array.from(runner.view(masks[0] ?? "")),
    );
  });

  it("draws for a part of a micro-batch's rows what it draws for those rows of the whole", () => {
    const drawn = (length: number, part: number): readonly number[] => {
      const mask = new Float32Array(length);
      const loaded = { view: () => mask } as unknown as LoadedPlan;
      drawMasks(loaded, ["m"], { share: 0.5, seed: 3 }, { step: 2, microBatch: 1, part });
      return [...mask];
    };
    const whole = drawn(24, 0);
    for (const part of [0, 1, 2])
      expect(drawn(8, part)).toEqual(whole.slice(8 * part, 8 * part + 8));
  });

  it("is no part of what is judged or of a plan without it", () => {
    const { plan } = planOf(LLAMA_JSON, 0.5, "none");
    const evaluate = plan.sections.get("evaluate") ?? [];
    const reads = evaluate.flatMap(({ inputs }) => [...inputs.keys()]);
    expect(reads.some((name) => name.startsWith(DROPOUT_MASK))).toBe(false);
    const buffers = [...planOf(LLAMA_JSON, 0, "none").plan.buffers.keys()];
    expect(buffers.some((name) => name.startsWith(DROPOUT_BUFFER))).toBe(false);
    const loaded = { plan } as unknown as LoadedPlan;
    expect(() => maskBuffers(loaded, undefined)).toThrow("nobody says how much");
  });
});
