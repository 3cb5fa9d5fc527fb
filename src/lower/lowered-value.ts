import type { Value } from "../mil/program.ts";

/** What stands for a value of the plan's function while it is rewritten for the engine. */
export type Lowered =
  /** `value` broadcasts to `shape`; they differ after a `tile` that nobody needed to write out. */
  | { readonly kind: "plain"; readonly value: Value; readonly shape: readonly number[] }
  /** An axis too long for the chip, in parts. `axis` counts from the end: -1 is the last. */
  | {
      readonly kind: "parts";
      readonly values: readonly Value[];
      readonly axis: number;
      readonly sizes: readonly number[];
      readonly shape: readonly number[];
    }
  /** More axes than the chip takes: the same numbers in memory order with fewer of them. */
  | { readonly kind: "folded"; readonly value: Value; readonly shape: readonly number[] }
  /** What the host computes before the engine runs; `value` is that of the plan's function. */
  | { readonly kind: "host"; readonly value: Value; readonly shape: readonly number[] }
  /**
   * A product that has not been written out because of its powers of a reciprocal root: y^3 of a small
   * activation is beyond fp16, although the whole product is not. `scales` are those roots.
   */
  | {
      readonly kind: "product";
      readonly others: readonly Value[];
      readonly scales: readonly Value[];
      readonly constant: number;
      readonly shape: readonly number[];
    }
  | { readonly kind: "uniform"; readonly number: number; readonly shape: readonly number[] };

export type Parts = Extract<Lowered, { kind: "parts" }>;
export type Product = Extract<Lowered, { kind: "product" }>;

/** How long the parts of an axis are: as even as possible, multiples of 32 but for the last. */
export function partSizes(size: number, limit: number): readonly number[] {
  const count = Math.ceil(size / limit);
  const each = Math.min(limit, Math.ceil(size / count / 32) * 32);
  const sizes: number[] = [];
  for (let rest = size; rest > 0; rest -= each) sizes.push(Math.min(each, rest));
  return sizes;
}

/** Parts of one length each, as results that leave the function want them. */
const MOST_EVEN_PARTS = 32;

/** The same with parts of one length, where a number of parts up to 32 allows it. */
export function evenSizes(size: number, limit: number): readonly number[] {
  for (let count = Math.ceil(size / limit); count <= MOST_EVEN_PARTS; count++) {
    if (size % count === 0) return Array.from({ length: count }, () => size / count);
  }
  return partSizes(size, limit);
}
