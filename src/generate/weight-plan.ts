import type { Engine, LoadedPlan } from "../engine/engine.ts";
import { EngineError } from "../engine/errors.ts";
import { loadWeights, modelOf, modelWeights } from "../model/index.ts";
import type { ModelConfig } from "../model/index.ts";
import { PlanBuilder } from "../plan/builder.ts";

/** A plan that only holds a model's weights, filled from its folder; decode plans share them. */
export async function loadWeightPlan(
  engine: Engine,
  config: ModelConfig,
  folder: string,
): Promise<LoadedPlan> {
  const model = modelOf(config);
  const builder = new PlanBuilder("weights");
  const groups = new Map(
    model.stages.flatMap((stage) => stage.weights.map(({ name }) => [name, stage.group] as const)),
  );
  for (const { name, type } of modelWeights(model)) {
    builder.buffer(name, type, "weight", groups.get(name));
  }
  const loaded = await engine.load(builder.finish());
  loadWeights(folder, model, (name) => {
    const view = loaded.view(name);
    if (view instanceof Float32Array) return view;
    throw new EngineError("engine.view", `buffer ${name} does not hold fp32 numbers`);
  });
  return loaded;
}
