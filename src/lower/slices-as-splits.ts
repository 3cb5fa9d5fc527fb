import { OpCall } from "../mil/op-call.ts";
import { OPS } from "../mil/ops/index.ts";
import type { MilFunction, Operation, Value } from "../mil/program.ts";
import { knownShape, operandOf } from "../mil/match.ts";
import { rewritingOnce } from "../passes/rewrite.ts";
import { grouped } from "../util/grouped.ts";
import type { Pass } from "../passes/rewrite.ts";

/** Parts of a value that are equally long along one axis and together the whole of it. */
interface Parts {
  readonly axis: number;
  readonly count: number;
}

/** A slice along one axis, in elements. */
interface Slice {
  readonly source: Value;
  readonly axis: number;
  readonly begin: number;
  readonly length: number;
}

/**
 * Slices that together are the whole of a value, in equal parts along one axis, as one split: the value is read once.
 * The derivative of joined halves, as of rotary positions, is such slices.
 */
export const slicesAsSplits: Pass = (fn) => {
  const slices = slicesOf(fn);
  const parts = wholesOf(slices);
  if (parts.size === 0) return fn;
  return rewritingOnce("slices as splits", () => {
    const made = new Map<Value, readonly Value[]>();
    return (operation, { emit }) => {
      const slice = slices.get(operation.outputs[0]?.name ?? "");
      const whole = slice === undefined ? undefined : parts.get(slice.source);
      const x = operandOf(operation, "x");
      if (slice === undefined || whole === undefined || x === undefined) return undefined;
      const { axis, count } = whole;
      const results = made.get(slice.source) ?? emit.many("split", { x, num_splits: count, axis });
      made.set(slice.source, results);
      return results[slice.begin / slice.length];
    };
  })(fn);
};

/** By the names of their results. */
function slicesOf(fn: MilFunction): ReadonlyMap<string, Slice> {
  const slices = new Map<string, Slice>();
  for (const operation of fn.operations) {
    const slice = operation.type === "slice_by_index" ? sliceOf(operation) : undefined;
    const [result] = operation.outputs;
    if (slice !== undefined && result !== undefined) slices.set(result.name, slice);
  }
  return slices;
}

/** Nothing for a slice with steps or masks, of several axes, or of the whole. */
function sliceOf(operation: Operation): Slice | undefined {
  const call = new OpCall(operation, OPS.slice_by_index);
  const source = operandOf(operation, "x");
  const shape = knownShape(source);
  const result = knownShape(operation.outputs[0]);
  const isPlain = ["stride", "begin_mask", "end_mask", "squeeze_mask"].every(
    (name) => !call.has(name),
  );
  if (source?.kind !== "value" || shape === undefined || !isPlain) return undefined;
  const changed = shape.flatMap((size, axis) => (size === result?.[axis] ? [] : [axis]));
  const [axis = -1] = changed;
  const [size, length] = [shape[axis], result?.[axis]];
  const begin = call.ints("begin")[axis] ?? 0;
  if (changed.length !== 1 || size === undefined || length === undefined) return undefined;
  return { source, axis, begin: begin < 0 ? begin + size : begin, length };
}

/** Values of which all slices are equal parts, each part read. */
function wholesOf(slices: ReadonlyMap<string, Slice>): ReadonlyMap<Value, Parts> {
  const wholes = new Map<Value, Parts>();
  for (const [source, of] of grouped(slices.values(), (slice) => slice.source)) {
    const [first] = of;
    const size = knownShape(source)?.[first?.axis ?? -1];
    if (first === undefined || size === undefined) continue;
    const { axis, length } = first;
    const isEven = of.every(
      (slice) => slice.axis === axis && slice.length === length && slice.begin % length === 0,
    );
    const begins = new Set(of.map(({ begin }) => begin));
    if (isEven && begins.size * length === size) wholes.set(source, { axis, count: begins.size });
  }
  return wholes;
}
