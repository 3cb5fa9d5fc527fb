import { createEngine, engineOptions } from "../../engine/create.ts";
import type { Engine, LoadedPlan } from "../../engine/engine.ts";
import { runSections } from "../../engine/host/run-sections.ts";
import { openFileWeights } from "../../model/index.ts";
import type { FileWeights, ModelConfig } from "../../model/index.ts";
import { resolveModelFolder } from "../../runs/model-path.ts";
import type { TimedSettings } from "../config/part-settings.ts";
import { TrainError } from "../errors.ts";
import { restoreWeights } from "../run/checkpoint-contents.ts";
import { planOf } from "../run/plan-of.ts";
import { plannedModel } from "../run/prepare.ts";
import { trainedModel } from "../run/trained-model.ts";

/** A step of a whole model, from steps of its first layers that were timed on this machine. */
export interface StepFromLayers {
  readonly engine: string;
  /** Milliseconds of an update of all layers. */
  readonly ms: number;
  /** Milliseconds of what one layer adds. */
  readonly layerMs: number;
  readonly layerCount: number;
}

/** Layers of the two models that are timed: what the others have in common, and two layers more. */
const FEW = 1;
const MORE = 3;
const RUNS = 4;

/**
 * Times updates of a run's model with few of its layers and says what all of them would take. Weights are drawn, nothing
 * is written. Throws `TrainError` for a model of fewer layers than are timed.
 */
export async function measureLayers(config: TimedSettings): Promise<StepFromLayers> {
  const whole = plannedModel(config);
  if (whole.layerCount < MORE) {
    throw new TrainError(
      "train.measure.layers",
      `${MORE} layers are timed, the model has ${whole.layerCount}`,
      { remedy: "Train it: its events tell the time of a step." },
    );
  }
  const files = openBase(config, whole);
  const engine = await createEngine(config.engine, engineOptions(config));
  try {
    const models = [await loadedStep(config, engine, whole, FEW, files)];
    try {
      models.push(await loadedStep(config, engine, whole, MORE, files));
      // In turns, so that what else the machine does falls on both; the first of each compiles.
      const best = [Infinity, Infinity];
      for (let run = 0; run <= RUNS; run++) {
        for (const [index, loaded] of models.entries()) {
          const startedMs = performance.now();
          await runSections(loaded, ["forward_backward", "gradient_norm", "update"]);
          const ms = performance.now() - startedMs;
          if (run > 0) best[index] = Math.min(best[index] ?? ms, ms);
        }
      }
      const [few = 0, more = 0] = best;
      const layerMs = Math.max(0, more - few) / (MORE - FEW);
      const { layerCount } = whole;
      const ms = (few + (layerCount - FEW) * layerMs) * config.gradient_accumulation_steps;
      return { engine: engine.description.name, ms, layerMs, layerCount };
    } finally {
      for (const loaded of models) await loaded.close();
    }
  } finally {
    await engine.close();
    files?.close();
  }
}

/** A model of so many layers, ready to be stepped over made-up tokens. */
async function loadedStep(
  config: TimedSettings,
  engine: Engine,
  whole: ModelConfig,
  layerCount: number,
  files: FileWeights | undefined,
): Promise<LoadedPlan> {
  const shape: ModelConfig = { ...whole, layerCount };
  const model = trainedModel({ ...config, trained_layers: -1 }, shape);
  const { plan } = planOf(config, model);
  const loaded = await engine.load(plan, files === undefined ? {} : { readWeight: files.read });
  restoreWeights(model, undefined, (name) => loaded.view(name));
  for (const name of ["tokens", "targets"]) {
    const tokens = loaded.view(name);
    for (let i = 0; i < tokens.length; i++) tokens[i] = (i * 37) % shape.vocabularySize;
  }
  const rows = config.batch_size * config.max_seq_length;
  const scalars = { loss_scale: 1 / rows, gradient_scale: 1, learning_rate: 1e-6 };
  const corrections = { bias_correction1: 0.1, bias_correction2: 0.01 };
  for (const [name, value] of Object.entries({ ...scalars, ...corrections }))
    loaded.view(name)[0] = value;
  return loaded;
}

/** The file of a base that stays there: reading it is part of a step. */
function openBase(config: TimedSettings, whole: ModelConfig): FileWeights | undefined {
  if (config.base_weights !== "file" || config.model === undefined) return undefined;
  return openFileWeights(trainedModel(config, whole, resolveModelFolder(config.model)));
}
