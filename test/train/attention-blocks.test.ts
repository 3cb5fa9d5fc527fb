import { describe, expect, it } from "vitest";
import type { LoadedPlan } from "../../src/engine/engine.ts";
import { initialiseWeight, modelOf, parseModelConfig } from "../../src/model/index.ts";
import { functionCost } from "../../src/plan/function-cost.ts";
import type { Plan } from "../../src/plan/plan.ts";
import type { Batch } from "../../src/text/index.ts";
import { TRAIN_DEFAULTS } from "../../src/train/config/config.ts";
import { plannedModel } from "../../src/train/run/prepare.ts";
import { planOf } from "../../src/train/run/plan-of.ts";
import { trainedModel } from "../../src/train/run/trained-model.ts";
import { writeBatch } from "../../src/train/step/batch-inputs.ts";
import { buildTrainingPlan, gradientName } from "../../src/train/step/step-plan.ts";
import { Random } from "../../src/util/random.ts";
import { GEMMA2_JSON, GEMMA3_JSON, GPT2_JSON, LLAMA_JSON } from "../model/configs.ts";
import { PlanRunner } from "../model/plan-runner.ts";

const S = 14;
const ROWS = 2;
/** Neither a divisor of the rows nor of the windows. */
const BLOCK_ROWS = 4;

const random = new Random(3);
const draw = (): Int32Array => Int32Array.from({ length: ROWS * S }, () => random.below(50));
const PLAIN: Batch = {
  ...{ batchSize: ROWS, sequenceLength: S, inputs: draw(), targets: draw() },
  validTargetCount: ROWS * S,
};
/** A document that ends inside a block, one of several blocks. */
const documents = Int32Array.from({ length: ROWS * S }, (_, at) => (at % S < 5 ? 0 : 1));
const positions = Int32Array.from({ length: ROWS * S }, (_, at) =>
  at % S < 5 ? at % S : (at % S) - 5,
);
const PACKED: Batch = { ...PLAIN, packing: { positions, documents } };

function build(json: object, batch: Batch, attentionBlockRows?: number) {
  return buildTrainingPlan({
    model: modelOf(parseModelConfig(json)),
    ...{ batchSize: ROWS, sequenceLength: S, accumulation: false, recompute: "auto" },
    isPacked: batch.packing !== undefined,
    ...(attentionBlockRows !== undefined && { attentionBlockRows }),
  });
}

/** Loss and gradients in double precision. */
function learned({ plan, model }: ReturnType<typeof build>, batch: Batch): PlanRunner {
  const runner = new PlanRunner(plan, "float64");
  for (const weight of model.parameters.weights) {
    const fresh = new Float32Array(runner.view(weight.name).length);
    initialiseWeight(weight, 2, fresh);
    runner.view(weight.name).set(fresh.map((value) => (value === 1 ? 1 : value * 5)));
  }
  const loaded = { plan, view: (name: string) => runner.view(name) };
  writeBatch(loaded as unknown as LoadedPlan, batch);
  runner.view("loss_scale").fill(1);
  runner.run("forward_backward");
  return runner;
}

function flopsOf(plan: Plan): number {
  return (plan.sections.get("forward_backward") ?? []).reduce((sum, { program }) => {
    const fn = plan.programs.get(program)?.function;
    return sum + (fn === undefined ? 0 : functionCost(fn).flops);
  }, 0);
}

describe("attention in blocks of rows", () => {
  it.each(
    [LLAMA_JSON, GPT2_JSON, GEMMA2_JSON, GEMMA3_JSON].map(
      (json) => [json.model_type, json] as const,
    ),
  )(
    "of %s gives the loss and the gradients of the whole square, packed too, with fewer operations",
    (_, json) => {
      for (const batch of [PLAIN, PACKED]) {
        const whole = build(json, batch);
        const cut = build(json, batch, BLOCK_ROWS);
        const wanted = learned(whole, batch);
        const found = learned(cut, batch);
        expect(found.view("loss_sum")[0]).toBeCloseTo(wanted.view("loss_sum")[0] ?? NaN, 9);
        for (const { name } of whole.model.parameters.weights) {
          const numbers = wanted.view(gradientName(name));
          const others = found.view(gradientName(name));
          const largest = numbers.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
          const apart = numbers.reduce(
            (most, value, at) => Math.max(most, Math.abs(value - (others[at] ?? NaN))),
            0,
          );
          expect(apart, name).toBeLessThan(1e-9 * Math.max(1, largest));
        }
        expect(flopsOf(cut.plan)).toBeLessThan(flopsOf(whole.plan));
      }
    },
  );

  it("is what a processor takes from 256 tokens on, and no Neural Engine nor the oracle", () => {
    const attentions = (engine: string, max_seq_length: number): number => {
      const config = {
        ...TRAIN_DEFAULTS,
        engine,
        max_seq_length,
        preset: "stories15M" as const,
        min_learning_rate: 0,
        muon_learning_rate: 0,
      };
      const { plan } = planOf(config, trainedModel(config, plannedModel(config)));
      const fn = plan.programs.get("block_evaluate")?.function;
      return fn?.operations.filter(({ type }) => type === "softmax").length ?? 0;
    };
    expect(attentions("cpu", 256)).toBe(4);
    expect(attentions("cpu", 128)).toBe(1);
    for (const engine of ["reference", "sim:m4", "ane"]) expect(attentions(engine, 256)).toBe(1);
  });
});
