import type { Operation } from "../../mil/program.ts";
import type { Match, Uses } from "./index.ts";
import { addProduct, scaledProduct } from "./product.ts";
import { addScattered } from "./scatter.ts";

export type FindFusion = (root: Operation, uses: Uses) => Match | undefined;

/** Patterns by the type of their last op, the larger ones first. */
export const FUSIONS: Readonly<Record<string, readonly FindFusion[]>> = {
  add: [addProduct, addScattered],
  mul: [scaledProduct],
};
