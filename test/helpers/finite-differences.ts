import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { valueAndGradient } from "../../src/grad/value-and-gradient.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";
import type { HostTensor } from "../../src/mil/host-tensor.ts";
import type { MilFunction, Value } from "../../src/mil/program.ts";
import { elementCount, isFloat, tensorType } from "../../src/mil/types.ts";
import type { DataType } from "../../src/mil/types.ts";
import { checkFunction, verifyFunction } from "../../src/mil/verify.ts";
import type { Random } from "../../src/util/random.ts";

/** Draws a function of random shapes together with the tensors to run it on. */
export class CaseBuilder {
  readonly f = new FunctionBuilder("main");
  readonly random: Random;
  readonly tensors = new Map<string, HostTensor>();
  /** Float inputs whose gradients are checked. */
  readonly checked: string[] = [];

  constructor(random: Random) {
    this.random = random;
  }

  /** A float input with numbers in [low, high). */
  float(name: string, shape: readonly number[], low = -2, high = 2): Value {
    return this.floats(name, shape, () => low + (high - low) * this.random.uniform());
  }

  floats(name: string, shape: readonly number[], draw: (index: number) => number): Value {
    this.checked.push(name);
    return this.#input(name, "fp32", shape, draw);
  }

  /** An int32 input with numbers in [low, limit). */
  ints(name: string, shape: readonly number[], limit: number, low = 0): Value {
    return this.#input(name, "int32", shape, () => low + this.random.below(limit - low));
  }

  bools(name: string, shape: readonly number[]): Value {
    return this.#input(name, "bool", shape, () => this.random.below(2));
  }

  given(
    name: string,
    dataType: DataType,
    shape: readonly number[],
    data: readonly number[],
  ): Value {
    return this.#input(name, dataType, shape, (index) => data[index] ?? 0);
  }

  #input(
    name: string,
    dataType: DataType,
    shape: readonly number[],
    draw: (index: number) => number,
  ): Value {
    const data = new Float64Array(elementCount(shape)).map((_, index) => draw(index));
    this.tensors.set(name, hostTensor(dataType, shape, data));
    return this.f.input(name, tensorType(dataType, shape));
  }

  below(limit: number): number {
    return this.random.below(limit);
  }

  between(low: number, high: number): number {
    return low + this.random.below(high - low + 1);
  }

  chance(probability = 0.5): boolean {
    return this.random.uniform() < probability;
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[this.random.below(items.length)];
    if (item === undefined) throw new RangeError("nothing to pick from");
    return item;
  }

  shuffled<Item>(items: readonly Item[]): Item[] {
    const copy = [...items];
    for (let i = copy.length - 1; i > 0; i--) {
      const j = this.random.below(i + 1);
      const [a, b] = [copy[i], copy[j]];
      if (a !== undefined && b !== undefined) [copy[i], copy[j]] = [b, a];
    }
    return copy;
  }

  /** Sizes from 1 to `largest`. */
  shape(lowestRank = 0, highestRank = 4, largest = 3): number[] {
    return Array.from({ length: this.between(lowestRank, highestRank) }, () =>
      this.between(1, largest),
    );
  }

  /** A shape that broadcasts to `shape`: fewer leading axes, some sizes 1. */
  broadcastable(shape: readonly number[]): number[] {
    return shape.slice(this.below(shape.length + 1)).map((size) => (this.chance(0.3) ? 1 : size));
  }

  /** Some of a tensor's axes, at least one, in any order and sometimes counted from the end. */
  axes(rank: number): number[] {
    const all = this.shuffled(Array.from({ length: rank }, (_, axis) => axis));
    return all
      .slice(0, this.between(1, rank))
      .map((axis) => (this.chance(0.3) ? axis - rank : axis));
  }

  axis(rank: number): number {
    const axis = this.below(rank);
    return this.chance(0.3) ? axis - rank : axis;
  }
}

export interface GradientCheck {
  /** Largest error over all elements, relative to the size of the gradients at hand. */
  readonly worstError: number;
  readonly elements: number;
}

/** A step of the kind that double precision differences want: the cube root of its rounding error. */
const STEP = 2e-5;

/**
 * Compares `valueAndGradient` with central differences at one point, all in double precision. Nothing when a
 * kink lies within a step of the point: the caller draws again.
 */
export function checkGradients(
  fn: MilFunction,
  tensors: ReadonlyMap<string, HostTensor>,
  checked: readonly string[],
  random: Random,
): GradientCheck | undefined {
  const seeds = new Map<string, HostTensor>();
  const gradientOf: string[] = [];
  for (const { name, type } of fn.outputs) {
    if (type.kind !== "tensor" || !isFloat(type.dataType)) continue;
    const shape = type.shape.map(Number);
    const numbers = new Float64Array(elementCount(shape)).map(() => 2 * random.uniform() - 1);
    seeds.set(name, hostTensor(type.dataType, shape, numbers));
    gradientOf.push(name);
  }
  const derivative = valueAndGradient(fn, { withRespectTo: checked, gradientOf, prefix: "slope_" });
  // Rules may write nothing that the language forbids, unless the function itself does.
  if (checkFunction(fn).problems.length === 0) verifyFunction(derivative);
  const withSeeds = new Map([
    ...tensors,
    ...[...seeds].map(([name, tensor]) => [`slope_${name}`, tensor] as const),
  ]);
  const gradients = evaluateFunction(derivative, withSeeds, { precision: "float64" });

  /** The seeds' inner product with the outputs, which is what the gradients are the gradients of. */
  const objective = (input: string, index: number, value: number): number => {
    const source = tensors.get(input);
    if (source === undefined) throw new RangeError(`no tensor "${input}"`);
    const data = source.data.slice();
    data[index] = value;
    const moved = new Map([...tensors, [input, { ...source, data }]]);
    const outputs = evaluateFunction(fn, moved, { precision: "float64" });
    let total = 0;
    for (const [name, seed] of seeds) {
      const output = outputs.get(name);
      seed.data.forEach((weight, at) => {
        total += weight * (output?.data[at] ?? 0);
      });
    }
    return total;
  };

  const found: { readonly numeric: number; readonly analytic: number }[] = [];
  for (const input of checked) {
    const source = tensors.get(input);
    const gradient = gradients.get(`slope_${input}`);
    if (source === undefined || gradient === undefined)
      throw new RangeError(`no gradient of "${input}"`);
    for (let index = 0; index < source.data.length; index++) {
      const at = source.data[index] ?? 0;
      const middle = objective(input, index, at);
      const step = STEP * Math.max(1, Math.abs(at));
      const slopes = [step, step / 2].map((distance) => ({
        up: (objective(input, index, at + distance) - middle) / distance,
        down: (middle - objective(input, index, at - distance)) / distance,
      }));
      const [wide, near] = slopes;
      if (wide === undefined || near === undefined) throw new RangeError("two steps");
      // The two sides of a smooth function differ by the step times its curvature: half as much at half the
      // step. A kink within the wider step shows as another ratio.
      const wideBend = Math.abs(wide.up - wide.down);
      const nearBend = Math.abs(near.up - near.down);
      const isNoticeable = Math.max(wideBend, nearBend) > 1e-7 * (1 + Math.abs(near.up));
      if (isNoticeable && Math.abs(nearBend / wideBend - 0.5) > 0.2) return undefined;
      // Richardson's combination cancels the error of second order.
      const numeric = (4 * (near.up + near.down) - (wide.up + wide.down)) / 6;
      found.push({ numeric, analytic: gradient.data[index] ?? Number.NaN });
    }
  }
  const size = Math.max(0.1, ...found.map(({ numeric }) => Math.abs(numeric)));
  let worstError = 0;
  for (const { numeric, analytic } of found) {
    const error = Math.abs(numeric - analytic) / size;
    worstError = Number.isNaN(error) ? Infinity : Math.max(worstError, error);
  }
  return { worstError, elements: found.length };
}
