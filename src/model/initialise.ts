import { Random } from "../util/random.ts";
import type { Initialisation, WeightSpec } from "./weights.ts";

/**
 * Fills a fresh weight. The numbers depend on the seed and the weight's name only, so that neither order nor
 * the presence of other weights changes them.
 */
export function initialiseWeight(weight: WeightSpec, seed: number, target: Float32Array): void {
  fill(weight.initialisation, new Random(seedOf(weight.name, seed)), target);
}

/** Fills every weight; `viewOf` gives the memory of the weight of that name. */
export function initialiseWeights(
  weights: readonly WeightSpec[],
  seed: number,
  viewOf: (name: string) => Float32Array,
): void {
  for (const weight of weights) initialiseWeight(weight, seed, viewOf(weight.name));
}

function fill(initialisation: Initialisation, random: Random, target: Float32Array): void {
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
    case "normal":
      fillNormal(random, initialisation.standardDeviation, target);
      break;
  }
}

/** Normal numbers in pairs, from points drawn in the unit disc (Marsaglia's polar method). */
function fillNormal(random: Random, standardDeviation: number, target: Float32Array): void {
  for (let i = 0; i < target.length; i += 2) {
    let x = 0;
    let y = 0;
    let square = 0;
    do {
      x = random.uint32() / 2147483648 - 1;
      y = random.uint32() / 2147483648 - 1;
      square = x * x + y * y;
    } while (square >= 1 || square === 0);
    const scale = standardDeviation * Math.sqrt((-2 * Math.log(square)) / square);
    target[i] = x * scale;
    if (i + 1 < target.length) target[i + 1] = y * scale;
  }
}

/** The seed of one weight: FNV-1a over its name, mixed with the run's seed. */
function seedOf(name: string, seed: number): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return ((hash >>> 0) ^ Math.imul(seed, 0x9e3779b1)) >>> 0;
}
