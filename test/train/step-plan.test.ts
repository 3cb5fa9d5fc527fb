import { describe, expect, it } from "vitest";
import { modelOf } from "../../src/model/model.ts";
import { initialiseWeights } from "../../src/model/initialise.ts";
import { parseModelConfig } from "../../src/model/config-json.ts";
import { buildTrainingPlan, gradientName } from "../../src/train/step/step-plan.ts";
import type { TrainingPlan } from "../../src/train/step/step-plan.ts";
import { Random } from "../../src/util/random.ts";
import { FAMILY_JSON, GPT2_JSON, LLAMA_JSON } from "../model/configs.ts";
import { PlanRunner } from "../model/plan-runner.ts";

const SIZES = { batchSize: 2, sequenceLength: 8 };

function start(training: TrainingPlan, seed = 3): PlanRunner {
  const runner = new PlanRunner(training.plan, "float64");
  for (const weight of training.model.parameters.weights) {
    const fresh = new Float32Array(runner.view(weight.name).length);
    initialiseWeights([weight], seed, () => fresh);
    runner.view(weight.name).set(fresh.map((value) => (value === 1 ? 1 : value * 5)));
  }
  const random = new Random(seed);
  const vocabulary = training.model.config.vocabularySize;
  runner.view("tokens").forEach((_, i, all) => (all[i] = random.below(vocabulary)));
  runner
    .view("targets")
    .forEach((_, i, all) => (all[i] = i % 5 === 4 ? -100 : random.below(vocabulary)));
  const scale = runner.plan.buffers.has("loss_scale") ? runner.view("loss_scale") : undefined;
  scale?.fill(1);
  return runner;
}

function lossOf(runner: PlanRunner): number {
  runner.run("evaluate");
  return runner.view("loss_sum")[0] ?? NaN;
}

describe("a training plan", () => {
  it.each(FAMILY_JSON)("of $model_type has the gradients that finite differences give", (json) => {
    const training = buildTrainingPlan({
      model: modelOf(parseModelConfig(json)),
      ...SIZES,
      headChunkRows: 7,
    });
    const runner = start(training);
    runner.run("forward_backward");
    const loss = runner.view("loss_sum")[0];
    expect(lossOf(runner)).toBeCloseTo(loss ?? NaN, 10);
    const random = new Random(9);
    for (const { name } of training.model.parameters.weights) {
      const weight = runner.view(name);
      const gradient = runner.view(gradientName(name));
      const at = name.includes("wpe") ? 5 : random.below(weight.length);
      const before = weight[at] ?? NaN;
      const step = 1e-5;
      weight[at] = before + step;
      const above = lossOf(runner);
      weight[at] = before - step;
      const below = lossOf(runner);
      weight[at] = before;
      const slope = (above - below) / (2 * step);
      expect(Math.abs((gradient[at] ?? NaN) - slope), `${name}[${at}] ${slope}`).toBeLessThan(
        1e-5 * (1 + Math.abs(slope)),
      );
    }
  });

  it.each([LLAMA_JSON, GPT2_JSON])(
    "of $model_type gives the same whatever the head's chunks",
    (json) => {
      const results = [1, 7, 16].map((headChunkRows) => {
        const training = buildTrainingPlan({
          model: modelOf(parseModelConfig(json)),
          ...SIZES,
          headChunkRows,
        });
        const runner = start(training);
        runner.run("forward_backward");
        return { training, runner };
      });
      const [reference, ...others] = results;
      if (reference === undefined) throw new Error("no runs");
      for (const { runner } of others) {
        expect(runner.view("loss_sum")[0]).toBeCloseTo(
          reference.runner.view("loss_sum")[0] ?? NaN,
          6,
        );
        for (const { name } of reference.training.model.parameters.weights) {
          const expected = reference.runner.view(gradientName(name));
          runner
            .view(gradientName(name))
            .forEach((value, i) =>
              expect(Math.abs(value - (expected[i] ?? NaN))).toBeLessThan(1e-6),
            );
        }
      }
    },
  );
});
