import { hasWeights } from "../../model/index.ts";
import type { Model } from "../../model/index.ts";
import type { MethodSettings } from "../config/part-settings.ts";
import type { ModelSettings } from "../config/part-settings.ts";
import { modelFolderOf, plannedModel } from "./prepare.ts";
import { trainedModel } from "./trained-model.ts";

/**
 * The model that a run would train, without its data, for plans and prices: what is packed in the model's file stands as
 * it does there, in groups of its own. A folder may have a configuration alone. `layerCount`: of so many layers in place of
 * all. Throws what `trainedModel` throws.
 */
export function plannedTraining(
  config: MethodSettings & ModelSettings,
  layerCount?: number,
): Model {
  const folder = modelFolderOf(config);
  const hasNumbers = folder !== undefined && hasWeights(folder);
  const whole = plannedModel(config);
  const shape = layerCount === undefined ? whole : { ...whole, layerCount };
  return trainedModel(config, shape, hasNumbers ? folder : undefined);
}
