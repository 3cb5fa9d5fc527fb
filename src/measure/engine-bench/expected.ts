import { evaluateFunction } from "../../engine/reference/evaluate.ts";
import { hostTensor, roundHalfToEven } from "../../mil/host-tensor.ts";
import { elementCount } from "../../mil/types.ts";
import type { RowShape } from "./case.ts";
import { quantized } from "./fixed-numbers.ts";
import {
  ACTIVATION_SCALE,
  chainWeights,
  fixedInput,
  productWeights,
  rowFunction,
} from "./programs.ts";

/** Elements of a result, by flat index, as doubles compute them. */
export type Expected = ReadonlyMap<number, number>;

/** Positions, rows or pixels whose results are computed. */
const SAMPLES = 2;
/** Results of a product that are computed a position: the others need as many steps each. */
const CHANNELS = 16;
const REFERENCE_WIDTH_LIMIT = 1 << 15;

/**
 * A few results of a row's program, computed in double precision from the same fixed numbers; nothing where no
 * shortcut exists (attention, chains of wider convolutions).
 */
export function expectedSamples(shape: RowShape): Expected | undefined {
  switch (shape.kind) {
    case "conv1x1-chain":
      return chainSamples(shape);
    case "conv1x1":
      return pointwiseSamples(shape);
    case "conv":
      return shape.depth === 1 && shape.int8 === undefined ? pixelSamples(shape) : undefined;
    case "gemm":
    case "gemv":
      return productSamples(shape);
    case "op":
      return shape.width <= REFERENCE_WIDTH_LIMIT ? opSamples(shape) : undefined;
    case "self-attention":
      return undefined;
  }
}

type ShapeOf<Kind extends RowShape["kind"]> = Extract<RowShape, { readonly kind: Kind }>;

function sampledPositions(count: number): readonly number[] {
  return [...new Set(Array.from({ length: SAMPLES }, (_, i) => Math.floor((i * count) / SAMPLES)))];
}

function sampledChannels(count: number): readonly number[] {
  const wanted = Math.min(count, CHANNELS);
  return Array.from({ length: wanted }, (_, i) => Math.floor((i * count) / wanted));
}

/** Weights as the program has them: int8 ones are rounded to their scale. */
function asStored(weights: Float32Array, int8: "w8a8" | "weights" | undefined): Float32Array {
  if (int8 === undefined) return weights;
  const { integers, scale } = quantized(weights);
  return Float32Array.from(integers, (integer) => integer * scale);
}

function narrowed(value: number): number {
  return (
    Math.max(-128, Math.min(127, roundHalfToEven(value / ACTIVATION_SCALE))) * ACTIVATION_SCALE
  );
}

function chainSamples(shape: ShapeOf<"conv1x1-chain">): Expected {
  const { channels, spatial, int8 } = shape;
  const input = fixedInput([channels, spatial]);
  const known = new Map<Float32Array, Float32Array>();
  const layers = chainWeights(shape).map((weights) => {
    const stored = known.get(weights) ?? asStored(weights, int8);
    known.set(weights, stored);
    return stored;
  });
  const act = (column: Float64Array): Float64Array =>
    int8 === "w8a8" ? column.map(narrowed) : column;
  const expected = new Map<number, number>();
  for (const position of sampledPositions(spatial)) {
    let column = act(
      Float64Array.from({ length: channels }, (_, c) => input[c * spatial + position] ?? 0),
    );
    for (const weights of layers) {
      const before = column;
      column = act(
        Float64Array.from({ length: channels }, (_, row) => dot(weights, row * channels, before)),
      );
    }
    column.forEach((value, c) => expected.set(c * spatial + position, value));
  }
  return expected;
}

/** Row of a matrix, from `start` on, times a vector. */
function dot(matrix: Float32Array, start: number, vector: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < vector.length; i++) sum += (matrix[start + i] ?? 0) * (vector[i] ?? 0);
  return sum;
}

function pointwiseSamples({ cin, cout, spatial, int8 }: ShapeOf<"conv1x1">): Expected {
  const input = fixedInput([cin, spatial]);
  const weights = asStored(productWeights(cin * cout, cin), int8);
  const expected = new Map<number, number>();
  for (const position of sampledPositions(spatial)) {
    const column = Float64Array.from({ length: cin }, (_, c) => input[c * spatial + position] ?? 0);
    for (const row of sampledChannels(cout))
      expected.set(row * spatial + position, dot(weights, row * cin, column));
  }
  return expected;
}

function productSamples({ m, k, n, int8 }: ShapeOf<"gemm" | "gemv">): Expected {
  const input = fixedInput([m, k]);
  const weights = asStored(productWeights(n * k, k), int8);
  const expected = new Map<number, number>();
  for (const row of sampledPositions(m)) {
    const vector = input.subarray(row * k, (row + 1) * k);
    for (const column of sampledChannels(n))
      expected.set(row * n + column, dot(weights, column * k, vector));
  }
  return expected;
}

/** A corner, where padding counts, and a pixel inside. */
function pixelSamples(shape: ShapeOf<"conv">): Expected {
  const { cin, cout, kernel, height, width, batch } = shape;
  const input = fixedInput([batch, cin, height, width]);
  const taps = kernel * kernel;
  const weights = productWeights(cout * cin * taps, cin * taps);
  const reach = (kernel - 1) / 2;
  const expected = new Map<number, number>();
  const middle = [Math.floor(height / 2), Math.floor(width / 2)] as const;
  for (const [y, x] of [[0, 0] as const, middle]) {
    for (const out of sampledChannels(cout)) {
      let sum = 0;
      for (let channel = 0; channel < cin; channel++) {
        for (let tap = 0; tap < taps; tap++) {
          const row = y + Math.floor(tap / kernel) - reach;
          const column = x + (tap % kernel) - reach;
          if (row < 0 || column < 0 || row >= height || column >= width) continue;
          const pixel = input[(channel * height + row) * width + column] ?? 0;
          sum += pixel * (weights[(out * cin + channel) * taps + tap] ?? 0);
        }
      }
      expected.set((out * height + y) * width + x, sum);
    }
  }
  return expected;
}

/** Rows of an op over the last axis do not touch: the reference evaluates the first ones. */
function opSamples(shape: ShapeOf<"op">): Expected {
  const rows = Math.min(SAMPLES, shape.rows);
  const fn = rowFunction(
    { ...shape, rows },
    { dataType: "fp32", constants: "numbers", readsResults: true },
  );
  const sizes = [rows, shape.width];
  const numbers = fixedInput(sizes).subarray(0, elementCount(sizes));
  const results = evaluateFunction(
    fn,
    new Map([["x", hostTensor("fp32", sizes, Float64Array.from(numbers))]]),
  );
  const [result] = [...results.values()];
  return new Map(
    (result === undefined ? [] : [...result.data]).map((value, index) => [index, value]),
  );
}

/** Root of the mean square of the differences over that of what was expected. */
export function relativeError(expected: Expected, got: (index: number) => number): number {
  let difference = 0;
  let whole = 0;
  for (const [index, value] of expected) {
    difference += (got(index) - value) ** 2;
    whole += value ** 2;
  }
  return Math.sqrt(difference / Math.max(whole, Number.MIN_VALUE));
}

/**
 * What an engine of fp16 may be off: products land on a grid of 2^-16 (docs/numerics.md), chains add up, int8
 * activations fall to the other side of a rounding now and then.
 */
export function toleranceOf(shape: RowShape): number {
  if ("int8" in shape && shape.int8 === "w8a8") return 0.3;
  if (shape.kind === "conv1x1-chain") return 0.02 + 0.001 * shape.depth;
  return shape.kind === "op" ? 0.03 : 0.1;
}
