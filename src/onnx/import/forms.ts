import { int32sLiteral } from "../../mil/literal.ts";
import type { Operand } from "../../mil/program.ts";
import type { OpName } from "../../mil/ops/index.ts";
import { elementCount } from "../../mil/types.ts";
import type { ImportSite } from "./site.ts";

// Short forms of what many operators are made of. All sizes are known.

type Binary = Extract<
  OpName,
  | "add"
  | "sub"
  | "mul"
  | "real_div"
  | "floor_div"
  | "mod"
  | "maximum"
  | "minimum"
  | "pow"
  | "less"
  | "less_equal"
  | "greater"
  | "greater_equal"
  | "equal"
  | "not_equal"
>;

export function binary(site: ImportSite, type: Binary, x: Operand, y: Operand | number): Operand {
  return site.op(type, { x, y: typeof y === "number" ? site.scalar(site.typeOf(x), y) : y });
}

export const add = (site: ImportSite, x: Operand, y: Operand | number): Operand =>
  binary(site, "add", x, y);
export const sub = (site: ImportSite, x: Operand, y: Operand | number): Operand =>
  binary(site, "sub", x, y);
export const mul = (site: ImportSite, x: Operand, y: Operand | number): Operand =>
  binary(site, "mul", x, y);

/** x where `cond` holds, else y. */
export function select(
  site: ImportSite,
  cond: Operand,
  x: Operand | number,
  y: Operand | number,
): Operand {
  const typed = typeof x === "number" ? y : x;
  const type = typeof typed === "number" ? "fp32" : site.typeOf(typed);
  const operand = (value: Operand | number): Operand =>
    typeof value === "number" ? site.scalar(type, value) : value;
  return site.op("select", { cond, a: operand(x), b: operand(y) });
}

/** Elements `from` to `to` (exclusive) of one axis. */
export function sliced(
  site: ImportSite,
  x: Operand,
  axis: number,
  from: number,
  to: number,
  stride = 1,
): Operand {
  const shape = site.shapeOf(x);
  if (from === 0 && to === shape[axis] && stride === 1) return x;
  return site.op("slice_by_index", {
    x,
    begin: shape.map((_, place) => (place === axis ? from : 0)),
    end: shape.map((size, place) => (place === axis ? to : size)),
    ...(stride !== 1 && { stride: shape.map((_, place) => (place === axis ? stride : 1)) }),
  });
}

/** One element of an axis, which goes. */
export function picked(site: ImportSite, x: Operand, axis: number, index: number): Operand {
  const part = sliced(site, x, axis, index, index + 1);
  return site.reshape(part, site.shapeOf(x).toSpliced(axis, 1));
}

export function concatenated(site: ImportSite, values: readonly Operand[], axis: number): Operand {
  const present = values.filter((value) => !site.shapeOf(value).includes(0));
  const [first = values[0], ...others] = present;
  if (first === undefined) throw site.fail("nothing stands to be joined");
  return others.length === 0 ? first : site.op("concat", { values: [first, ...others], axis });
}

/** Elements of one axis by constant indices. */
export function taken(
  site: ImportSite,
  x: Operand,
  axis: number,
  indices: readonly number[],
): Operand {
  return site.op("gather", { x, indices: int32sLiteral(indices), axis });
}

/** A tensor of one number. Integers and bools of MIL's smaller types as they are. */
export function filledWith(
  site: ImportSite,
  shape: readonly number[],
  like: Operand,
  value: number,
): Operand {
  const type = site.typeOf(like);
  const count = elementCount(shape);
  return site.constant(type, shape, new Float64Array(count).fill(value));
}

/** x with an axis of size 1 added. */
export function withAxis(site: ImportSite, x: Operand, axis: number): Operand {
  return site.reshape(x, site.shapeOf(x).toSpliced(axis, 0, 1));
}

/** 0, 1, 2 … as int32 [count]. */
export function counted(count: number): Operand {
  return int32sLiteral(Array.from({ length: count }, (_, index) => index));
}

export function sumOver(
  site: ImportSite,
  x: Operand,
  axes: readonly number[],
  keepDims = false,
): Operand {
  return axes.length === 0 ? x : site.op("reduce_sum", { x, axes, keep_dims: keepDims });
}
