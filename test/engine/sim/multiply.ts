import { arithmeticOf } from "../../../src/chip/arithmetic/arithmetic.ts";
import { productRules } from "../../../src/engine/sim/arithmetic.ts";
import type { ProductRules } from "../../../src/engine/sim/arithmetic.ts";
import type { ProductSizes } from "../../../src/engine/sim/grid-products.ts";
import type { Machine } from "../../../src/engine/sim/machine.ts";
import type { Numerics } from "../../../src/engine/sim/numerics.ts";

/** Of M4's matrix products, as best supported, and as they were believed in August 2026. */
export const CURRENT_RULES = productRules(arithmeticOf("H16"), "matmul");
export const AUGUST_RULES = productRules(arithmeticOf("H16", "2026-08"), "matmul");

/** A matrix in an array of fp16 numbers: element (i, j) stands at `start + i * rowStep + j * columnStep`. */
export interface ArrayMatrix {
  readonly data: ArrayLike<number>;
  readonly start?: number;
  readonly rowStep: number;
  readonly columnStep: number;
}

/** One product on a simulated engine, as numbers. */
export function multiply(
  { arena, products }: Machine,
  left: ArrayMatrix,
  right: ArrayMatrix,
  sizes: ProductSizes,
  rules: ProductRules = CURRENT_RULES,
  numerics: Numerics = "exact",
): Float32Array {
  const view = ({ data, start = 0, rowStep, columnStep }: ArrayMatrix) => {
    const address = arena.allocate(4 * data.length);
    arena.floats(address, data.length).set(data);
    return { address: address + 4 * start, rowStep, columnStep };
  };
  const result = arena.allocate(4 * sizes.rows * sizes.columns);
  const product = { left: view(left), right: view(right), result };
  products.multiply([product], sizes, rules, numerics);
  const numbers = Float32Array.from(arena.floats(result, sizes.rows * sizes.columns));
  arena.reset();
  return numbers;
}
