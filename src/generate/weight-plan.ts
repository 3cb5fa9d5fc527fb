import type { Engine, LoadedPlan } from "../engine/engine.ts";
import { weightViews } from "../engine/weight-views.ts";
import type { OpenModel } from "../model/index.ts";
import { buildWeightsPlan } from "./decode-plan.ts";

/** A plan that only holds a model's weights, filled; decode plans share them. */
export async function loadWeightPlan(
  engine: Engine,
  { model, load }: OpenModel,
): Promise<LoadedPlan> {
  const loaded = await engine.load(buildWeightsPlan(model));
  try {
    load(weightViews((name) => loaded.view(name)));
    return loaded;
  } catch (error) {
    await loaded.close();
    throw error;
  }
}
