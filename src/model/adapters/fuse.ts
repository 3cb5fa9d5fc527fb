import { elementCount, staticShape } from "../../mil/types.ts";
import { FP32, storedTypes } from "../../plan/storage.ts";
import type { StoredArray } from "../../plan/stored-numbers.ts";
import { ModelError } from "../errors.ts";
import type { OpenModel } from "../open-model.ts";
import type { Weight } from "../parameters.ts";
import { biasesName, scalesName } from "../plan-weights.ts";
import { WeightMemory } from "../weight-memory.ts";
import type { WeightView } from "../weight-memory.ts";
import { correctedLengths } from "./norms.ts";
import { adapterNames, adapterPart, adapterScale, splitMatrixName } from "./adapter.ts";

/** A model's weights with its adapter added to them, made one at a time. */
export interface FusedWeights {
  /** Those of the model without adapter, fp32. */
  readonly weights: readonly Weight[];
  /** Reads and adds when it is asked for a weight. */
  readonly viewOf: (name: string) => Float32Array;
}

/**
 * W + s B A for each matrix that has an adapter, of the trained lengths with dora, summed in double precision and rounded once; a quantized base is
 * unpacked first. Memory holds one weight. A model without adapter gives its weights as they are.
 */
export function fusedWeights({ model, load }: OpenModel): FusedWeights {
  const { weights, adapter } = model.parameters;
  const byName = new Map(weights.map((weight) => [weight.name, weight]));
  const read = (weight: Weight): Float32Array => {
    const arrays = arraysOf(weight);
    const viewOf: WeightView = (name) => {
      const array = arrays.get(name);
      if (array !== undefined) return array;
      throw new ModelError("model.weights.view", `there is no memory for ${name}`);
    };
    load(viewOf, [weight]);
    return new WeightMemory(weight, viewOf).numbers();
  };
  const partsOf = (name: string) => {
    const split = splitMatrixName(name);
    const names = adapterNames(split?.module ?? "");
    const part = (local: string): Weight | undefined =>
      byName.get(`${split?.prefix ?? ""}${local}`);
    const [a, b] = [part(names.a), part(names.b)];
    return a === undefined || b === undefined
      ? undefined
      : { a, b, magnitude: part(names.magnitude) };
  };
  const base = weights.filter((weight) => adapterPart(weight) === undefined);
  return {
    weights: base.map((weight) => ({ ...weight, storage: FP32 })),
    viewOf: (name) => {
      const weight = byName.get(name);
      if (weight === undefined) throw new ModelError("model.weight.unknown", `no weight ${name}`);
      const numbers = read(weight);
      const parts = partsOf(name);
      if (adapter !== undefined && parts !== undefined) {
        const [a, b] = [read(parts.a), read(parts.b)];
        const magnitude = parts.magnitude && read(parts.magnitude);
        // An adapter that does not have this matrix gives no lengths for it.
        const isDirected = magnitude?.some((length) => length !== 0) === true;
        const lengths = isDirected ? correctedLengths(numbers, a, b, adapter) : undefined;
        addProduct(numbers, a, b, {
          scale: adapterScale(adapter),
          rank: adapter.rank,
          isTransposed: !adapter.isFanInFanOut,
          ...(lengths !== undefined &&
            magnitude !== undefined && {
              factors: lengths.map((length, out) => (magnitude[out] ?? 0) / length),
            }),
        });
      }
      return numbers;
    },
  };
}

interface ProductFacts {
  readonly scale: number;
  readonly rank: number;
  /** The matrix stands as [out, in]. */
  readonly isTransposed: boolean;
  /** What each output's sum is multiplied by. Default 1. */
  readonly factors?: Float64Array;
}

function addProduct(
  numbers: Float32Array,
  a: Float32Array,
  b: Float32Array,
  { scale, rank, isTransposed, factors }: ProductFacts,
): void {
  const inputSize = a.length / rank;
  const outputSize = b.length / rank;
  const row = new Float64Array(inputSize);
  for (let out = 0; out < outputSize; out++) {
    row.fill(0);
    for (let r = 0; r < rank; r++) {
      const factor = scale * (b[out * rank + r] ?? 0);
      if (factor === 0) continue;
      const start = r * inputSize;
      for (let column = 0; column < inputSize; column++)
        row[column] = (row[column] ?? 0) + factor * (a[start + column] ?? 0);
    }
    const whole = factors?.[out] ?? 1;
    for (let column = 0; column < inputSize; column++) {
      const place = isTransposed ? out * inputSize + column : column * outputSize + out;
      numbers[place] = whole * ((numbers[place] ?? 0) + (row[column] ?? 0));
    }
  }
}

function arraysOf({ name, type, storage }: Weight): ReadonlyMap<string, StoredArray> {
  const types = storedTypes(name, staticShape(type), storage);
  const arrays = new Map<string, StoredArray>();
  for (const [key, stored] of [
    [name, types.codes],
    [scalesName(name), types.scales],
    [biasesName(name), types.biases],
  ] as const) {
    if (stored === undefined) continue;
    const count = elementCount(staticShape(stored));
    arrays.set(
      key,
      stored.dataType === "fp32"
        ? new Float32Array(count)
        : stored.dataType === "uint8"
          ? new Uint8Array(count)
          : new Uint16Array(count),
    );
  }
  return arrays;
}
