import type { HostTensor } from "../../mil/host-tensor.ts";
import { float16Bits, float16Value } from "../../util/float16.ts";
import { truncatedFloat16Bits } from "./arithmetic.ts";
import type { ProductRules } from "./arithmetic.ts";
import type { SimContext } from "./context.ts";
import type { Product, ProductSizes } from "./grid-products.ts";
import { HalfTensor } from "./half-tensor.ts";
import type { QuantizedNumbers } from "./half-tensor.ts";
import type { Machine } from "./machine.ts";
import { float16BitsAway } from "./rounding.ts";

/** Integer sums are infinite from here on. */
const CEILING = 2 ** 31;

/** Both operands of a product as integers, where the engine multiplies them as such. */
export interface IntegerOperands {
  readonly x: QuantizedNumbers;
  readonly weight: QuantizedNumbers;
}

/** Nothing unless both come from int8 numbers and the rule is that integers are multiplied. */
export function integerOperands(
  x: HostTensor,
  weight: HostTensor,
  { numerics, arithmetic }: SimContext,
): IntegerOperands | undefined {
  if (numerics !== "exact" || arithmetic["int8.sum"] !== "integer") return undefined;
  if (!(x instanceof HalfTensor) || !(weight instanceof HalfTensor)) return undefined;
  if (x.quantized === undefined || weight.quantized === undefined) return undefined;
  // One scale for all inputs of a sum; the weights' may differ by output.
  if (x.quantized.scales.length !== 1) return undefined;
  return { x: x.quantized, weight: weight.quantized };
}

/**
 * Products of integers, which are exact 32-bit sums; `scaleOf` and `biasOf` belong to a result's row and column.
 * What is scaled, the bias included, is rounded to fp16 once.
 */
export function multiplyIntegers(
  products: readonly Product[],
  { rows, depth, columns }: ProductSizes,
  scaleOf: (product: number, row: number, column: number) => number,
  biasOf: (product: number, row: number, column: number) => number,
  { output }: ProductRules,
  { arena }: Machine,
): void {
  const whole = new Float32Array(arena.memory.buffer as unknown as ArrayBuffer);
  const round = (value: number): number =>
    float16Value(
      output === "half-away"
        ? float16BitsAway(value)
        : output === "cut"
          ? truncatedFloat16Bits(value)
          : float16Bits(value),
    );
  products.forEach(({ left, right, result }, index) => {
    for (let row = 0; row < rows; row++) {
      const sums = new Float64Array(columns);
      for (let k = 0; k < depth; k++) {
        const a = whole[left.address / 4 + row * left.rowStep + k * left.columnStep] ?? 0;
        if (a === 0) continue;
        const from = right.address / 4 + k * right.rowStep;
        for (let column = 0; column < columns; column++) {
          sums[column] = (sums[column] ?? 0) + a * (whole[from + column * right.columnStep] ?? 0);
        }
      }
      for (let column = 0; column < columns; column++) {
        const sum = sums[column] ?? 0;
        const isInfinite = Math.abs(sum) >= CEILING;
        const scaled = sum * scaleOf(index, row, column) + biasOf(index, row, column);
        whole[result / 4 + row * columns + column] = isInfinite
          ? Math.sign(sum) * Infinity
          : round(scaled);
      }
    }
  });
}
