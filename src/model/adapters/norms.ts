// Lengths of corrected matrices, by output: what dora divides by.
import { FunctionBuilder } from "../../mil/builder.ts";
import type { MilFunction, Value } from "../../mil/program.ts";
import { ModelError } from "../errors.ts";
import type { Model } from "../model.ts";
import type { StageInstance, Weight } from "../parameters.ts";
import { WeightMemory, fp32Numbers } from "../weight-memory.ts";
import type { WeightView } from "../weight-memory.ts";
import { adapterNames, adapterPart, adapterScale } from "./adapter.ts";
import type { PlacedAdapter } from "./adapter.ts";

/** A matrix of a block with what stands beside it. */
export interface DirectedMatrix {
  readonly matrix: Weight;
  /** [rank, in]. */
  readonly a: Weight;
  /** [out, rank]. */
  readonly b: Weight;
  /** [out]. */
  readonly magnitude: Weight;
  readonly inverseNorm: Weight;
}

/** The matrices of a block whose lengths are trained; those of a frozen adapter too where `all` is set. */
export function directedMatrices(
  { weights }: Pick<StageInstance, "weights">,
  all = false,
): readonly DirectedMatrix[] {
  const byName = new Map(weights.map((weight) => [weight.name, weight]));
  const named = (name: string): Weight => {
    const weight = byName.get(name);
    if (weight !== undefined) return weight;
    throw new ModelError("model.adapter", `an adapter lacks its "${name}"`);
  };
  return weights.flatMap((weight) => {
    const place = adapterPart(weight);
    if (place?.part !== "magnitude" || !(all || weight.trainable)) return [];
    const names = adapterNames(place.module);
    return [
      {
        matrix: named(`${place.module}.weight`),
        ...{ a: named(names.a), b: named(names.b) },
        ...{ magnitude: weight, inverseNorm: named(names.inverseNorm) },
      },
    ];
  });
}

/**
 * One over the lengths of `W + s B A` by output, for all matrices of a block: `|W|^2 + 2 s <W, B A> + s^2 |B A|^2`, so
 * that no second matrix stands in memory. Inputs are named as the weights' parameters, outputs `new_<inverse norm>`.
 */
export function normsFunction(
  name: string,
  matrices: readonly DirectedMatrix[],
  adapter: PlacedAdapter,
): MilFunction {
  const f = new FunctionBuilder(name);
  const scale = adapterScale(adapter);
  const results: Record<string, Value> = {};
  for (const { matrix, a, b, inverseNorm } of matrices) {
    const w = f.input(matrix.parameter, matrix.type);
    const A = f.input(a.parameter, a.type);
    const B = f.input(b.parameter, b.type);
    const isTurned = adapter.isFanInFanOut;
    const squares = f.op("reduce_sum_square", {
      ...{ x: w, axes: [isTurned ? 0 : 1], keep_dims: false },
    });
    const across = f.op("matmul", { x: w, y: A, transpose_x: isTurned, transpose_y: true });
    const products = f.op("matmul", { x: A, y: A, transpose_y: true });
    const own = f.op("matmul", { x: B, y: products });
    const twice = f.op("mul", { x: across, y: 2 * scale });
    const weighted = f.op("mul", { x: own, y: scale * scale });
    const both = f.op("mul", { x: f.op("add", { x: twice, y: weighted }), y: B });
    const rest = f.op("reduce_sum", { x: both, axes: [1], keep_dims: false });
    results[`new_${inverseNorm.parameter}`] = f.op("rsqrt", {
      ...{ x: f.op("add", { x: squares, y: rest }), epsilon: 1e-12 },
    });
  }
  return f.finish(results);
}

/**
 * Fills one over the lengths of a model's corrected matrices, and with `magnitudes` the trained lengths too, as they are
 * before anything is trained. Weights, A and B stand in their memory.
 */
export function deriveNorms(
  { parameters }: Model,
  viewOf: WeightView,
  isWanted: (weight: Weight) => boolean = () => true,
): void {
  const { adapter } = parameters;
  if (adapter?.method !== "dora") return;
  for (const stage of parameters.blocks) {
    for (const directed of directedMatrices(stage, true)) {
      const { magnitude, inverseNorm } = directed;
      if (!isWanted(magnitude) && !isWanted(inverseNorm)) continue;
      const lengths = lengthsOf(directed, adapter, viewOf);
      if (isWanted(magnitude)) fp32Numbers(viewOf, magnitude.name).set(lengths);
      if (isWanted(inverseNorm))
        fp32Numbers(viewOf, inverseNorm.name).set(lengths.map((length) => 1 / length));
    }
  }
}

/** [out], in double precision. */
function lengthsOf(
  { matrix, a, b }: DirectedMatrix,
  adapter: PlacedAdapter,
  viewOf: WeightView,
): Float64Array {
  const numbers = new WeightMemory(matrix, viewOf).numbers();
  const [left, right] = [fp32Numbers(viewOf, a.name), fp32Numbers(viewOf, b.name)];
  return correctedLengths(numbers, left, right, adapter);
}

/** Lengths [out] of `W + s B A`, W as it is stored. */
export function correctedLengths(
  numbers: Float32Array,
  a: Float32Array,
  b: Float32Array,
  adapter: PlacedAdapter,
): Float64Array {
  const { rank, isFanInFanOut } = adapter;
  const scale = adapterScale(adapter);
  const inputSize = a.length / rank;
  const outputSize = b.length / rank;
  const lengths = new Float64Array(outputSize);
  const row = new Float64Array(inputSize);
  for (let out = 0; out < outputSize; out++) {
    for (let column = 0; column < inputSize; column++)
      row[column] =
        numbers[isFanInFanOut ? column * outputSize + out : out * inputSize + column] ?? 0;
    for (let r = 0; r < rank; r++) {
      const factor = scale * (b[out * rank + r] ?? 0);
      if (factor === 0) continue;
      for (let column = 0; column < inputSize; column++)
        row[column] = (row[column] ?? 0) + factor * (a[r * inputSize + column] ?? 0);
    }
    let sum = 0;
    for (const value of row) sum += value * value;
    lengths[out] = Math.sqrt(sum);
  }
  return lengths;
}
