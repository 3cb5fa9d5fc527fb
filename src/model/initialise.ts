import { Random } from "../util/random.ts";
import { drawNormals } from "./draw-weights.ts";
import type { NormalArray } from "./draw-weights.ts";
import type { WeightSpec } from "./weights.ts";

/** A fresh weight and the memory that it fills. */
export interface FreshWeight {
  readonly weight: WeightSpec;
  readonly seed: number;
  readonly target: Float32Array;
}

/**
 * Fills a fresh weight. The numbers depend on the seed and the weight's name only, so that neither order nor
 * the presence of other weights changes them.
 */
export function initialiseWeight(weight: WeightSpec, seed: number, target: Float32Array): void {
  initialiseAll([{ weight, seed, target }], 1);
}

/** Fills every weight; `viewOf` gives the memory of the weight of that name. */
export function initialiseWeights(
  weights: readonly WeightSpec[],
  seed: number,
  viewOf: (name: string) => Float32Array,
): void {
  initialiseAll(weights.map((weight) => ({ weight, seed, target: viewOf(weight.name) })));
}

/** Fills fresh weights, those in shared memory over threads: `threads`, or what the system offers. */
export function initialiseAll(fresh: readonly FreshWeight[], threads?: number): void {
  const normals: NormalArray[] = [];
  for (const { weight, seed, target } of fresh) {
    const { initialisation } = weight;
    switch (initialisation.kind) {
      case "zeros":
        target.fill(0);
        break;
      case "ones":
        target.fill(1);
        break;
      case "identity":
        target.fill(0);
        for (let i = 0; i < target.length; i += initialisation.size + 1)
          target[i] = initialisation.scale;
        break;
      case "normal": {
        const { state } = new Random(seedOf(weight.name, seed));
        normals.push({ state, standardDeviation: initialisation.standardDeviation, target });
      }
    }
  }
  drawNormals(normals, threads);
}

/** The seed of one weight: FNV-1a over its name, mixed with the run's seed. */
function seedOf(name: string, seed: number): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return ((hash >>> 0) ^ Math.imul(seed, 0x9e3779b1)) >>> 0;
}
