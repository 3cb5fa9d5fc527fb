import type { OpName } from "../../../src/mil/ops/index.ts";
import type { DrawCase } from "./case.ts";

type ReductionName =
  | "reduce_l1_norm"
  | "reduce_l2_norm"
  | "reduce_log_sum"
  | "reduce_log_sum_exp"
  | "reduce_max"
  | "reduce_mean"
  | "reduce_min"
  | "reduce_prod"
  | "reduce_sum"
  | "reduce_sum_square";

function reduction(type: ReductionName, low = -2, high = 2): DrawCase {
  return (c) => {
    const shape = c.shape(1);
    const x = c.float("x", shape, low, high);
    const axes = c.chance(0.2) ? undefined : c.axes(shape.length);
    return [c.f.op(type, { x, axes, keep_dims: c.chance() })];
  };
}

export const REDUCTION_CASES: Partial<Record<OpName, DrawCase>> = {
  reduce_l1_norm: reduction("reduce_l1_norm"),
  reduce_l2_norm: reduction("reduce_l2_norm"),
  reduce_log_sum: reduction("reduce_log_sum", 0.3, 2),
  reduce_log_sum_exp: reduction("reduce_log_sum_exp"),
  reduce_max: reduction("reduce_max"),
  reduce_mean: reduction("reduce_mean"),
  reduce_min: reduction("reduce_min"),
  // Zeros, none, one or several in a row of factors, are where a quotient of the product would fail.
  reduce_prod: (c) => {
    const shape = c.shape(1, 3);
    const x = c.floats("x", shape, () => (c.chance(0.2) ? 0 : 4 * c.random.uniform() - 2));
    return [c.f.op("reduce_prod", { x, axes: c.axes(shape.length), keep_dims: c.chance() })];
  },
  reduce_sum: reduction("reduce_sum"),
  reduce_sum_square: reduction("reduce_sum_square"),
};
