// Plain functions that change a model's parameters: from a model to another one, which shares the rest.
import { staticShape } from "../mil/types.ts";
import { formatStorage, isGrouped, storedTypes } from "../plan/storage.ts";
import type { Storage } from "../plan/storage.ts";
import { adapterPart } from "./adapters/adapter.ts";
import { ModelError } from "./errors.ts";
import type { Model } from "./model.ts";
import { parametersOf } from "./parameters.ts";
import type { Origin, StageInstance, Weight } from "./parameters.ts";

/** A weight is chosen by its name, or by anything else about it. */
export type WeightChoice = (weight: Weight) => boolean;

/** The model with each weight replaced by what `change` gives for it; a tied head's table changes with its owner. */
export function withWeights(model: Model, change: (weight: Weight) => Weight): Model {
  const { embed, blocks, head, adapter } = model.parameters;
  const changed = (stage: StageInstance): StageInstance => ({
    ...stage,
    weights: stage.weights.map((weight) => Object.freeze(change(weight))),
  });
  return Object.freeze({
    ...model,
    parameters: parametersOf(changed(embed), blocks.map(changed), changed(head), adapter),
  });
}

/** The model with the chosen weights frozen: no gradient, no moments, no place in checkpoints. Default: all. */
export function frozen(model: Model, isChosen: WeightChoice = () => true): Model {
  return withWeights(model, (weight) =>
    isChosen(weight) ? { ...weight, trainable: false } : weight,
  );
}

/**
 * The model whose trained matrices of blocks are updated by Muon; tables, head, norms and biases stay with AdamW, as
 * what is stored in another form than fp32.
 */
export function withMuon(model: Model): Model {
  const matrices = new Set(
    model.parameters.blocks.flatMap(({ weights }) =>
      weights
        .filter(({ type, trainable, decays }) => trainable && decays && type.shape.length === 2)
        .map(({ name }) => name),
    ),
  );
  return withWeights(model, (weight) =>
    matrices.has(weight.name) ? { ...weight, updateRule: "muon" } : weight,
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

/**
 * The model whose frozen matrices and tables stay in their file and are read before each use; vectors stand in memory.
 * Numbers are those that they would have in memory, storage included.
 */
export function inFile(model: Model): Model {
  return withWeights(model, (weight) =>
    !weight.trainable && weight.decays && adapterPart(weight) === undefined
      ? { ...weight, residence: "file" }
      : weight,
  );
}

/** Matrices and tables whose rows are made of whole groups of a storage; those of an adapter stay as they are. */
function suits(weight: Weight, storage: Storage): boolean {
  const { type, decays } = weight;
  const columns = type.shape.at(-1);
  if (!decays || type.shape.length < 2 || typeof columns !== "number") return false;
  if (adapterPart(weight) !== undefined) return false;
  return !isGrouped(storage) || columns % storage.groupSize === 0;
}

/**
 * The model with the chosen weights stored otherwise than as fp32; only frozen ones can be, where a plan trains.
 * Default: all matrices and tables that the storage suits. Throws `ModelError` where there is none, `PlanError` for a
 * chosen weight whose rows are not made of whole groups.
 */
export function quantized(model: Model, storage: Storage, isChosen?: WeightChoice): Model {
  const chosen = model.parameters.weights.filter((weight) =>
    isChosen === undefined ? suits(weight, storage) : isChosen(weight),
  );
  if (chosen.length === 0) {
    throw new ModelError(
      "model.storage",
      `no weight of this ${model.config.family} model can be stored as ${formatStorage(storage)}`,
      { remedy: "Choose a smaller group size." },
    );
  }
  for (const { name, type } of chosen) storedTypes(name, staticShape(type), storage);
  const names = new Set(chosen.map(({ name }) => name));
  return withWeights(model, (weight) => (names.has(weight.name) ? { ...weight, storage } : weight));
}
