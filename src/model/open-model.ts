import { isAdapterFolder, readAdapter } from "./adapters/adapter-files.ts";
import {
  checkFits,
  fillAdapterWeights,
  isRoomFor,
  withStoredAdapters,
} from "./adapters/adapter-weights.ts";
import type { AdapterChoice } from "./adapters/adapter-weights.ts";
import { adapterPart } from "./adapters/adapter.ts";
import { readModelConfig } from "./read-config.ts";
import { ModelError } from "./errors.ts";
import { loadWeights } from "./fill-weights.ts";
import { modelOf } from "./model.ts";
import type { Model } from "./model.ts";
import type { Weight } from "./parameters.ts";
import { readBase } from "./trained-weights.ts";
import { withWeights } from "./transforms.ts";
import type { WeightView } from "./weight-memory.ts";

/** An adapter's folder, and how much of it is wanted; 1 is as it was trained. */
export interface AdapterSource {
  readonly folder: string;
  readonly weight: number;
}

/** A model of a folder, and how its weights are read. */
export interface OpenModel {
  readonly model: Model;
  /** Fills all weights, or some. Throws what `loadWeights` throws. */
  readonly load: (viewOf: WeightView, weights?: readonly Weight[]) => void;
}

/**
 * The model of a folder as it was trained: with its adapter, and with frozen weights stored as they were. Throws
 * `ModelError` for what is wrong in the folder.
 */
export function modelOfFolder(folder: string): Model {
  const whole = modelOf(readModelConfig(folder));
  const base = readBase(folder);
  const model =
    base === undefined
      ? whole
      : withWeights(whole, (weight) => ({
          ...weight,
          storage: base.get(weight.name)?.storage ?? weight.storage,
        }));
  if (!isAdapterFolder(folder)) return model;
  return withStoredAdapters(model, [{ stored: readAdapter(folder), weight: 1 }], true);
}

function choicesOf(adapters: readonly AdapterSource[]): readonly AdapterChoice[] {
  return adapters.map(({ folder, weight }) => ({ stored: readAdapter(folder), weight }));
}

/**
 * Whether a model that `openModel` gave with adapters has room for others in their place: of no more ranks, beside no
 * other modules. Throws `ModelError` for adapters that cannot be read.
 */
export function holdsAdapter(
  { parameters: { adapter } }: Model,
  adapters: readonly AdapterSource[],
): boolean {
  return adapter !== undefined && isRoomFor(adapter, choicesOf(adapters));
}

/**
 * Puts other adapters into a model's buffers, or none: programs stay as they are. Throws `ModelError` for adapters of
 * another model, or without room (`holdsAdapter`).
 */
export function refillAdapter(
  model: Model,
  viewOf: WeightView,
  adapters: readonly AdapterSource[],
): void {
  const choices = choicesOf(adapters);
  for (const { stored } of choices) checkFits(model, stored);
  fillAdapterWeights(model, viewOf, choices);
}

/**
 * The model of a folder with adapters from other folders beside its matrices. Throws `ModelError` for an adapter of
 * another model, and for adapters on a folder that has one of its own.
 */
export function openModel(folder: string, adapters: readonly AdapterSource[] = []): OpenModel {
  const model = modelOfFolder(folder);
  if (adapters.length === 0) {
    return {
      model,
      load: (viewOf, weights) => void loadWeights(folder, model, viewOf, weights),
    };
  }
  if (model.parameters.adapter !== undefined) {
    throw new ModelError("model.adapter", `${folder} has an adapter of its own`, {
      remedy: "Name its base model, and both adapters.",
    });
  }
  const choices = choicesOf(adapters);
  const adapted = withStoredAdapters(model, choices, false);
  return {
    model: adapted,
    load: (viewOf, weights = adapted.parameters.weights) => {
      const base = weights.filter((weight) => adapterPart(weight) === undefined);
      loadWeights(folder, adapted, viewOf, base);
      fillAdapterWeights(adapted, viewOf, choices, weights);
    },
  };
}
