import { modelOf } from "../../../src/model/model.ts";
import { createSimEngine } from "../../../src/engine/sim/index.ts";
import type { Engine, LoadedPlan } from "../../../src/engine/engine.ts";
import { initialiseWeights } from "../../../src/model/initialise.ts";
import { parseModelConfig } from "../../../src/model/config-json.ts";
import { optimize } from "../../../src/passes/pipeline.ts";
import type { ExpectedRuns } from "../../../src/lower/join-dispatches.ts";
import type { Batches } from "../../../src/text/index.ts";
import { buildTrainingPlan } from "../../../src/train/step/step-plan.ts";
import type { TrainingPlan, TrainingPlanOptions } from "../../../src/train/step/step-plan.ts";
import { Trainer } from "../../../src/train/step/trainer.ts";
import type { TrainerOptions } from "../../../src/train/step/trainer.ts";

export const TINY_GPT2 = {
  model_type: "gpt2",
  vocab_size: 50,
  n_embd: 32,
  n_layer: 2,
  n_head: 4,
  n_positions: 64,
};

export function tinyPlan(
  json: object = TINY_GPT2,
  options: Partial<TrainingPlanOptions> = {},
): TrainingPlan {
  return buildTrainingPlan({
    model: modelOf(parseModelConfig(json)),
    batchSize: 2,
    sequenceLength: 16,
    headChunkRows: 20,
    targetRows: true,
    optimize: (fn) => optimize(fn),
    ...options,
  });
}

/** Writes the same first weights into any engine's plan. */
export function initialise(training: TrainingPlan, loaded: LoadedPlan): void {
  for (const weight of training.model.parameters.weights) {
    const view = loaded.view(weight.name) as Float32Array;
    const fresh = new Float32Array(view.length);
    initialiseWeights([weight], 11, () => fresh);
    // Large enough that no factor of a norm's derivative leaves fp16.
    view.set(fresh.map((value) => (value === 1 ? 1 : value * 5)));
  }
}

const TOKENS = Int32Array.from({ length: 600 }, (_, i) => (i * i * 7 + i) % 50);

export function trainerOf(
  loaded: LoadedPlan,
  accumulationSteps: number,
  options: Partial<TrainerOptions> = {},
): Trainer {
  return new Trainer({
    loaded,
    batches: batchesOf(TOKENS),
    schedule: {
      kind: "constant",
      learningRate: 3e-3,
      minimumLearningRate: 0,
      warmupSteps: 0,
      maxSteps: 100,
    },
    accumulationSteps,
    beta1: 0.9,
    beta2: 0.95,
    weightDecay: 0.1,
    maxGradientNorm: 1,
    ...options,
  });
}

function batchesOf(tokens: Int32Array): Batches {
  let at = 0;
  return {
    isPacked: false,
    get state() {
      return at;
    },
    next: () => {
      const inputs = Int32Array.from({ length: 32 }, (_, i) => tokens[(at + i) % 600] ?? 0);
      const targets = Int32Array.from({ length: 32 }, (_, i) =>
        i % 9 === 8 ? -100 : (tokens[(at + i + 1) % 600] ?? 0),
      );
      at += 32;
      const validTargetCount = targets.filter((t) => t >= 0).length;
      return { batchSize: 2, sequenceLength: 16, inputs, targets, validTargetCount };
    },
  };
}

/** Losses and gradient norms of some steps of a training. */
export async function train(
  engine: Engine,
  steps: number,
  {
    json = TINY_GPT2,
    accumulationSteps = 1,
    expectedRuns,
    options,
  }: {
    json?: object;
    accumulationSteps?: number;
    expectedRuns?: ExpectedRuns;
    options?: Partial<TrainingPlanOptions>;
  } = {},
): Promise<readonly (readonly number[])[]> {
  const training = tinyPlan(json, options);
  const loaded = await engine.load(training.plan, { expectedRuns });
  try {
    initialise(training, loaded);
    const trainer = trainerOf(loaded, accumulationSteps);
    const results: (readonly number[])[] = [];
    for (let step = 0; step < steps; step++) {
      const { loss, gradientNorm } = await trainer.update(() => undefined);
      results.push([loss, gradientNorm]);
    }
    const { loss } = await trainer.evaluate([batchesOf(TOKENS).next()]);
    return [...results, [loss]];
  } finally {
    await loaded.close();
  }
}

export function simulator(chip: string): Engine {
  return createSimEngine(chip, { threads: 1 });
}
