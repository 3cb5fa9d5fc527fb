import type { OutputRounding } from "../../../src/engine/sim/arithmetic.ts";
import type { ProductSizes } from "../../../src/engine/sim/grid-products.ts";
import type { Machine } from "../../../src/engine/sim/machine.ts";
import type { Numerics } from "../../../src/engine/sim/numerics.ts";

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
  rounding: OutputRounding = "nearest",
  numerics: Numerics = "exact",
): Float32Array {
  const view = ({ data, start = 0, rowStep, columnStep }: ArrayMatrix) => {
    const address = arena.allocate(4 * data.length);
    arena.floats(address, data.length).set(data);
    return { address: address + 4 * start, rowStep, columnStep };
  };
  const result = arena.allocate(4 * sizes.rows * sizes.columns);
  const product = { left: view(left), right: view(right), result };
  products.multiply([product], sizes, rounding, numerics);
  const numbers = Float32Array.from(arena.floats(result, sizes.rows * sizes.columns));
  arena.reset();
  return numbers;
}
