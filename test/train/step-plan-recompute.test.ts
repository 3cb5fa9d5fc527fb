import { describe, expect, it } from "vitest";
import { modelOf } from "../../src/model/model.ts";
import { byteLengthOf } from "../../src/mil/types.ts";
import { initialiseWeight, parseModelConfig } from "../../src/model/index.ts";
import { planMemory } from "../../src/plan/memory.ts";
import { planJson, printPlan } from "../../src/plan/print.ts";
import { buildTrainingPlan, gradientName } from "../../src/train/step/step-plan.ts";
import type { TrainingPlan, TrainingPlanOptions } from "../../src/train/step/step-plan.ts";
import { chooseHeadChunkRows } from "../../src/train/step/step-sizes.ts";
import { Random } from "../../src/util/random.ts";
import { FAMILY_JSON, GPT2_JSON, LLAMA_JSON } from "../model/configs.ts";
import { PlanRunner } from "../model/plan-runner.ts";

const SIZES = { batchSize: 2, sequenceLength: 16 };

function build(json: unknown, options: Partial<TrainingPlanOptions> = {}): TrainingPlan {
  return buildTrainingPlan({ model: modelOf(parseModelConfig(json)), ...SIZES, ...options });
}

function gradients(training: TrainingPlan): PlanRunner {
  const runner = new PlanRunner(training.plan, "float64");
  for (const weight of training.model.parameters.weights) {
    const fresh = new Float32Array(runner.view(weight.name).length);
    initialiseWeight(weight, 2, fresh);
    runner.view(weight.name).set(fresh.map((value) => (value === 1 ? 1 : value * 5)));
  }
  const random = new Random(6);
  for (const name of ["tokens", "targets"]) {
    const view = runner.view(name);
    for (let i = 0; i < view.length; i++) view[i] = random.below(50);
  }
  runner.view("loss_scale").fill(1);
  runner.run("forward_backward");
  return runner;
}

/** Bytes that live from the forward pass to the backward one. */
function keptBytes({ plan }: TrainingPlan): number {
  let total = 0;
  for (const { role, type, name } of plan.buffers.values())
    if (role === "tap" || name.startsWith("hidden.")) total += byteLengthOf(type);
  return total;
}

describe("recompute", () => {
  it.each(FAMILY_JSON)("of $model_type changes memory, not gradients", (json) => {
    const none = build(json);
    const auto = build(json, { recompute: "auto" });
    const full = build(json, { recompute: "full" });
    expect(keptBytes(auto)).toBeLessThan(keptBytes(none));
    expect(keptBytes(full)).toBeLessThan(keptBytes(auto));
    const arena = (training: TrainingPlan): number => planMemory(training.plan).transientByteLength;
    expect(arena(auto)).toBeLessThan(arena(none));
    expect(arena(full)).toBeLessThan(arena(auto));
    const expected = gradients(none);
    for (const training of [auto, full]) {
      const runner = gradients(training);
      for (const { name } of none.model.parameters.weights) {
        const reference = expected.view(gradientName(name));
        runner
          .view(gradientName(name))
          .forEach((value, i) => expect(value).toBeCloseTo(reference[i] ?? NaN, 8));
      }
    }
  });

  it.each([LLAMA_JSON, GPT2_JSON])(
    "of $model_type stays within a budget for all layers",
    (json) => {
      const smallest = (build(json, { recompute: "full" }).block?.smallestBytes ?? NaN) * 2;
      const most = (build(json).block?.tapBytes ?? NaN) * 2;
      for (const share of [0, 0.3, 0.7]) {
        const byteBudget = Math.ceil(smallest + share * (most - smallest));
        const { block } = build(json, { recompute: "auto", byteBudget });
        expect((block?.tapBytes ?? NaN) * 2).toBeLessThanOrEqual(byteBudget);
      }
      expect(() => build(json, { recompute: "auto", byteBudget: smallest - 2 })).toThrow(
        `the smallest possible number is ${smallest}`,
      );
    },
  );

  it("is told value by value in the printed plan", () => {
    const training = build(LLAMA_JSON, { recompute: "auto", headChunkRows: 5 });
    const text = printPlan(training);
    expect(text).toMatch(/values of one block: .* kept for the backward pass/);
    expect(text).toMatch(/attention +softmax +fp32\[2, 2, 2, 16, 16\] +(kept|no)/);
    expect(text).toContain("largest logits buffer 1000 B: 5 rows at a time");
    expect(text).toContain("head rows 30 to 31");
    const json = planJson(training) as { readonly taps: { readonly values: readonly unknown[] } };
    expect(json.taps.values.length).toBe(training.block?.report.length);
  });
});

describe("a training plan", () => {
  it("chooses chunks of the head that keep the logits within 64 MiB", () => {
    expect(chooseHeadChunkRows(1024, 8192)).toBe(1024);
    expect(chooseHeadChunkRows(1024, 50257)).toBeLessThanOrEqual(333);
    expect(chooseHeadChunkRows(1024, 50257)).toBeGreaterThan(250);
    expect(chooseHeadChunkRows(8, 2 ** 26)).toBe(1);
    for (const rows of [100, 1000, 4096]) {
      const chunk = chooseHeadChunkRows(rows, 32_000);
      expect(chunk * 32_000 * 4).toBeLessThanOrEqual(64 * 2 ** 20);
    }
  });

  it("refuses sequences longer than the context and sizes that are none", () => {
    expect(() => build(LLAMA_JSON, { sequenceLength: 201 })).toThrow(/context of 200/);
    expect(() => build(LLAMA_JSON, { batchSize: 0 })).toThrow(
      /batch size must be 1 or more, not 0/,
    );
    expect(() => build(LLAMA_JSON, { headChunkRows: 1.5 })).toThrow(/head chunk/);
  });

  it("does without accumulation where none is asked for", () => {
    const { plan } = build(GPT2_JSON, { accumulation: false });
    expect([...plan.sections.keys()]).toEqual([
      "forward_backward",
      "gradient_norm",
      "update",
      "evaluate",
    ]);
  });

  it("compiles as many programs for ten layers as for two", () => {
    const count = (layers: number): number =>
      build({ ...LLAMA_JSON, num_hidden_layers: layers }).plan.programs.size;
    expect(count(10)).toBe(count(2));
  });
});
