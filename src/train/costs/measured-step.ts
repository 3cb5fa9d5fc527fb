import type { Driver } from "../../chip/chip.ts";
import { createEngine } from "../../engine/create.ts";
import { runSections } from "../../engine/host/run-sections.ts";
import { modelOf, withOrigin } from "../../model/index.ts";
import { restoreWeights } from "../run/checkpoint-contents.ts";
import { predictStep } from "./prediction.ts";
import type { StepPrediction } from "./prediction.ts";
import { presetOf } from "../config/presets.ts";
import { buildTrainingPlan } from "../step/step-plan.ts";

/** A training step that was timed, in milliseconds, beside what the cost model says of an engine. */
export interface MeasuredStep {
  readonly preset: string;
  readonly batchSize: number;
  readonly sequenceLength: number;
  /** Median milliseconds of an update on the engine. */
  readonly ms: number;
  /** Absent where the engine is a Neural Engine. */
  readonly predicted?: StepPrediction;
}

const PRESET = "nanogpt-char";
const BATCH_SIZE = 12;
const SEQUENCE_LENGTH = 64;
const RUNS = 7;

/** Times some updates of a small model with random tokens, to compare machines; `driver` is the prediction's. */
export async function measureStep(engineName: string, driver?: Driver): Promise<MeasuredStep> {
  const { model: config } = presetOf(PRESET);
  const model = withOrigin(modelOf(config), { kind: "drawn", seed: 1 });
  const { plan } = buildTrainingPlan({
    model,
    batchSize: BATCH_SIZE,
    sequenceLength: SEQUENCE_LENGTH,
    accumulation: false,
  });
  const engine = await createEngine(engineName);
  try {
    const loaded = await engine.load(plan);
    restoreWeights(model, undefined, (name) => loaded.view(name));
    for (const name of ["tokens", "targets"]) {
      const tokens = loaded.view(name);
      for (let i = 0; i < tokens.length; i++) tokens[i] = (i * 37) % config.vocabularySize;
    }
    const scalars = { loss_scale: 1 / (BATCH_SIZE * SEQUENCE_LENGTH), gradient_scale: 1 };
    const rates = { learning_rate: 1e-4, bias_correction1: 0.1, bias_correction2: 0.01 };
    for (const [name, value] of Object.entries({ ...scalars, ...rates }))
      loaded.view(name)[0] = value;
    const times: number[] = [];
    // The first one compiles.
    for (let run = 0; run <= RUNS; run++) {
      const startedMs = performance.now();
      // As a run's steps follow one another.
      await runSections(loaded, ["update", "forward_backward", "gradient_norm"]);
      if (run > 0) times.push(performance.now() - startedMs);
    }
    await loaded.close();
    const predicted = predictStep(plan, 1, engine.description.name, driver);
    return {
      preset: PRESET,
      batchSize: BATCH_SIZE,
      sequenceLength: SEQUENCE_LENGTH,
      ms: times.sort((a, b) => a - b)[Math.floor(RUNS / 2)] ?? 0,
      ...(predicted !== undefined && { predicted }),
    };
  } finally {
    await engine.close();
  }
}
