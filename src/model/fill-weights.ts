import { resolve } from "node:path";
import { ADAPTER_CONFIG, isAdapterFolder, readAdapter } from "./adapters/adapter-files.ts";
import { fillAdapterWeights } from "./adapters/adapter-weights.ts";
import { adapterPart } from "./adapters/adapter.ts";
import { deriveNorms } from "./adapters/norms.ts";
import { closing } from "../util/closing.ts";
import { ModelError } from "./errors.ts";
import { initialiseAll, initialiseWeight } from "./initialise.ts";
import type { FreshWeight } from "./initialise.ts";
import type { Model } from "./model.ts";
import { openWeightSource } from "./model-files.ts";
import type { Weight } from "./parameters.ts";
import { readBase } from "./trained-weights.ts";
import { matchWeights, readWeightFiles } from "./weight-files.ts";
import type { LoadedWeights } from "./weight-files.ts";
import { WeightMemory } from "./weight-memory.ts";
import type { WeightView } from "./weight-memory.ts";

/**
 * Fills weights from where each comes from: all of the model's, or those of `weights`. What is drawn is drawn over
 * `threads`, or as many as the system offers. Throws what `loadWeights` throws.
 */
export function fillWeights(
  model: Model,
  viewOf: WeightView,
  weights: readonly Weight[] = model.parameters.weights,
  threads?: number,
): void {
  fill(model, viewOf, weights, [], threads);
  const names = new Set(weights.map(({ name }) => name));
  // Without A and B nobody can say how long the corrected matrices are.
  const isWhole = model.parameters.weights.every(
    (weight) => adapterPart(weight) === undefined || names.has(weight.name),
  );
  if (isWhole) deriveNorms(model, viewOf);
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

/**
 * Looks into the files that weights are to come from, without reading a number. Throws what `loadWeights` throws for
 * missing, unexpected and wrongly shaped tensors and for damaged files; a folder with a trained part alone is checked
 * where it is read.
 */
export function checkWeightFiles(model: Model): void {
  for (const [folder, weights] of byFolder(model.parameters.weights)) {
    if (readBase(folder) !== undefined) continue;
    closing(openWeightSource(folder, model.config), (source) =>
      matchWeights(source, model, weights),
    );
  }
}

/** Weights that come from files, by the file's folder. */
function byFolder(weights: readonly Weight[]): ReadonlyMap<string, readonly Weight[]> {
  const groups = new Map<string, Weight[]>();
  for (const weight of weights) {
    if (weight.origin.kind !== "file") continue;
    const { folder } = weight.origin;
    const group = groups.get(folder) ?? [];
    group.push(weight);
    groups.set(folder, group);
  }
  return groups;
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
  threads?: number,
): void {
  // What stays in its file has no memory (`openFileWeights`).
  const held = weights.filter(({ residence }) => residence !== "file");
  const drawn: FreshWeight[] = [];
  for (const weight of held)
    if (weight.origin.kind === "drawn") draw(weight, weight.origin.seed, viewOf, drawn);
  initialiseAll(drawn, threads);
  for (const [folder, group] of byFolder(held)) load(folder, model, viewOf, group, passed);
}

/** Notes a weight that is kept as fp32 in `drawn`; another one is drawn as a whole, since its numbers are packed. */
function draw(weight: Weight, seed: number, viewOf: WeightView, drawn: FreshWeight[]): void {
  const memory = new WeightMemory(weight, viewOf);
  const { whole } = memory;
  if (whole !== undefined) {
    drawn.push({ weight, seed, target: whole });
    return;
  }
  const numbers = new Float32Array(memory.length);
  initialiseWeight(weight, seed, numbers);
  memory.write((start, part) => part.set(numbers.subarray(start, start + part.length)));
}
