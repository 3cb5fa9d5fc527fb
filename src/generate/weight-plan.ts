import type { Engine, LoadedPlan } from "../engine/engine.ts";
import { weightViews } from "../engine/weight-views.ts";
import { loadWeights } from "../model/index.ts";
import type { Model } from "../model/index.ts";
import { buildWeightsPlan } from "./decode-plan.ts";

/** A plan that only holds a model's weights, filled from its folder; decode plans share them. */
export async function loadWeightPlan(
  engine: Engine,
  model: Model,
  folder: string,
): Promise<LoadedPlan> {
  const loaded = await engine.load(buildWeightsPlan(model));
  loadWeights(
    folder,
    model,
    weightViews((name) => loaded.view(name)),
  );
  return loaded;
}
