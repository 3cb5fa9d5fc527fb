import type { Arithmetic } from "../../chip/arithmetic/arithmetic.ts";
import type { HostTensor } from "../../mil/host-tensor.ts";
import type { WindowGeometry } from "../../mil/ops/windows.ts";
import type { ProductRules } from "./arithmetic.ts";
import type { Product } from "./grid-products.ts";
import { HalfTensor } from "./half-tensor.ts";
import type { Machine } from "./machine.ts";
import { roundToHalfBy } from "./rounding.ts";

/**
 * Convolutions with a kernel three wide as H17 and H18 compute them: F(2,3) along the width. Two neighbouring results
 * of a row come from four products, those of
 *
 *   weights g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2  and  inputs d0 - d2, d1 + d2, d2 - d1, d1 - d3,
 *
 * each rounded to fp16 half away from zero. With their sums m1 to m4 over channels and kernel rows, which are exact,
 * the results are m1 + m2 + m3 and m2 - m3 - m4. Pairs begin at even columns.
 */
export interface WinogradConvolution {
  /** [N, C, H, W] or [N, C, W]. */
  readonly x: HostTensor;
  /** [O, C, K, 3] or [O, C, 3]. */
  readonly weight: HostTensor;
  /** Starts the sums, where that is the rule. */
  readonly bias: Float64Array | undefined;
  readonly geometry: WindowGeometry;
  /** [N, O, H', W']. */
  readonly result: HalfTensor;
}

/**
 * Which convolutions take this way: 3x3 and 1x3 with stride and dilation 1 in one group. The study of M6 found one
 * shape that does not, 256 channels of 8x16; its condition is not known, so no shape is left out here.
 */
export function hasWinograd(
  { kernel, strides, dilations }: WindowGeometry,
  groups: number,
  arithmetic: Arithmetic,
): boolean {
  const height = kernel.length === 2 ? kernel[0] : 1;
  return (
    arithmetic["convolution.wide"] === "winograd" &&
    groups === 1 &&
    kernel.length <= 2 &&
    kernel.at(-1) === 3 &&
    (height === 1 || height === 3) &&
    strides.every((stride) => stride === 1) &&
    dilations.every((dilation) => dilation === 1)
  );
}

const away = (value: number): number => roundToHalfBy(value, "half-away");

/** Results at even and at odd columns are each one product over three times the channels and rows. */
const EVEN = [
  { weight: 0, input: 0, sign: 1 },
  { weight: 1, input: 1, sign: 1 },
  { weight: 2, input: 2, sign: 1 },
] as const;
const ODD = [
  { weight: 1, input: 1, sign: 1 },
  { weight: 2, input: 2, sign: -1 },
  { weight: 3, input: 3, sign: -1 },
] as const;

export function winograd(
  { x, weight, bias, geometry, result }: WinogradConvolution,
  rules: ProductRules,
  machine: Machine,
): void {
  const { arena } = machine;
  const [batch = 1, channels = 1] = x.shape;
  const [outputs = 1] = weight.shape;
  const [height = 1, width = 1] = x.shape.length === 4 ? x.shape.slice(2) : [1, x.shape[2] ?? 1];
  const [rows = 1, columns = 1] =
    result.shape.length === 4 ? result.shape.slice(2) : [1, result.shape[2] ?? 1];
  const kernelRows = geometry.kernel.length === 2 ? (geometry.kernel[0] ?? 1) : 1;
  const top = geometry.kernel.length === 2 ? Number(geometry.pads[0]?.[0] ?? 0) : 0;
  const left = Number(geometry.pads.at(-1)?.[0] ?? 0);
  const pairs = Math.ceil(columns / 2);
  const places = rows * pairs;
  const terms = channels * kernelRows;
  const extra = bias === undefined ? 0 : 1;
  const depth = extra + 3 * terms;

  /** Four transformed weights of each term, [O, C * K, 4]. */
  const weights = new Float64Array(outputs * terms * 4);
  for (let i = 0; i < outputs * terms; i++) {
    const [g0 = 0, g1 = 0, g2 = 0] = weight.data.subarray(3 * i, 3 * i + 3);
    weights.set([g0, away((g0 + g1 + g2) / 2), away((g0 - g1 + g2) / 2), g2], 4 * i);
  }
  const inputAt = (start: number, row: number, column: number): number =>
    row < 0 || row >= height || column < 0 || column >= width
      ? 0
      : (x.data[start + row * width + column] ?? 0);
  const lefts = [EVEN, ODD].map((points) => {
    const matrix = HalfTensor.allocate(arena, "fp16", [outputs, depth]);
    const numbers = matrix.numbers();
    for (let o = 0; o < outputs; o++) {
      if (bias !== undefined) numbers[o * depth] = bias[o] ?? 0;
      points.forEach(({ weight: point, sign }, part) => {
        for (let term = 0; term < terms; term++) {
          numbers[o * depth + extra + 3 * term + part] =
            sign * (weights[(o * terms + term) * 4 + point] ?? 0);
        }
      });
    }
    return matrix;
  });
  for (let n = 0; n < batch; n++) {
    const rights = [0, 1].map(() => HalfTensor.allocate(arena, "fp16", [depth, places]));
    const [even, odd] = rights.map((matrix) => matrix.numbers());
    if (even === undefined || odd === undefined) return;
    even.fill(1, 0, extra * places);
    odd.fill(1, 0, extra * places);
    for (let term = 0; term < terms; term++) {
      const channel = Math.floor(term / kernelRows);
      const kernelRow = term % kernelRows;
      const start = (n * channels + channel) * height * width;
      for (let place = 0; place < places; place++) {
        const row = Math.floor(place / pairs) + kernelRow - top;
        const column = 2 * (place % pairs) - left;
        const d1 = inputAt(start, row, column + 1);
        const d2 = inputAt(start, row, column + 2);
        const points = [
          away(inputAt(start, row, column) - d2),
          away(d1 + d2),
          away(d2 - d1),
          away(d1 - inputAt(start, row, column + 3)),
        ];
        for (let part = 0; part < 3; part++) {
          const at = (extra + 3 * term + part) * places + place;
          even[at] = points[EVEN[part]?.input ?? 0] ?? 0;
          odd[at] = points[ODD[part]?.input ?? 0] ?? 0;
        }
      }
    }
    const made = HalfTensor.allocate(arena, "fp16", [2, outputs, places]);
    const products = [0, 1].map((side): Product => ({
      left: { address: lefts[side]?.address ?? 0, rowStep: depth, columnStep: 1 },
      right: { address: rights[side]?.address ?? 0, rowStep: places, columnStep: 1 },
      result: made.address + 4 * side * outputs * places,
    }));
    machine.products.multiply(products, { rows: outputs, depth, columns: places }, rules, "exact");
    const from = made.numbers();
    const to = result.numbers();
    for (let o = 0; o < outputs; o++) {
      for (let place = 0; place < places; place++) {
        const column = 2 * (place % pairs);
        const at = ((n * outputs + o) * rows + Math.floor(place / pairs)) * columns + column;
        to[at] = from[o * places + place] ?? 0;
        if (column + 1 < columns) to[at + 1] = from[(outputs + o) * places + place] ?? 0;
      }
    }
    for (const matrix of [...rights, made]) matrix.release();
  }
  for (const matrix of lefts) matrix.release();
}
