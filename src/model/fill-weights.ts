import { resolve } from "node:path";
import { ADAPTER_CONFIG, isAdapterFolder, readAdapter } from "./adapters/adapter-files.ts";
import { fillAdapterWeights } from "./adapters/adapter-weights.ts";
import { ModelError } from "./errors.ts";
import { initialiseWeight } from "./initialise.ts";
import type { Model } from "./model.ts";
import type { Weight } from "./parameters.ts";
import { readBase } from "./trained-weights.ts";
import { readWeightFiles } from "./weight-files.ts";
import type { LoadedWeights } from "./weight-files.ts";
import { WeightMemory } from "./weight-memory.ts";
import type { WeightView } from "./weight-memory.ts";

/** Fills weights from where each comes from: all of the model's, or those of `weights`. Throws what `loadWeights` throws. */
export function fillWeights(
  model: Model,
  viewOf: WeightView,
  weights: readonly Weight[] = model.parameters.weights,
): void {
  fill(model, viewOf, weights, []);
}

/**
 * Reads a model folder's weights into the views, converting to fp32: all of the model's, or those of `weights`. A
 * folder that only has the trained ones names where the others come from, and they are read from there. Throws
 * `ModelError` for missing, unexpected and wrongly shaped tensors, `FileError` for files that cannot be read.
 */
export function loadWeights(
  folder: string,
  model: Model,
  viewOf: WeightView,
  weights: readonly Weight[] = model.parameters.weights,
): LoadedWeights {
  return load(folder, model, viewOf, weights, []);
}

/** `passed`: folders on whose account this one is read. */
function load(
  folder: string,
  model: Model,
  viewOf: WeightView,
  weights: readonly Weight[],
  passed: readonly string[],
): LoadedWeights {
  const base = readBase(folder);
  if (base === undefined) return readWeightFiles(folder, model, viewOf, weights);
  const here = resolve(folder);
  if (passed.includes(here)) {
    throw new ModelError("model.base", `${folder} names itself as the place of its frozen weights`);
  }
  const own: Weight[] = [];
  const others: Weight[] = [];
  for (const weight of weights) {
    const origin = base.get(weight.name)?.origin;
    if (origin === undefined) own.push(weight);
    else others.push({ ...weight, origin });
  }
  fill(model, viewOf, others, [...passed, here]);
  if (!isAdapterFolder(folder)) return readWeightFiles(folder, model, viewOf, own);
  fillAdapterWeights(model, viewOf, [{ stored: readAdapter(folder), weight: 1 }], own);
  return { files: [ADAPTER_CONFIG], types: ["F32"] };
}

function fill(
  model: Model,
  viewOf: WeightView,
  weights: readonly Weight[],
  passed: readonly string[],
): void {
  const byFolder = new Map<string, Weight[]>();
  for (const weight of weights) {
    const { origin } = weight;
    switch (origin.kind) {
      case "shared":
        break;
      case "drawn":
        draw(weight, origin.seed, new WeightMemory(weight, viewOf));
        break;
      case "file": {
        const group = byFolder.get(origin.folder) ?? [];
        group.push(weight);
        byFolder.set(origin.folder, group);
      }
    }
  }
  for (const [folder, group] of byFolder) load(folder, model, viewOf, group, passed);
}

/** Numbers are drawn one after the other, so a weight that is not kept as fp32 is drawn as a whole first. */
function draw(weight: Weight, seed: number, memory: WeightMemory): void {
  let drawn: Float32Array | undefined;
  memory.write((start, numbers) => {
    if (numbers.length === memory.length) {
      initialiseWeight(weight, seed, numbers);
      return;
    }
    if (drawn === undefined) {
      drawn = new Float32Array(memory.length);
      initialiseWeight(weight, seed, drawn);
    }
    numbers.set(drawn.subarray(start, start + numbers.length));
  });
}
