import type { FindFusion } from "./match.ts";
import { addProduct, scaledProduct } from "./product.ts";
import { addScattered } from "./scatter.ts";

/** Patterns by the type of their last op, the larger ones first. */
export const FUSIONS: Readonly<Record<string, readonly FindFusion[]>> = {
  add: [addProduct, addScattered],
  mul: [scaledProduct],
};
