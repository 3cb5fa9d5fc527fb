import type { Value } from "../mil/program.ts";
import { elementCount, staticShape } from "../mil/types.ts";
import { halfSteps } from "./half-constants.ts";
import type { Lowered, Product } from "./lowered-value.ts";
import type { Writer } from "./writer.ts";

/**
 * Products of activations with reciprocal roots, kept apart until somebody needs the number. The derivative of
 * a norm multiplies with the root's cube: for activations of 0.02 that is 125000, and fp16 ends at 65504.
 * Written out, each root goes to one of the factors it normalizes, and the constants come in between.
 */
export function asProduct(lowered: Lowered): Product | undefined {
  switch (lowered.kind) {
    case "product":
      return lowered;
    case "plain":
      return {
        kind: "product",
        others: [lowered.value],
        scales: [],
        constant: 1,
        shape: lowered.shape,
      };
    default:
      return undefined;
  }
}

/** A row's statistic: one number a row, as norms have them, kept from the forward pass or just computed. */
export function isRowStatistic(lowered: Lowered): boolean {
  return lowered.kind === "plain" && lowered.shape.length > 1 && lowered.shape.at(-1) === 1;
}

/** The product of two, deferred as long as it holds two roots or more; nothing where both are ordinary. */
export function multiplyProducts(
  x: Product,
  y: Product,
  shape: readonly number[],
): Product | undefined {
  const known = new Set([...x.scales, ...y.scales]);
  const factors = [...x.others, ...y.others];
  const scales = [...x.scales, ...y.scales, ...factors.filter((factor) => known.has(factor))];
  if (scales.length < 2) return undefined;
  return {
    kind: "product",
    others: factors.filter((factor) => !known.has(factor)),
    scales,
    constant: x.constant * y.constant,
    shape,
  };
}

function sizeOf(value: Value): number {
  return value.type.kind === "tensor" ? elementCount(staticShape(value.type)) : 1;
}

export function writeProduct(writer: Writer, product: Product): Value {
  const { builder } = writer;
  const scales = [...product.scales];
  // Large factors first: each takes the root that normalizes it.
  const others = [...product.others].sort((a, b) => sizeOf(b) - sizeOf(a));
  const normalized = others.map((other) => {
    const scale = scales.pop();
    return scale === undefined ? other : builder.op("mul", { x: other, y: scale });
  });
  // The constant and the roots that are left go to the smallest factor, which costs least.
  let last = normalized.pop() ?? scales.pop();
  if (last === undefined) throw writer.refuse("a product of nothing");
  if (product.constant !== 1) {
    for (const step of halfSteps(product.constant)) last = builder.op("mul", { x: last, y: step });
  }
  for (const scale of scales) last = builder.op("mul", { x: last, y: scale });
  return normalized.reduceRight((so, factor) => builder.op("mul", { x: factor, y: so }), last);
}
