import { describe, expect, it } from "vitest";
import { createEngine } from "../../src/engine/create.ts";
import type { LoadedPlan } from "../../src/engine/engine.ts";
import { initialiseWeight, modelOf, parseModelConfig } from "../../src/model/index.ts";
import { checkBatch, countTargets, IGNORED_TARGET } from "../../src/text/index.ts";
import type { Batch, Batches } from "../../src/text/index.ts";
import { writeBatch } from "../../src/train/step/batch-inputs.ts";
import {
  buildEvaluationPlan,
  buildTrainingPlan,
  gradientName,
} from "../../src/train/step/step-plan.ts";
import type { TrainingPlan } from "../../src/train/step/step-plan.ts";
import { evaluateBatches, Trainer } from "../../src/train/step/trainer.ts";
import { Random } from "../../src/util/random.ts";
import { FAMILY_JSON, GPT2_JSON, LLAMA_JSON } from "../model/configs.ts";
import { PlanRunner } from "../model/plan-runner.ts";

const S = 16;
/** Lengths of the documents of each row, as many as fit. */
const ROWS = [
  [5, 7, 3],
  [9, 1, 6],
];

const random = new Random(8);
const DOCUMENTS = ROWS.map((lengths) =>
  lengths.map((length) => Array.from({ length: length + 1 }, () => random.below(50))),
);

/** Rows of documents as a batch; the first target of every second document is left out. */
function batchOf(rows: readonly (readonly (readonly number[])[])[]): Batch {
  const size = rows.length * S;
  const inputs = new Int32Array(size);
  const targets = new Int32Array(size).fill(IGNORED_TARGET);
  const positions = new Int32Array(size);
  const documents = new Int32Array(size);
  rows.forEach((texts, row) => {
    let at = row * S;
    texts.forEach((text, number) => {
      text.slice(0, -1).forEach((token, position) => {
        inputs[at] = token;
        const isLeftOut = position === 0 && (text[0] ?? 0) % 2 === 0;
        targets[at] = isLeftOut ? IGNORED_TARGET : (text[position + 1] ?? 0);
        positions[at] = position;
        documents[at++] = number;
      });
    });
    documents.fill(texts.length, at, (row + 1) * S);
  });
  const validTargetCount = countTargets(targets);
  const packing = { positions, documents };
  return { batchSize: rows.length, sequenceLength: S, inputs, targets, validTargetCount, packing };
}

const PACKED = batchOf(DOCUMENTS);
const { packing: _, ...ALONE } = batchOf(DOCUMENTS.flat().map((text) => [text]));

function build(json: object, batch: Batch, recompute: "none" | "auto" | "full"): TrainingPlan {
  return buildTrainingPlan({
    model: modelOf(parseModelConfig(json)),
    batchSize: batch.batchSize,
    sequenceLength: S,
    isPacked: batch.packing !== undefined,
    recompute,
  });
}

/** Loss and gradients in double precision. */
function gradients(training: TrainingPlan, batch: Batch): PlanRunner {
  const runner = new PlanRunner(training.plan, "float64");
  for (const weight of training.model.parameters.weights) {
    const fresh = new Float32Array(runner.view(weight.name).length);
    initialiseWeight(weight, 2, fresh);
    runner.view(weight.name).set(fresh.map((value) => (value === 1 ? 1 : value * 5)));
  }
  const loaded = { plan: training.plan, view: (name: string) => runner.view(name) };
  writeBatch(loaded as unknown as LoadedPlan, batch);
  runner.view("loss_scale").fill(1 / batch.validTargetCount);
  runner.run("forward_backward");
  return runner;
}

describe("documents packed into rows", () => {
  it.each(FAMILY_JSON)(
    "of $model_type have the loss and the gradients of documents alone, whatever is recomputed",
    (json) => {
      const alone = build(json, ALONE, "none");
      const expected = gradients(alone, ALONE);
      expect(PACKED.validTargetCount).toBe(ALONE.validTargetCount);
      for (const recompute of ["none", "auto", "full"] as const) {
        const packed = gradients(build(json, PACKED, recompute), PACKED);
        expect(packed.view("loss_sum")[0]).toBeCloseTo(expected.view("loss_sum")[0] ?? NaN, 9);
        for (const { name } of alone.model.parameters.weights) {
          const reference = expected.view(gradientName(name));
          packed
            .view(gradientName(name))
            .forEach((value, i) => expect(value, name).toBeCloseTo(reference[i] ?? NaN, 9));
        }
        packed.run("evaluate");
        expect(packed.view("loss_sum")[0]).toBeCloseTo(expected.view("loss_sum")[0] ?? NaN, 9);
      }
    },
  );

  it("would have another loss if they saw each other", () => {
    const apart = gradients(build(LLAMA_JSON, PACKED, "none"), PACKED).view("loss_sum")[0] ?? NaN;
    const { packing: packed, ...joined } = PACKED;
    expect(packed).toBeDefined();
    const together =
      gradients(build(LLAMA_JSON, joined, "none"), joined).view("loss_sum")[0] ?? NaN;
    expect(Math.abs(together - apart)).toBeGreaterThan(0.01);
  });

  it.each([
    ["cpu", 1e-6],
    ["reference", 1e-6],
    ["sim:m4", 3e-3],
  ])("train and are judged on %s as documents alone", async (engineName, tolerance) => {
    const engine = await createEngine(engineName, { threads: 1 });
    const results: number[][] = [];
    for (const batch of [ALONE, PACKED]) {
      for (const json of [LLAMA_JSON, GPT2_JSON]) {
        const { plan, model } = build({ ...json, hidden_size: 32, n_embd: 32 }, batch, "full");
        const loaded = await engine.load(plan);
        for (const weight of model.parameters.weights)
          initialiseWeight(weight, 4, loaded.view(weight.name) as Float32Array);
        const trainer = new Trainer({
          loaded,
          batches: repeated(batch),
          schedule: SCHEDULE,
          accumulationSteps: 2,
          ...{ beta1: 0.9, beta2: 0.95, weightDecay: 0.1, maxGradientNorm: 1 },
        });
        const losses: number[] = [];
        for (let step = 0; step < 3; step++) {
          const { loss, gradientNorm, tokenCount } = await trainer.update(() => undefined);
          expect(tokenCount).toBe(2 * PACKED.validTargetCount);
          losses.push(loss, gradientNorm);
        }
        losses.push((await trainer.evaluate([batch])).loss);
        results.push(losses);
        await loaded.close();
      }
    }
    for (const family of [0, 1]) {
      results[family]?.forEach((loss, at) => {
        const packed = results[family + 2]?.[at] ?? NaN;
        expect(Math.abs(packed - loss) / loss).toBeLessThan(tolerance);
      });
    }
    await engine.close();
  });

  it("may stand beside plain rows, each of which is one document", async () => {
    const engine = await createEngine("cpu", { threads: 1 });
    const model = modelOf(parseModelConfig(LLAMA_JSON));
    const { batchSize } = ALONE;
    const losses: number[] = [];
    for (const isPacked of [true, false]) {
      const sizes = { batchSize, sequenceLength: S, isPacked };
      const loaded = await engine.load(buildEvaluationPlan({ model, ...sizes }));
      for (const weight of model.parameters.weights)
        initialiseWeight(weight, 4, loaded.view(weight.name) as Float32Array);
      losses.push((await evaluateBatches(loaded, [ALONE])).loss);
      await loaded.close();
    }
    expect(losses[0]).toBeCloseTo(losses[1] ?? NaN, 6);
    await engine.close();
  });
});

const SCHEDULE = {
  kind: "constant",
  learningRate: 1e-3,
  minimumLearningRate: 0,
  warmupSteps: 0,
  maxSteps: 10,
} as const;

/** The same batch again and again, or what a function makes of the number of it. */
function repeated(batch: Batch, make: (number: number) => Batch = () => batch): Batches {
  let number = 0;
  return {
    isPacked: batch.packing !== undefined,
    get state() {
      return number;
    },
    next: () => make(number++),
  };
}

describe("a batch", () => {
  it("is refused where its arrays, targets, positions or documents are not what it says", () => {
    const packing = PACKED.packing ?? { positions: new Int32Array(), documents: new Int32Array() };
    const changed = (array: Int32Array, value: number): Int32Array => array.with(3, value);
    const bad =
      (change: Partial<Batch>): (() => void) =>
      () =>
        checkBatch({ ...PACKED, ...change });
    expect(bad({})).not.toThrow();
    expect(bad({ inputs: PACKED.inputs.slice(1) })).toThrow("inputs has 31 numbers, 32 belong");
    expect(bad({ targets: changed(PACKED.targets, -1) })).toThrow("neither a token nor -100");
    expect(bad({ validTargetCount: 1 })).toThrow("1 targets are said to count");
    expect(bad({ packing: { ...packing, positions: changed(packing.positions, S) } })).toThrow(
      "a position is 16",
    );
    expect(bad({ packing: { ...packing, documents: changed(packing.documents, 2048) } })).toThrow(
      "at most 2048",
    );
  });

  it("with packed rows is refused by a plan for plain ones", async () => {
    const engine = await createEngine("reference");
    const plain = await engine.load(build(LLAMA_JSON, { ...ALONE, batchSize: 2 }, "none").plan);
    expect(() => writeBatch(plain, PACKED)).toThrow("built for one");
    expect(() => writeBatch(plain, ALONE)).toThrow("the plan takes 2 of 16");
    await engine.close();
  });

  it("without targets ends a step before any weight changes, and not the step before it", async () => {
    const none = { ...ALONE, targets: ALONE.targets.map(() => -100), validTargetCount: 0 };
    const engine = await createEngine("cpu", { threads: 1 });
    for (const wrong of [none, { ...ALONE, validTargetCount: 3 }]) {
      const { plan, model } = build(LLAMA_JSON, ALONE, "none");
      const loaded = await engine.load(plan);
      for (const weight of model.parameters.weights)
        initialiseWeight(weight, 4, loaded.view(weight.name) as Float32Array);
      const trainer = new Trainer({
        loaded,
        batches: repeated(ALONE, (number) => (number === 1 ? wrong : ALONE)),
        schedule: SCHEDULE,
        accumulationSteps: 1,
        ...{ beta1: 0.9, beta2: 0.95, weightDecay: 0.1, maxGradientNorm: 1 },
      });
      await trainer.update(() => undefined);
      const before = loaded.view("lm_head.weight").slice();
      await expect(trainer.update(() => undefined)).rejects.toThrow(/targets/);
      expect(trainer.step).toBe(1);
      expect(loaded.view("lm_head.weight")).toEqual(before);
      await loaded.close();
    }
    await engine.close();
  });
});
