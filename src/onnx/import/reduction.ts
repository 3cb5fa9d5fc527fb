import type { REDUCTION } from "../../mil/ops/reduction.ts";
import type { Import } from "./site.ts";

type Position = "reduce_argmax" | "reduce_argmin";
type Reduction = Exclude<keyof typeof REDUCTION, Position>;

const reduction =
  (type: Reduction): Import =>
  (site) => {
    const x = site.input(0);
    const rank = site.shape(0).length;
    const given = site.axes(1, rank);
    const isEmpty = given === undefined || given.length === 0;
    if (isEmpty && site.flag("noop_with_empty_axes", false)) return x;
    const axes = isEmpty ? Array.from({ length: rank }, (_, axis) => axis) : given;
    if (rank === 0) return x;
    const keepDims = site.flag("keepdims", true);
    return site.cast(
      site.op(type, { x: site.widened(x), axes, keep_dims: keepDims }),
      site.type(0),
    );
  };

const position =
  (type: Position): Import =>
  (site) => {
    const axis = site.ownAxis(0);
    const isLast = site.flag("select_last_index", false);
    const given = site.widened(site.input(0));
    // The first of equal numbers is taken: the last is the first from behind.
    const x = isLast ? site.op("reverse", { x: given, axes: [axis] }) : given;
    const place = site.op(type, { x, axis, keep_dims: site.flag("keepdims", true) });
    return isLast ? site.sub(site.scalar("int32", (site.shape(0)[axis] ?? 1) - 1), place) : place;
  };

export const IMPORT_REDUCTION = {
  ReduceL1: reduction("reduce_l1_norm"),
  ReduceL2: reduction("reduce_l2_norm"),
  ReduceLogSum: reduction("reduce_log_sum"),
  ReduceLogSumExp: reduction("reduce_log_sum_exp"),
  ReduceMax: reduction("reduce_max"),
  ReduceMean: reduction("reduce_mean"),
  ReduceMin: reduction("reduce_min"),
  ReduceProd: reduction("reduce_prod"),
  ReduceSum: reduction("reduce_sum"),
  ReduceSumSquare: reduction("reduce_sum_square"),
  ArgMax: position("reduce_argmax"),
  ArgMin: position("reduce_argmin"),
  CumSum: (site) =>
    site.op("cumsum", {
      x: site.input(0),
      axis: site.axis(site.number(1), site.shape(0).length),
      exclusive: site.flag("exclusive", false),
      reverse: site.flag("reverse", false),
    }),
} as const satisfies Record<string, Import>;
