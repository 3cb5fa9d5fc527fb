import { elementCount, staticShape } from "../../mil/types.ts";
import { didYouMean } from "../../util/nearest.ts";
import { ModelError } from "../errors.ts";
import type { Model } from "../model.ts";
import type { Weight } from "../parameters.ts";
import type { WeightView } from "../weight-memory.ts";
import { adapterPart, adapterScale, splitMatrixName } from "./adapter.ts";
import type { Adapter, AdapterPart, PlacedAdapter } from "./adapter.ts";
import { deriveNorms } from "./norms.ts";
import type { AdapterMatrices, StoredAdapter } from "./adapter-files.ts";
import { withAdapter } from "./with-adapter.ts";

/** An adapter from a folder, and how much of it is wanted. */
export interface AdapterChoice {
  readonly stored: StoredAdapter;
  /** 1: as it was trained. */
  readonly weight: number;
}

/** A trained adapter's matrices, by the module's whole name. */
export function adapterMatrices(
  adapter: PlacedAdapter,
  weights: readonly Weight[],
  viewOf: WeightView,
): ReadonlyMap<string, AdapterMatrices> {
  const parts = new Map<string, Partial<Record<AdapterPart, Weight>>>();
  for (const weight of weights) {
    const place = adapterPart(weight);
    if (place === undefined) continue;
    const pair = parts.get(place.module) ?? {};
    pair[place.part] = weight;
    parts.set(place.module, pair);
  }
  const matrices = new Map<string, AdapterMatrices>();
  for (const [module, { a, b, magnitude }] of parts) {
    if (a === undefined || b === undefined) continue;
    const [rank = 0, inputSize = 0] = staticShape(a.type);
    const [outputSize = 0] = staticShape(b.type);
    matrices.set(module, {
      ...{ rank, inputSize, outputSize, scale: adapterScale(adapter) },
      a: floatsOf(a, viewOf),
      b: floatsOf(b, viewOf),
      ...(magnitude !== undefined && { magnitude: floatsOf(magnitude, viewOf) }),
    });
  }
  return matrices;
}

function floatsOf({ name, type }: Weight, viewOf: WeightView): Float32Array {
  const view = viewOf(name);
  const length = elementCount(staticShape(type));
  if (view instanceof Float32Array && view.length === length) return view;
  throw new ModelError(
    "model.weights.view",
    `"${name}" has ${length} fp32 numbers, its memory is ${view.length} of ${view.constructor.name}`,
  );
}

/**
 * The model with stored adapters beside its matrices, each by its weight; nothing is trained. One adapter, as it was
 * trained, keeps its scale in the function, so that bits are those of its run; otherwise scales are part of B, and
 * programs depend on the ranks and modules alone. Throws `ModelError` for an adapter of another model.
 */
export function withStoredAdapters(
  model: Model,
  choices: readonly AdapterChoice[],
  keepsScale: boolean,
): Model {
  for (const { stored } of choices) checkFits(model, stored);
  const method = methodOf(choices);
  const modules = new Set<string>();
  const layers = new Set<number>();
  for (const { stored } of choices) {
    for (const name of stored.matrices.keys()) {
      const place = placeOf(name);
      modules.add(place.module);
      layers.add(place.layer);
    }
  }
  const rank = choices.reduce((sum, { stored }) => sum + largestRank(stored), 0);
  const [only] = choices;
  const settings: Pick<Adapter, "alpha" | "isRankStabilized" | "dropout"> =
    keepsScale && only !== undefined
      ? only.stored
      : { alpha: rank, isRankStabilized: false, dropout: 0 };
  const { alpha, isRankStabilized, dropout } = settings;
  return withAdapter(model, {
    ...{ method, rank, alpha, isRankStabilized, dropout },
    modules: [...modules],
    layers: [...layers].sort((x, y) => x - y),
  });
}

/**
 * What adapters are together. Throws `ModelError` for lengths that are to count in part, or beside other adapters: they
 * are no sum.
 */
function methodOf(choices: readonly AdapterChoice[]): Adapter["method"] {
  const directed = choices.find(({ stored }) => stored.method === "dora");
  if (directed === undefined) return "lora";
  if (choices.length === 1 && directed.weight === 1) return "dora";
  throw new ModelError(
    "model.adapter.dora",
    `the adapter ${directed.stored.folder} is of the method dora, which is used alone and as a whole: lengths of matrices do not add up`,
    { remedy: "Fuse it into its model first: anecdote fuse." },
  );
}

function placeOf(name: string): { readonly module: string; readonly layer: number } {
  const split = splitMatrixName(`${name}.weight`);
  const layer = /\.(\d+)\.$/.exec(split?.prefix ?? "")?.[1];
  return { module: split?.module ?? name, layer: Number(layer ?? 0) };
}

function largestRank({ matrices }: StoredAdapter): number {
  return Math.max(...[...matrices.values()].map(({ rank }) => rank));
}

/** Whether adapters fit beside the modules of another, in no more ranks than it has. */
export function isRoomFor(adapter: Adapter, choices: readonly AdapterChoice[]): boolean {
  const rank = choices.reduce((sum, { stored }) => sum + largestRank(stored), 0);
  const modules = new Set(adapter.modules);
  return (
    rank <= adapter.rank &&
    (methodOf(choices) === "lora" || adapter.method === "dora") &&
    choices.every(({ stored }) =>
      [...stored.matrices.keys()].every((name) => modules.has(placeOf(name).module)),
    )
  );
}

/** Throws `ModelError` for a module that the model does not have, or of another shape. */
export function checkFits(model: Model, { folder, matrices, baseName }: StoredAdapter): void {
  const blocks = model.parameters.blocks.flatMap(({ weights }) => weights);
  const byName = new Map(blocks.map((weight) => [weight.name, weight]));
  const says = baseName === undefined ? "" : `; it says it was trained on ${baseName}`;
  for (const [module, { inputSize, outputSize }] of matrices) {
    const weight = byName.get(`${module}.weight`);
    if (weight === undefined) {
      throw new ModelError(
        "model.adapter.foreign",
        `the adapter ${folder} is of another model: this one has no "${module}" in its blocks${says}.${didYouMean(module, byName.keys())}`,
        { remedy: "Name the model that the adapter was trained on." },
      );
    }
    const shape = staticShape(weight.type);
    const sizes = [inputSize, outputSize].sort((x, y) => x - y).join(" x ");
    if (sizes !== [...shape].sort((x, y) => x - y).join(" x ")) {
      throw new ModelError(
        "model.adapter.foreign",
        `the adapter ${folder} is of another model: its "${module}" goes from ${inputSize} channels to ${outputSize}, the model's matrix is [${shape.join(", ")}]${says}`,
        { remedy: "Name the model that the adapter was trained on." },
      );
    }
  }
}

/**
 * Fills a model's adapter weights, or those of `weights`, from stored adapters one below the other. Throws `ModelError`
 * where they do not fit.
 */
export function fillAdapterWeights(
  model: Model,
  viewOf: WeightView,
  choices: readonly AdapterChoice[],
  weights: readonly Weight[] = model.parameters.weights,
): void {
  const { adapter } = model.parameters;
  if (adapter === undefined)
    throw new ModelError("model.adapter", "the model has no adapter to be filled");
  const modelScale = adapterScale(adapter);
  const derived = new Set<Weight>();
  for (const weight of weights) {
    const place = adapterPart(weight);
    if (place === undefined) continue;
    const target = floatsOf(weight, viewOf);
    target.fill(0);
    if (place.part === "magnitude" || place.part === "inverseNorm") {
      const magnitude = magnitudeOf(choices, place.module);
      if (place.part === "magnitude" && magnitude !== undefined) target.set(magnitude);
      else derived.add(weight);
      continue;
    }
    let start = 0;
    for (const { stored, weight: share } of choices) {
      const matrices = stored.matrices.get(place.module);
      if (matrices !== undefined) {
        const part = { ...matrices, factor: (share * matrices.scale) / modelScale, start };
        if (place.part === "a") putRows(weight, target, part);
        else putColumns(weight, target, part, adapter.rank);
      }
      start += largestRank(stored);
    }
  }
  // Whoever asks for single weights has no others in memory, and asks for none that follow from them.
  if ([...derived].some((weight) => adapterPart(weight)?.part === "inverseNorm"))
    deriveNorms(model, viewOf, (weight) => derived.has(weight));
}

/** The trained lengths [out] of a module, where an adapter has some. */
function magnitudeOf(choices: readonly AdapterChoice[], module: string): Float32Array | undefined {
  for (const { stored } of choices) {
    const { magnitude } = stored.matrices.get(module) ?? {};
    if (magnitude !== undefined) return magnitude;
  }
  return undefined;
}

interface Part extends AdapterMatrices {
  /** Of B. */
  readonly factor: number;
  /** First row of A and column of B. */
  readonly start: number;
}

function putRows(weight: Weight, target: Float32Array, { a, inputSize, start }: Part): void {
  const end = start * inputSize + a.length;
  if (end > target.length || staticShape(weight.type)[1] !== inputSize) throw misfit(weight, a);
  target.set(a, start * inputSize);
}

function putColumns(
  weight: Weight,
  target: Float32Array,
  { b, rank, outputSize, start, factor }: Part,
  totalRank: number,
): void {
  if (start + rank > totalRank || staticShape(weight.type)[0] !== outputSize)
    throw misfit(weight, b);
  for (let row = 0; row < outputSize; row++) {
    for (let column = 0; column < rank; column++)
      target[row * totalRank + start + column] = factor * (b[row * rank + column] ?? 0);
  }
}

function misfit({ name, type }: Weight, { length }: Float32Array): ModelError {
  return new ModelError(
    "model.adapter.rank",
    `"${name}" has the shape [${staticShape(type).join(", ")}], the adapter has ${length} numbers for it`,
  );
}
