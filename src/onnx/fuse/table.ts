import type { FindFusion } from "./match.ts";
import { rootMeanSquareNorm } from "./norm.ts";
import { addProduct, scaledProduct } from "./product.ts";
import { addScattered } from "./scatter.ts";

/** Patterns by the type of their last op, the larger ones first. */
export const FUSIONS: Readonly<Record<string, readonly FindFusion[]>> = {
  add: [addProduct, addScattered],
  mul: [scaledProduct],
};

/** Further ones for graphs that only read: where a gradient is wanted, others read what stands between. */
export const READING_FUSIONS: typeof FUSIONS = {
  ...FUSIONS,
  mul: [rootMeanSquareNorm, scaledProduct],
};
