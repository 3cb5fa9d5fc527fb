import type { Engine, LoadedPlan } from "../../src/engine/engine.ts";
import { buildWeightsPlan } from "../../src/generate/decode-plan.ts";
import { initialiseWeight } from "../../src/model/index.ts";
import type { Model } from "../../src/model/index.ts";

/** Weights of a model as they are drawn, matrices eight times as large, so that tokens differ. */
export async function freshWeights(engine: Engine, model: Model): Promise<LoadedPlan> {
  const weights = await engine.load(buildWeightsPlan(model));
  for (const weight of model.parameters.weights) {
    const view = weights.view(weight.name) as Float32Array;
    initialiseWeight(weight, 5, view);
    if (weight.decays) view.forEach((value, index) => (view[index] = value * 8));
  }
  return weights;
}
