import type { OpCall } from "../mil/op-call.ts";
import type { Value } from "../mil/program.ts";
import { elementCount } from "../mil/types.ts";
import { declaredShape } from "./declared.ts";
import { applyBinary } from "./elementwise.ts";
import type { Lowered } from "./lowered-value.ts";
import { partSizes } from "./lowered-value.ts";
import type { Lowering } from "./lowering.ts";
import { sumOfParts } from "./parts.ts";
import type { LoweringRule } from "./rule.ts";

/** The parts of the axis that indices point along. */
function indexedSizes(lowering: Lowering, x: Lowered, axis: number): readonly number[] {
  if (x.kind === "parts") return x.sizes;
  return partSizes(x.shape[axis] ?? 1, lowering.axisLimit);
}

/** One-hot rows [rows, depth] that the host makes of indices into an axis of `sizes` together. */
function oneHotRows(
  lowering: Lowering,
  indices: Value,
  rows: number,
  sizes: readonly number[],
): readonly Value[] {
  const size = sizes.reduce((sum, depth) => sum + depth, 0);
  const { value, negative } = lowering.host.indexSource(indices, size);
  const from = lowering.host.sourceOf(value);
  let first = 0;
  return sizes.map((depth) => {
    const conversion = { kind: "one-hot", first, depth, size, negative } as const;
    const port = lowering.hostPort(from, rows, conversion);
    first += depth;
    return port;
  });
}

/** Rows of a matrix up to which a row is taken by a product: what a prompt's prefill has. */
const GATHER_LIMIT = 4096;

/**
 * A few rows of a short matrix: one-hot rows times it. Rows of a table that the host has are the host's to look up,
 * and functions without products of their own are its work altogether.
 */
export const gather: LoweringRule = (lowering, call, operation) => {
  if (!lowering.hasProducts) return undefined;
  const x = lowering.lookup(call, "x");
  const indices = lowering.indicesOf(call);
  const [rows = 0] = x.shape;
  const isMatrix = x.kind === "plain" && x.shape.length === 2 && isAlongRows(call);
  const shape = declaredShape(operation);
  if (!isMatrix || rows > GATHER_LIMIT || indices === undefined) {
    if (!lowering.host.takesLookUp(operation)) return undefined;
    const [output] = operation.outputs;
    return output === undefined ? undefined : { kind: "host", value: output, shape };
  }
  const count = elementCount(call.staticShape("indices"));
  const [hot] = oneHotRows(lowering, indices, count, [rows]);
  if (hot === undefined) return undefined;
  const table = lowering.padded(lowering.whole(x), -2);
  const value = lowering.builder.op("matmul", {
    x: lowering.padded(hot, -1),
    y: table,
    transpose_x: false,
    transpose_y: false,
  });
  return lowering.plain(lowering.reshape(value, shape), shape);
};

function isAlongRows(call: OpCall): boolean {
  return call.axis("axis", 2) === 0 && call.int("batch_dims") === 0;
}

/** Other look-ups by indices of the host in a table that it has. */
export const lookUp: LoweringRule = (lowering, _call, operation) => {
  if (!lowering.hasProducts || !lowering.host.takesLookUp(operation)) return undefined;
  const [output] = operation.outputs;
  if (output === undefined) return undefined;
  return { kind: "host", value: output, shape: declaredShape(operation) };
};

/** x[i, index[i]]: the sum over x times a one-hot row, of which one term is not 0. */
export const gatherAlongAxis: LoweringRule = (lowering, call, operation) => {
  const x = lowering.lookup(call, "x");
  const axis = call.axis("axis", x.shape.length);
  const indices = lowering.indicesOf(call);
  const isOneEach = x.shape.length === 2 && axis === 1 && call.shape("indices")[1] === 1;
  if (indices === undefined || !isOneEach) {
    const found = lookUp(lowering, call, operation);
    if (found !== undefined) return found;
    throw lowering.refuse("gather_along_axis other than one element a row");
  }
  const sizes = indexedSizes(lowering, x, axis);
  const hot = oneHotRows(lowering, indices, x.shape[0] ?? 1, sizes);
  const values = x.kind === "parts" ? x.values : wholeParts(lowering, x, sizes);
  const sums = values.map((part, index) =>
    lowering.builder.op("reduce_sum", {
      x: lowering.builder.op("mul", { x: part, y: hot[index] ?? part }),
      axes: [1],
      keep_dims: true,
    }),
  );
  return lowering.plain(sumOfParts(lowering, sums));
};

function wholeParts(lowering: Lowering, x: Lowered, sizes: readonly number[]): readonly Value[] {
  if (sizes.length !== 1)
    throw lowering.refuse(`gather_along_axis of an axis of ${x.shape[1]} that is whole`);
  return [lowering.whole(x)];
}

/** One element a row added to (or written into zeros): the updates times a one-hot row, added. */
export const scatterAlongAxis: LoweringRule = (lowering, call, operation) => {
  const data = lowering.lookup(call, "data");
  const updates = lowering.lookup(call, "updates");
  const axis = call.axis("axis", data.shape.length);
  const indices = lowering.indicesOf(call);
  const isZero = data.kind === "uniform" && data.number === 0;
  const mode = call.string("mode");
  const isAdded = mode === "add" || (isZero && mode === "update");
  const [rows = 1] = data.shape;
  const isOneEach = data.shape.length === 2 && axis === 1 && updates.shape[1] === 1;
  if (!isAdded || indices === undefined || !isOneEach) {
    throw lowering.refuse("scatter_along_axis other than adding one element a row");
  }
  const sizes = indexedSizes(lowering, data, axis);
  const hot = oneHotRows(lowering, indices, rows, sizes);
  const factor = lowering.broadcastable(updates);
  const values = hot.map((part) => lowering.builder.op("mul", { x: part, y: factor }));
  const [only] = values;
  const placed: Lowered =
    only !== undefined && values.length === 1
      ? lowering.plain(only)
      : { kind: "parts", values, axis: -1, sizes, shape: data.shape };
  if (isZero) return placed;
  return applyBinary(lowering, "add", data, placed, declaredShape(operation));
};
