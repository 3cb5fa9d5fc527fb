// Plain functions that change a model's parameters: from a model to another one, which shares the rest.
import { ModelError } from "./errors.ts";
import type { Model } from "./model.ts";
import { parametersOf } from "./parameters.ts";
import type { Origin, StageInstance, Weight } from "./parameters.ts";

/** A weight is chosen by its name, or by anything else about it. */
export type WeightChoice = (weight: Weight) => boolean;

/** The model with each weight replaced by what `change` gives for it; a tied head's table changes with its owner. */
export function withWeights(model: Model, change: (weight: Weight) => Weight): Model {
  const { embed, blocks, head } = model.parameters;
  const changed = (stage: StageInstance): StageInstance => ({
    ...stage,
    weights: stage.weights.map((weight) => Object.freeze(change(weight))),
  });
  return Object.freeze({
    ...model,
    parameters: parametersOf(changed(embed), blocks.map(changed), changed(head)),
  });
}

/** The model with the chosen weights frozen: no gradient, no moments, no place in checkpoints. Default: all. */
export function frozen(model: Model, isChosen: WeightChoice = () => true): Model {
  return withWeights(model, (weight) =>
    isChosen(weight) ? { ...weight, trainable: false } : weight,
  );
}

/** The model of which only the last `layerCount` blocks are trained. Throws `ModelError` where it has fewer. */
export function onlyLastBlocks(model: Model, layerCount: number): Model {
  const { blocks } = model.parameters;
  if (!Number.isInteger(layerCount) || layerCount < 1 || layerCount > blocks.length) {
    throw new ModelError(
      "model.layers",
      `the last ${layerCount} layers are to be trained, the model has ${blocks.length}`,
    );
  }
  const names = new Set(
    blocks.slice(-layerCount).flatMap(({ weights }) => weights.map(({ name }) => name)),
  );
  return frozen(model, ({ name }) => !names.has(name));
}

/** The model whose chosen weights come from somewhere else. Default: all. */
export function withOrigin(
  model: Model,
  origin: Origin,
  isChosen: WeightChoice = () => true,
): Model {
  return withWeights(model, (weight) => (isChosen(weight) ? { ...weight, origin } : weight));
}
