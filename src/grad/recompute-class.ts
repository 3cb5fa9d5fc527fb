import { isOpName } from "../mil/ops/index.ts";
import type { OpName } from "../mil/ops/index.ts";

/**
 * What running an op a second time costs, roughly. `view`: nothing, the numbers stay where they are.
 * `movement`: a copy. `elementwise`: a pass over the operands. `costly`: more than that for every element of
 * the result, so that keeping the result is worth its memory.
 */
const CLASSES = {
  view: ["reshape", "squeeze", "expand_dims", "flatten2d", "identity"],
  movement: [
    "transpose",
    "tile",
    "slice_by_index",
    "slice_by_size",
    "slice_update",
    "split",
    "concat",
    "stack",
    "pad",
    "reverse",
    "reverse_sequence",
    "sliding_windows",
    "band_part",
    "fill",
    "fill_like",
    "one_hot",
    "range_1d",
    "shape",
    "gather",
    "gather_along_axis",
    "gather_nd",
  ],
  elementwise: [
    "add",
    "sub",
    "mul",
    "real_div",
    "floor_div",
    "mod",
    "maximum",
    "minimum",
    "pow",
    "equal",
    "not_equal",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "logical_and",
    "logical_or",
    "logical_xor",
    "logical_not",
    "select",
    "abs",
    "acos",
    "asin",
    "atan",
    "atanh",
    "ceil",
    "cos",
    "cosh",
    "erf",
    "exp",
    "exp2",
    "floor",
    "round",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "tan",
    "tanh",
    "inverse",
    "log",
    "rsqrt",
    "clip",
    "threshold",
    "cast",
    "relu",
    "relu6",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
    "gelu",
    "clamped_relu",
    "elu",
    "leaky_relu",
    "linear_activation",
    "scaled_tanh",
    "sigmoid_hard",
    "thresholded_relu",
    "prelu",
    "softplus_parametric",
    "batch_norm",
  ],
  costly: [
    "matmul",
    "linear",
    "conv",
    "conv_quantized",
    "conv_transpose",
    "scaled_dot_product_attention",
    "softmax",
    "layer_norm",
    "instance_norm",
    "l2_norm",
    "local_response_norm",
    "reduce_argmax",
    "reduce_argmin",
    "reduce_l1_norm",
    "reduce_l2_norm",
    "reduce_log_sum",
    "reduce_log_sum_exp",
    "reduce_max",
    "reduce_mean",
    "reduce_min",
    "reduce_prod",
    "reduce_sum",
    "reduce_sum_square",
    "cumsum",
    "scatter",
    "scatter_along_axis",
    "scatter_nd",
  ],
} as const satisfies Record<string, readonly OpName[]>;

export type RecomputeClass = keyof typeof CLASSES;

/** The class of every op; an op in none of the lists does not compile. */
type Classified = (typeof CLASSES)[RecomputeClass][number];
type ClassTable = Readonly<Record<OpName, RecomputeClass>>;

function classTable(complete: [OpName] extends [Classified] ? true : never): ClassTable {
  void complete;
  const entries = Object.entries(CLASSES).flatMap(([name, ops]) => ops.map((op) => [op, name]));
  return Object.freeze(Object.fromEntries(entries)) as ClassTable;
}

const CLASS_OF = classTable(true);

/** Nothing for an op outside the table. */
export function recomputeClassOf(type: string): RecomputeClass | undefined {
  return isOpName(type) ? CLASS_OF[type] : undefined;
}
