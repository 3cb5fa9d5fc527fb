import type { FunctionBuilder } from "../mil/builder.ts";
import type { Value } from "../mil/program.ts";
import { elementCount, sameShape } from "../mil/types.ts";
import { knownShape } from "../mil/match.ts";

/** The same numbers in at most `most` axes: the first ones are joined. */
export function foldedShape(shape: readonly number[], most: number): readonly number[] {
  const joined = shape.length - most;
  return joined <= 0
    ? shape
    : [elementCount(shape.slice(0, joined + 1)), ...shape.slice(joined + 1)];
}

function reshaped(builder: FunctionBuilder, x: Value, shape: readonly number[]): Value {
  const known = knownShape(x);
  return known !== undefined && sameShape(known, shape) ? x : builder.op("reshape", { x, shape });
}

/** Neighbouring axes that stay neighbours count as one; axes of one element as none. */
function mergedTranspose(
  shape: readonly number[],
  order: readonly number[],
): { readonly sizes: readonly number[]; readonly order: readonly number[] } {
  const kept = order.filter((axis) => (shape[axis] ?? 1) !== 1);
  const groups: number[][] = [];
  const present = shape.map((_, axis) => axis).filter((axis) => (shape[axis] ?? 1) !== 1);
  for (const axis of kept) {
    const last = groups.at(-1);
    const before = last?.at(-1);
    const follows = before !== undefined && present.indexOf(axis) === present.indexOf(before) + 1;
    if (last !== undefined && follows) last.push(axis);
    else groups.push([axis]);
  }
  const sorted = groups.toSorted((a, b) => (a[0] ?? 0) - (b[0] ?? 0));
  return {
    sizes: sorted.map((group) => elementCount(group.map((axis) => shape[axis] ?? 1))),
    order: groups.map((group) => sorted.indexOf(group)),
  };
}

/**
 * A transpose of more axes than the chip takes, as several of rank 5 at most, between reshapes. `x` holds the
 * numbers of a tensor of `shape` in memory order; so does the result of the transposed one.
 */
export function foldedTranspose(
  builder: FunctionBuilder,
  x: Value,
  shape: readonly number[],
  permutation: readonly number[],
  most: number,
): Value {
  const { sizes, order } = mergedTranspose(shape, permutation);
  if (sizes.length <= 1) return x;
  if (sizes.length <= most)
    return builder.op("transpose", { x: reshaped(builder, x, sizes), perm: order });
  // One axis after the other goes to its place: [before, between, axis, behind] becomes [before, axis, between, behind].
  let current = x;
  const present = sizes.map((_, axis) => axis);
  for (const [place, axis] of order.entries()) {
    const from = present.indexOf(axis);
    if (from === place) continue;
    const size = (start: number, end?: number): number =>
      elementCount(present.slice(start, end).map((other) => sizes[other] ?? 1));
    const blocks = [size(0, place), size(place, from), size(from, from + 1), size(from + 1)];
    current = builder.op("transpose", {
      x: reshaped(builder, current, blocks),
      perm: [0, 2, 1, 3],
    });
    present.splice(from, 1);
    present.splice(place, 0, axis);
  }
  return current;
}

/**
 * Shapes of two operands and their result with fewer axes: neighbours along which each operand has either all sizes
 * of the result or none are one axis. Broadcasting gives the same.
 */
export function foldedBroadcast(
  shapes: readonly (readonly number[])[],
  result: readonly number[],
): readonly (readonly number[])[] {
  const padded = shapes.map((shape) => [
    ...Array.from({ length: result.length - shape.length }, () => 1),
    ...shape,
  ]);
  const folded: number[][] = padded.map(() => []);
  let before: string | undefined;
  for (const [axis, size] of result.entries()) {
    if (size === 1) continue;
    const own = padded.map((shape) => shape[axis] ?? 1);
    const pattern = own.map((count) => (count === 1 ? "1" : "n")).join("");
    for (const [index, sizes] of folded.entries()) {
      const count = own[index] ?? 1;
      if (pattern === before) sizes[sizes.length - 1] = (sizes.at(-1) ?? 1) * count;
      else sizes.push(count);
    }
    before = pattern;
  }
  return folded;
}
