import { elementCount } from "../../mil/types.ts";
import { computeTypeOf } from "../element-types.ts";
import type { Lowering, LoweringSite } from "./site.ts";

/**
 * A reduction that adds or multiplies. ONNX Runtime ends sums of int32 at the ends of int32, where integers of the
 * language wrap around: they are reduced in 64 bits, and the cast takes the lower half. In 64 bits there are sums and
 * products alone.
 */
const accumulation =
  (opType: "ReduceL1" | "ReduceMean" | "ReduceProd" | "ReduceSum" | "ReduceSumSquare"): Lowering =>
  (site) => {
    if (computeTypeOf(site.type("x")) !== "int32") return reduction(opType)(site);
    const x = site.cast(site.value("x"), "int64");
    const wide = (): string => {
      switch (opType) {
        case "ReduceL1":
          return reduced(site, "ReduceSum", site.node("Abs", [x]));
        case "ReduceSumSquare":
          return reduced(site, "ReduceSum", site.node("Mul", [x, x]));
        case "ReduceMean": {
          const count = elementCount(site.shape("x")) / Math.max(1, site.elementCount);
          return site.node("Div", [reduced(site, "ReduceSum", x), site.int(count)]);
        }
        case "ReduceProd":
        case "ReduceSum":
          return reduced(site, opType, x);
      }
    };
    return site.cast(wide(), "int32");
  };

const reduction =
  (opType: string): Lowering =>
  (site) =>
    reduced(site, opType, site.value("x"));

function reduced(site: LoweringSite, opType: string, x: string): string {
  const axes = site.call.axes("axes", site.shape("x").length);
  if (axes.length === 0) {
    // MIL then reduces runs of one element each; ONNX would reduce everything or nothing.
    const shape = site.shape("x");
    return site.node(opType, [site.reshape(x, [...shape, 1]), site.graph.ints([shape.length])], {
      keepdims: 0n,
    });
  }
  return site.node(opType, [x, site.graph.ints(axes)], {
    keepdims: site.call.bool("keep_dims") ? 1n : 0n,
  });
}

/**
 * ONNX Runtime's own ReduceLogSumExp takes one number at a time; Softmax is vectorized, and a derivative
 * needs it anyway. The largest probability is 1 / sum(exp(x - max)).
 */
const logSumExp: Lowering = (site) => {
  const [axis, ...others] = site.call.axes("axes", site.shape("x").length);
  const isEmpty = site.shape("x").includes(0);
  if (axis === undefined || others.length > 0 || isEmpty) return reduction("ReduceLogSumExp")(site);
  const x = site.value("x");
  const over = site.graph.ints([axis]);
  const keepdims = site.call.bool("keep_dims") ? 1n : 0n;
  const probabilities = site.node("Softmax", [x], { axis: BigInt(axis) });
  const largest = site.node("ReduceMax", [probabilities, over], { keepdims });
  const maximum = site.node("ReduceMax", [x, over], { keepdims });
  const sum = site.node("Sub", [maximum, site.node("Log", [largest])]);
  // Where the largest number is infinite the softmax is NaN, and the largest number is the result.
  const isInfinite = site.node("Equal", [site.node("Abs", [maximum]), site.scalar(Infinity)]);
  return site.node("Where", [isInfinite, maximum, sum]);
};

const position =
  (opType: string): Lowering =>
  (site) => {
    const index = site.node(opType, [site.value("x")], {
      axis: site.axis(),
      keepdims: site.call.bool("keep_dims") ? 1n : 0n,
      select_last_index: 0n,
    });
    return site.cast(index, computeTypeOf(site.resultType().dataType));
  };

export const LOWER_REDUCTION = {
  reduce_argmax: position("ArgMax"),
  reduce_argmin: position("ArgMin"),
  reduce_l1_norm: accumulation("ReduceL1"),
  reduce_l2_norm: reduction("ReduceL2"),
  reduce_log_sum: reduction("ReduceLogSum"),
  reduce_log_sum_exp: logSumExp,
  reduce_max: reduction("ReduceMax"),
  reduce_mean: accumulation("ReduceMean"),
  reduce_min: reduction("ReduceMin"),
  reduce_prod: accumulation("ReduceProd"),
  reduce_sum: accumulation("ReduceSum"),
  reduce_sum_square: accumulation("ReduceSumSquare"),
} as const satisfies Record<string, Lowering>;
