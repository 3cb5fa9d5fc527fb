import { tensorType } from "../../mil/types.ts";
import { FP32 } from "../../plan/storage.ts";
import { didYouMean } from "../../util/nearest.ts";
import { ModelError } from "../errors.ts";
import type { BatchSizes, CachedSizes } from "../family.ts";
import type { Model } from "../model.ts";
import { parametersOf } from "../parameters.ts";
import type { Origin, StageInstance, Weight } from "../parameters.ts";
import { frozen } from "../transforms.ts";
import { ONES, parameterName, ZEROS } from "../weights.ts";
import { adapterNames, adapterScale, splitMatrixName } from "./adapter.ts";
import type { Adapter } from "./adapter.ts";
import { linearProducts, withCorrections } from "./products.ts";
import type { Correction, LinearProduct } from "./products.ts";

/** Every linear layer of the blocks. */
export const ALL_LINEAR = "all-linear";

/**
 * The modules that names mean: a whole local name (`self_attn.q_proj`), its end (`q_proj`), or `all-linear`. Throws
 * `ModelError` for a name that fits none.
 */
export function adaptableModules(
  model: Model,
  names: readonly string[] = [ALL_LINEAR],
): readonly string[] {
  const all = [...linearModules(model).keys()];
  const chosen = new Set<string>();
  for (const name of names) {
    const fitting = all.filter(
      (module) => name === ALL_LINEAR || module === name || module.endsWith(`.${name}`),
    );
    if (fitting.length === 0) {
      const ends = all.map((module) => module.split(".").at(-1) ?? module);
      throw new ModelError(
        "model.adapter.module",
        `the blocks of this ${model.config.family} model have no linear layer "${name}".${didYouMean(name, [...all, ...ends])}`,
        { remedy: `Choose among ${ends.join(", ")}, or ${ALL_LINEAR}.` },
      );
    }
    for (const module of fitting) chosen.add(module);
  }
  return all.filter((module) => chosen.has(module));
}

/** The blocks' linear layers by their local name. */
function linearModules(model: Model): ReadonlyMap<string, LinearProduct & { parameter: string }> {
  const products = linearProducts(
    model.functions.block({ batchSize: 1, sequenceLength: 2, dataType: "fp32" }),
  );
  const [block] = model.parameters.blocks;
  const modules = new Map<string, LinearProduct & { parameter: string }>();
  for (const { name, parameter } of block?.weights ?? []) {
    const product = products.get(parameter);
    const split = splitMatrixName(name);
    if (product !== undefined && split !== undefined)
      modules.set(split.module, { ...product, parameter });
  }
  return modules;
}

/**
 * The model with a low-rank adapter: everything it had is frozen, each chosen product gains `(x A^T) B^T s` and, with
 * dora, lengths of its outputs; A [rank, in] is drawn at random and B [out, rank] zero, so that nothing changes at first.
 * All layers share one program; in those without an adapter A and B are zero and frozen. Throws `ModelError` for a rank, a module or a layer that
 * cannot be, and for a model that has an adapter.
 */
export function withAdapter(model: Model, adapter: Adapter): Model {
  const { functions } = model;
  checkAdapter(model, adapter);
  const modules = linearModules(model);
  const layers = new Set(adapter.layers);
  const corrections: Correction[] = adapter.modules.map((module) => {
    const { parameter } = found(modules, module);
    const { a, b, magnitude, inverseNorm } = adapterNames(module);
    return {
      ...{ parameter, a: parameterName(a), b: parameterName(b), rank: adapter.rank },
      ...(adapter.method === "dora" && {
        lengths: {
          magnitude: parameterName(magnitude),
          inverseNorm: parameterName(inverseNorm),
        },
      }),
    };
  });
  const base = frozen(model).parameters;
  const blocks = base.blocks.map((stage, layer): StageInstance => {
    const isTrained = layers.has(layer);
    return {
      ...stage,
      weights: [
        ...stage.weights,
        ...adapter.modules.flatMap((module) =>
          adapterWeights(stage, module, found(modules, module), adapter, isTrained),
        ),
      ],
    };
  });
  const scale = adapterScale(adapter);
  const isFanInFanOut = adapter.modules.some((module) => !found(modules, module).isTransposed);
  return Object.freeze({
    ...model,
    functions: {
      ...functions,
      block: (sizes: BatchSizes) =>
        sizes.withoutAdapter === true
          ? functions.block(sizes)
          : withCorrections(
              functions.block(sizes),
              corrections,
              scale,
              sizes.isLearning === true && adapter.dropout > 0,
            ),
      cachedBlock: (sizes: CachedSizes) =>
        withCorrections(functions.cachedBlock(sizes), corrections, scale),
    },
    parameters: parametersOf(base.embed, blocks, base.head, { ...adapter, isFanInFanOut }),
  });
}

function checkAdapter(
  { parameters }: Model,
  { rank, alpha, layers, modules, dropout }: Adapter,
): void {
  const refuse = (problem: string): never => {
    throw new ModelError("model.adapter", `an adapter cannot be made: ${problem}`);
  };
  if (parameters.adapter !== undefined) refuse("the model has one");
  if (!Number.isInteger(rank) || rank < 1)
    refuse(`its rank is ${rank}, not a whole number above 0`);
  if (!Number.isFinite(alpha) || alpha === 0) refuse(`its alpha is ${alpha}`);
  if (!(dropout >= 0 && dropout < 1)) refuse(`its dropout is ${dropout}, not a share below 1`);
  if (modules.length === 0) refuse("it has no modules");
  if (layers.length === 0) refuse("it has no layers");
  const count = parameters.blocks.length;
  const outside = layers.find((layer) => !Number.isInteger(layer) || layer < 0 || layer >= count);
  if (outside !== undefined) refuse(`there is no layer ${outside}, the model has ${count}`);
}

function found<Found>(modules: ReadonlyMap<string, Found>, module: string): Found {
  const product = modules.get(module);
  if (product !== undefined) return product;
  throw new ModelError(
    "model.adapter.module",
    `the model's blocks have no linear layer "${module}".${didYouMean(module, modules.keys())}`,
  );
}

/** A as a uniform draw of the same variance as PEFT's would be, but normal; B zero; lengths one. */
function adapterWeights(
  { weights }: StageInstance,
  module: string,
  { parameter, inputSize, outputSize }: LinearProduct & { readonly parameter: string },
  { rank, method }: Adapter,
  isTrained: boolean,
): readonly Weight[] {
  const matrix = weights.find((weight) => weight.parameter === parameter);
  const prefix = splitMatrixName(matrix?.name ?? "")?.prefix ?? "";
  const { a, b, magnitude, inverseNorm } = adapterNames(module);
  const origin: Origin = { kind: "drawn", seed: 0 };
  const weight = (
    name: string,
    shape: readonly number[],
    initialisation: Weight["initialisation"],
    isLength = false,
  ): Weight =>
    Object.freeze({
      name: `${prefix}${name}`,
      parameter: parameterName(name),
      type: tensorType("fp32", shape),
      initialisation,
      decays: !isLength,
      borrowed: false,
      storage: FP32,
      trainable: isTrained && name !== inverseNorm,
      origin,
    });
  const standardDeviation = 1 / Math.sqrt(3 * inputSize);
  return [
    weight(a, [rank, inputSize], isTrained ? { kind: "normal", standardDeviation } : ZEROS),
    weight(b, [outputSize, rank], ZEROS),
    // `fillWeights` gives both the lengths of the matrix, so that nothing changes at first.
    ...(method === "dora"
      ? [magnitude, inverseNorm].map((name) => weight(name, [outputSize], ONES, true))
      : []),
  ];
}
