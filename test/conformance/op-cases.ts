import { FunctionBuilder, shaped } from "../../src/mil/builder.ts";
import { tensorLiteral } from "../../src/mil/literal.ts";
import type { OpName } from "../../src/mil/ops/index.ts";
import type { Block, Literal, Value } from "../../src/mil/program.ts";
import { elementCount, tensorType } from "../../src/mil/types.ts";
import type { NOT_LOWERED } from "../../src/onnx/lower/not-lowered.ts";
import { Random } from "../../src/util/random.ts";
import type { CaseBuilder, Recipe } from "./case-builder.ts";

const unary = (type: "abs" | "exp" | "tanh", low = -2, high = 2): readonly Recipe[] => [
  (b) => b.op(type, { x: b.x([3, 5], { low, high }) }),
  (b) => b.op(type, { x: b.x([], { low, high }) }),
];
/** Ops of one tensor without settings share a signature, whatever their name. */
const unaryOf = (type: OpName, low = -2, high = 2): readonly Recipe[] =>
  unary(type as "abs", low, high);

const binaryOf = (
  name: OpName,
  { low = -2, high = 2, ints = true }: { low?: number; high?: number; ints?: boolean } = {},
): readonly Recipe[] => {
  const type = name as "add";
  const reals: readonly Recipe[] = [
    (b) => b.op(type, { x: b.x([2, 3, 4], { low, high }), y: b.x([2, 3, 4], { low, high }) }),
    (b) => b.op(type, { x: b.x([2, 1, 4], { low, high }), y: b.x([3, 1], { low, high }) }),
    (b) => b.op(type, { x: b.x([3, 4], { low, high }), y: b.x([], { low, high }) }),
  ];
  const whole: Recipe = (b) =>
    b.op(type, { x: b.i([3, 4], { low: -9, high: 9 }), y: b.i([4], { values: [1, 2, -3, 4] }) });
  return ints ? [...reals, whole] : reals;
};

const bools = (name: OpName): readonly Recipe[] => [
  (b) => b.op(name as "logical_and", { x: b.x([2, 3], {}, "bool"), y: b.x([3], {}, "bool") }),
];

const reductionOf = (name: OpName, low = -2, high = 2): readonly Recipe[] => {
  const type = name as "reduce_sum";
  return [
    (b) => b.op(type, { x: b.x([2, 3, 4], { low, high }), axes: [1], keep_dims: true }),
    (b) => b.op(type, { x: b.x([2, 3, 4], { low, high }), axes: [-1, 0] }),
    (b) => b.op(type, { x: b.x([2, 3, 4], { low, high }) }),
    (b) => b.op(type, { x: b.x([40, 65], { low, high }), axes: [0] }),
  ];
};

const positionOf = (name: OpName): readonly Recipe[] => {
  const type = name as "reduce_argmax";
  return [
    (b) => b.op(type, { x: b.x([4, 6]), axis: 1 }),
    // Equal numbers: the first one counts.
    (b) =>
      b.op(type, { x: b.x([2, 6], { values: [1, 3, 3, 0, 0, 3] }), axis: -1, keep_dims: true }),
  ];
};

const channels = [0.5, 0.25, 0.125];
const perChannel = (): ReturnType<typeof tensorLiteral> => tensorLiteral("fp32", [3], channels);

/** Duplicate indices on purpose: updates must neither be lost nor change order. */
const DUPLICATES = [0, 2, 2, 1, 0, 2, 2, 2];
const scatterModes = ["update", "add", "sub", "mul", "div", "max", "min"] as const;

type Lowered = Exclude<OpName, keyof typeof NOT_LOWERED>;

/** How every op that has an ONNX form is exercised; an op without a recipe is a compile error. */
export const OP_CASES: Readonly<Record<Lowered, readonly Recipe[]>> = {
  add: binaryOf("add"),
  sub: binaryOf("sub"),
  mul: binaryOf("mul"),
  real_div: binaryOf("real_div", { low: 0.5, high: 3 }),
  floor_div: binaryOf("floor_div", { low: 0.5, high: 9 }),
  mod: binaryOf("mod", { low: 0.5, high: 9 }),
  maximum: binaryOf("maximum"),
  minimum: binaryOf("minimum"),
  pow: binaryOf("pow", { low: 0.5, high: 2, ints: false }),
  equal: binaryOf("equal"),
  not_equal: binaryOf("not_equal"),
  less: binaryOf("less"),
  less_equal: binaryOf("less_equal"),
  greater: binaryOf("greater"),
  greater_equal: binaryOf("greater_equal"),
  logical_and: bools("logical_and"),
  logical_or: bools("logical_or"),
  logical_xor: bools("logical_xor"),
  logical_not: [(b) => b.op("logical_not", { x: b.x([2, 3], {}, "bool") })],
  abs: unaryOf("abs"),
  acos: unaryOf("acos", -0.9, 0.9),
  asin: unaryOf("asin", -0.9, 0.9),
  atan: unaryOf("atan"),
  atanh: unaryOf("atanh", -0.9, 0.9),
  ceil: unaryOf("ceil"),
  cos: unaryOf("cos"),
  cosh: unaryOf("cosh"),
  erf: unaryOf("erf"),
  exp: unaryOf("exp"),
  exp2: unaryOf("exp2"),
  floor: unaryOf("floor"),
  round: [
    ...unaryOf("round"),
    (b) => b.op("round", { x: b.x([6], { values: [0.5, 1.5, 2.5, -0.5, -1.5, -2.5] }) }),
  ],
  sign: [...unaryOf("sign"), (b) => b.op("sign", { x: b.x([3], { values: [0, -3, 4] }) })],
  sin: unaryOf("sin"),
  sinh: unaryOf("sinh"),
  sqrt: unaryOf("sqrt", 0.1, 4),
  square: unaryOf("square"),
  tan: unaryOf("tan", -1, 1),
  tanh: unaryOf("tanh"),
  inverse: [
    ...unaryOf("inverse", 0.5, 2),
    (b) => b.op("inverse", { x: b.x([4], { low: 0.5, high: 2 }), epsilon: 0.25 }),
  ],
  log: [
    ...unaryOf("log", 0.1, 4),
    (b) => b.op("log", { x: b.x([4], { low: 0.5, high: 2 }), epsilon: 0.25 }),
  ],
  rsqrt: [
    ...unaryOf("rsqrt", 0.1, 4),
    (b) => b.op("rsqrt", { x: b.x([4], { low: 0.5, high: 2 }), epsilon: 0.25 }),
  ],
  clip: [(b) => b.op("clip", { x: b.x([3, 4]), alpha: -0.5, beta: 0.75 })],
  threshold: [(b) => b.op("threshold", { x: b.x([3, 4]), alpha: 0.5 })],
  identity: unaryOf("identity"),
  cast: [
    (b) => b.op("cast", { x: b.i([5], { low: -9, high: 9 }), dtype: "fp32" }),
    (b) => b.op("cast", { x: b.x([5], { low: -9, high: 9 }), dtype: "int32" }),
    (b) => b.op("cast", { x: b.x([5], { low: -9, high: 9 }), dtype: "fp16" }),
    (b) =>
      b.op("cast", {
        x: b.op("cast", { x: b.x([5], { low: 1, high: 2 }), dtype: "fp16" }),
        dtype: "fp32",
      }),
    (b) => b.op("cast", { x: b.x([4], { values: [0, 1, -1, 0.5] }), dtype: "bool" }),
    (b) => b.op("cast", { x: b.x([4], {}, "bool"), dtype: "fp32" }),
    (b) => b.op("cast", { x: b.x([4], {}, "bool"), dtype: "int32" }),
    (b) => b.op("cast", { x: b.i([4], { values: [300, -300, 70000, 5] }), dtype: "int8" }),
    (b) => b.op("cast", { x: b.i([4], { values: [300, -300, 70000, 5] }), dtype: "uint16" }),
  ],
  relu: unaryOf("relu"),
  relu6: unaryOf("relu6", -2, 9),
  sigmoid: unaryOf("sigmoid"),
  silu: unaryOf("silu"),
  softplus: unaryOf("softplus"),
  softsign: unaryOf("softsign"),
  gelu: [
    (b) => b.op("gelu", { x: b.x([3, 7]) }),
    (b) => b.op("gelu", { x: b.x([3, 7]), mode: "TANH_APPROXIMATION" }),
    (b) => b.op("gelu", { x: b.x([3, 7]), mode: "SIGMOID_APPROXIMATION" }),
  ],
  clamped_relu: [(b) => b.op("clamped_relu", { x: b.x([3, 7]), alpha: 0.25, beta: 1 })],
  elu: [(b) => b.op("elu", { x: b.x([3, 7]), alpha: 0.5 })],
  leaky_relu: [(b) => b.op("leaky_relu", { x: b.x([3, 7]), alpha: 0.1 })],
  linear_activation: [(b) => b.op("linear_activation", { x: b.x([3, 7]), alpha: 2, beta: 0.5 })],
  scaled_tanh: [(b) => b.op("scaled_tanh", { x: b.x([3, 7]), alpha: 2, beta: 0.5 })],
  sigmoid_hard: [(b) => b.op("sigmoid_hard", { x: b.x([3, 7]), alpha: 0.5, beta: 0.5 })],
  thresholded_relu: [(b) => b.op("thresholded_relu", { x: b.x([3, 7]), alpha: 0.5 })],
  prelu: [(b) => b.op("prelu", { x: b.x([2, 3, 4]), alpha: perChannel() })],
  softplus_parametric: [
    (b) =>
      b.op("softplus_parametric", { x: b.x([2, 3, 4]), alpha: perChannel(), beta: perChannel() }),
  ],
  softmax: [
    (b) => b.op("softmax", { x: b.x([3, 9]) }),
    (b) => b.op("softmax", { x: b.x([3, 4, 5], { low: -30, high: 30 }), axis: 1 }),
  ],
  matmul: [
    (b) => b.op("matmul", { x: b.x([3, 4]), y: b.x([4, 5]) }),
    (b) => b.op("matmul", { x: b.x([4, 3]), y: b.x([5, 4]), transpose_x: true, transpose_y: true }),
    (b) => b.op("matmul", { x: b.x([2, 2, 3, 4]), y: b.x([2, 2, 5, 4]), transpose_y: true }),
    (b) => b.op("matmul", { x: b.x([2, 1, 4, 3]), y: b.x([3, 4, 5]), transpose_x: true }),
    (b) => b.op("matmul", { x: b.x([2, 3, 4]), y: b.x([4, 5]) }),
    (b) => b.op("matmul", { x: b.x([4]), y: b.x([4, 5]) }),
    (b) => b.op("matmul", { x: b.x([3, 4]), y: b.x([4]) }),
    // Gemm with a bias, with a full addend, and a scaled product.
    (b) => b.op("add", { x: b.op("matmul", { x: b.x([3, 4]), y: b.x([4, 5]) }), y: b.x([5]) }),
    (b) => b.op("add", { x: b.x([3, 5]), y: b.op("matmul", { x: b.x([3, 4]), y: b.x([4, 5]) }) }),
    (b) => b.op("mul", { x: b.op("matmul", { x: b.x([2, 3, 4]), y: b.x([2, 4, 5]) }), y: 0.25 }),
    (b) => b.op("matmul", { x: b.x([33, 129]), y: b.x([129, 65]) }),
  ],
  linear: [
    (b) => b.op("linear", { x: b.x([3, 4]), weight: b.x([5, 4]), bias: b.x([5]) }),
    (b) => b.op("linear", { x: b.x([2, 3, 4]), weight: b.x([5, 4]), bias: b.x([5]) }),
    (b) => b.op("linear", { x: b.x([4]), weight: b.x([5, 4]) }),
  ],
  scaled_dot_product_attention: [
    (b) =>
      b.op("scaled_dot_product_attention", {
        query: b.x([2, 2, 3, 4]),
        key: b.x([2, 2, 5, 4]),
        value: b.x([2, 2, 5, 6]),
      }),
    (b) =>
      b.op("scaled_dot_product_attention", {
        query: b.x([2, 3, 4]),
        key: b.x([2, 5, 4]),
        value: b.x([2, 5, 6]),
        attn_mask: b.x([3, 5]),
      }),
    (b) =>
      b.op("scaled_dot_product_attention", {
        query: b.x([2, 3, 4]),
        key: b.x([2, 5, 4]),
        value: b.x([2, 5, 6]),
        attn_mask: b.x([3, 5], { values: [1, 0, 1, 1] }, "bool"),
      }),
  ],
  reduce_argmax: positionOf("reduce_argmax"),
  reduce_argmin: positionOf("reduce_argmin"),
  reduce_l1_norm: reductionOf("reduce_l1_norm"),
  reduce_l2_norm: reductionOf("reduce_l2_norm"),
  reduce_log_sum: reductionOf("reduce_log_sum", 0.5, 2),
  reduce_log_sum_exp: reductionOf("reduce_log_sum_exp"),
  reduce_max: reductionOf("reduce_max"),
  reduce_mean: reductionOf("reduce_mean"),
  reduce_min: reductionOf("reduce_min"),
  reduce_prod: reductionOf("reduce_prod", 0.9, 1.1),
  reduce_sum: [
    ...reductionOf("reduce_sum"),
    (b) => b.op("reduce_sum", { x: b.i([3, 4]), axes: [1] }),
  ],
  reduce_sum_square: reductionOf("reduce_sum_square"),
  layer_norm: [
    (b) => b.op("layer_norm", { x: b.x([3, 8]), axes: [-1] }),
    (b) => b.op("layer_norm", { x: b.x([3, 8]), axes: [1], gamma: b.x([8]), beta: b.x([8]) }),
    (b) => b.op("layer_norm", { x: b.x([2, 3, 4]), axes: [1], gamma: b.x([3]), epsilon: 0.1 }),
    (b) => b.op("layer_norm", { x: b.x([2, 3, 4]), axes: [1, 2], gamma: b.x([3, 4]) }),
  ],
  batch_norm: [
    (b) =>
      b.op("batch_norm", {
        x: b.x([2, 3, 4]),
        mean: perChannel(),
        variance: perChannel(),
        gamma: perChannel(),
        beta: perChannel(),
      }),
  ],
  instance_norm: [(b) => b.op("instance_norm", { x: b.x([2, 3, 8]), gamma: perChannel() })],
  l2_norm: [(b) => b.op("l2_norm", { x: b.x([2, 2, 3, 4]) })],
  local_response_norm: [
    (b) => b.op("local_response_norm", { x: b.x([2, 5, 4]), size: 3 }),
    (b) => b.op("local_response_norm", { x: b.x([2, 5, 4]), size: 4, alpha: 0.5, k: 2 }),
  ],
  reshape: [(b) => b.op("reshape", { x: b.x([2, 6]), shape: [3, -1] })],
  reshape_like: [
    (b) =>
      b.op("reshape_like", {
        x: b.x([2, 6]),
        ref_tensors: [b.x([3, 4])],
        begins: [tensorLiteral("int32", [], [0])],
        ends: [tensorLiteral("int32", [], [2])],
        end_masks: [tensorLiteral("bool", [], [0])],
      }),
  ],
  expand_dims: [(b) => b.op("expand_dims", { x: b.x([2, 3]), axes: [0, -1] })],
  squeeze: [(b) => b.op("squeeze", { x: b.x([1, 2, 1]), axes: [0] })],
  flatten2d: [(b) => b.op("flatten2d", { x: b.x([2, 3, 4]), axis: 2 })],
  transpose: [
    (b) => b.op("transpose", { x: b.x([2, 3, 4]), perm: [2, 0, 1] }),
    (b) => b.op("transpose", { x: b.x([2, 3, 4, 5]), perm: [0, 2, 1, 3] }),
    (b) => b.op("transpose", { x: b.x([2, 3], {}, "bool"), perm: [1, 0] }),
  ],
  reverse: [
    (b) => b.op("reverse", { x: b.x([2, 3, 4]), axes: [0, 2] }),
    (b) => b.op("reverse", { x: b.x([2, 3]) }),
  ],
  reverse_sequence: [
    (b) =>
      b.op("reverse_sequence", {
        x: b.x([3, 5, 2]),
        lengths: b.i([3], { values: [1, 3, 5] }),
        seq_axis: 1,
        batch_axis: 0,
      }),
    (b) =>
      b.op("reverse_sequence", {
        x: b.x([5, 2, 3]),
        lengths: b.i([3], { values: [2, 3, 5] }),
        seq_axis: 0,
        batch_axis: 2,
      }),
  ],
  sliding_windows: [
    (b) => b.op("sliding_windows", { x: b.x([2, 7]), axis: 1, size: 3, stride: 2 }),
  ],
  shape: [(b) => b.op("shape", { x: b.x([2, 3, 4]) })],
  concat: [
    (b) => b.op("concat", { values: [b.x([2, 3]), b.x([2, 1])], axis: 1 }),
    (b) => b.op("concat", { values: [b.x([2, 3]), b.x([2, 3])], axis: -1, interleave: true }),
    (b) => b.op("concat", { values: [b.x([]), b.x([])], axis: 0 }),
  ],
  stack: [(b) => b.op("stack", { values: [b.x([2, 3]), b.x([2, 3])], axis: 1 })],
  split: [
    (b) => b.f.many("split", { x: b.x([2, 6]), num_splits: 3, axis: 1 }),
    (b) => b.f.many("split", { x: b.x([2, 6]), split_sizes: [1, 5], axis: 1 }),
  ],
  tile: [(b) => b.op("tile", { x: b.x([2, 3]), reps: [2, 3] })],
  pad: [
    (b) => b.op("pad", { x: b.x([3, 4]), pad: [1, 2, 0, 1], constant_val: 0.5 }),
    (b) => b.op("pad", { x: b.x([3, 4]), pad: [2, 1], mode: "reflect" }),
    (b) => b.op("pad", { x: b.x([3, 4]), pad: [2, 1], mode: "replicate" }),
  ],
  band_part: [
    (b) => b.op("band_part", { x: b.x([2, 4, 5]), lower: 1, upper: 0 }),
    (b) => b.op("band_part", { x: b.x([4, 4]), lower: -1, upper: 1 }),
  ],
  cumsum: [
    (b) => b.op("cumsum", { x: b.x([3, 5]), axis: 1 }),
    (b) => b.op("cumsum", { x: b.x([3, 5]), axis: 0, exclusive: true, reverse: true }),
  ],
  fill: [(b) => b.op("fill", { shape: [2, 3], value: 1.5 })],
  fill_like: [(b) => b.op("fill_like", { ref_tensor: b.x([2, 3]), value: 2.5 })],
  one_hot: [
    (b) => b.op("one_hot", { indices: b.i([4]), one_hot_vector_size: 4 }),
    (b) =>
      b.op("one_hot", {
        indices: b.i([2, 3]),
        one_hot_vector_size: 4,
        axis: 0,
        on_value: 2.5,
        off_value: 0.5,
      }),
  ],
  range_1d: [(b) => b.op("range_1d", { start: 1, end: 8, step: 2 })],
  select: [
    (b) => b.op("select", { cond: b.x([2, 3], {}, "bool"), a: b.x([2, 3]), b: b.x([3]) }),
    (b) =>
      b.op("select", {
        cond: b.x([3], {}, "bool"),
        a: b.x([3], {}, "bool"),
        b: b.x([3], {}, "bool"),
      }),
    (b) => b.op("select", { cond: b.x([3], {}, "bool"), a: b.i([3]), b: b.i([3]) }),
  ],
  gather: [
    (b) => b.op("gather", { x: b.x([5, 3]), indices: b.i([2, 4], { low: -5, high: 5 }) }),
    (b) => b.op("gather", { x: b.x([2, 5, 3]), indices: b.i([4]), axis: 1 }),
    (b) => b.op("gather", { x: b.x([2, 4, 3]), indices: b.i([2, 6]), axis: 1, batch_dims: 1 }),
    (b) => b.op("gather", { x: b.x([2, 3, 4]), indices: b.i([2, 6]), axis: 2, batch_dims: 1 }),
    (b) => b.op("gather", { x: b.x([5, 3]), indices: b.i([]) }),
  ],
  gather_along_axis: [
    (b) => b.op("gather_along_axis", { x: b.x([3, 4]), indices: b.i([3, 2]), axis: 1 }),
  ],
  gather_nd: [
    (b) => b.op("gather_nd", { x: b.x([4, 4, 2]), indices: b.i([5, 2]) }),
    (b) => b.op("gather_nd", { x: b.x([2, 4, 3]), indices: b.i([2, 5, 1]), batch_dims: 1 }),
  ],
  scatter: scatterModes.flatMap((mode): readonly Recipe[] => [
    (b) => {
      const indices = mode === "update" ? [2, 0] : DUPLICATES;
      return b.op("scatter", {
        data: b.x([3, 40]),
        indices: b.i([indices.length], { values: indices }),
        updates: b.x([indices.length, 40], { low: 0.5, high: 1.5 }),
        mode,
      });
    },
    (b) =>
      b.op("scatter", {
        data: b.x([2, 3, 2]),
        indices: b.i([2], { values: [-1, 0] }),
        updates: b.x([2, 2, 2], { low: 0.5, high: 1.5 }),
        axis: 1,
        mode,
      }),
  ]),
  scatter_along_axis: scatterModes.map((mode): Recipe => (b) => {
    const indices = mode === "update" ? [0, 2, 1] : DUPLICATES;
    return b.op("scatter_along_axis", {
      data: b.x([2, 3]),
      indices: b.i([2, indices.length], { values: indices }),
      updates: b.x([2, indices.length], { low: 0.5, high: 1.5 }),
      axis: 1,
      mode,
    });
  }),
  scatter_nd: scatterModes.map((mode): Recipe => (b) => {
    const tuples = mode === "update" ? [0, 1, 1, 0, -1, 2] : [0, 1, 0, 1, 1, 0, -1, 1, 1, 1];
    return b.op("scatter_nd", {
      data: b.x([2, 3, 20]),
      indices: b.i([tuples.length / 2, 2], { values: tuples }),
      updates: b.x([tuples.length / 2, 20], { low: 0.5, high: 1.5 }),
      mode,
    });
  }),
  slice_by_index: [
    (b) => b.op("slice_by_index", { x: b.x([4, 6]), begin: [1, 0], end: [3, 5] }),
    (b) => b.op("slice_by_index", { x: b.x([4, 6]), begin: [0, 5], end: [4, 0], stride: [1, -2] }),
    (b) =>
      b.op("slice_by_index", {
        x: b.x([4, 6]),
        begin: [-1, 0],
        end: [0, 0],
        end_mask: [false, true],
        squeeze_mask: [true, false],
      }),
    (b) =>
      b.op("slice_by_index", {
        x: b.x([4, 6]),
        begin: [0, 0],
        end: [0, 0],
        stride: [-1, 1],
        begin_mask: [true, true],
        end_mask: [true, true],
      }),
  ],
  slice_by_size: [
    (b) => b.op("slice_by_size", { x: b.x([4, 6]), begin: [1, 2], size: [2, -1] }),
    (b) =>
      b.op("slice_by_size", { x: b.x([4, 6]), begin: b.i([2], { values: [1, -4] }), size: [2, 3] }),
  ],
  slice_update: [
    (b) =>
      b.op("slice_update", {
        x: b.x([4, 6]),
        update: b.x([2, 3]),
        begin: [1, 0],
        end: [3, 5],
        stride: [1, 2],
      }),
  ],
  topk: [
    (b) => b.f.many("topk", { x: b.x([3, 7]), k: 3, axis: 1 }),
    (b) => b.f.many("topk", { x: b.x([7, 3]), k: 2, axis: 0, ascending: true }),
    (b) => b.op("topk", { x: b.x([7]), k: 2, return_indices: false }),
  ],
  argsort: [
    (b) => b.op("argsort", { x: b.x([3, 7]), axis: 1 }),
    (b) => b.op("argsort", { x: b.x([7, 3]), axis: 0, ascending: true }),
  ],
  depth_to_space: [(b) => b.op("depth_to_space", { x: b.x([1, 8, 2, 3]), block_size: 2 })],
  space_to_depth: [(b) => b.op("space_to_depth", { x: b.x([1, 2, 4, 6]), block_size: 2 })],
  pixel_shuffle: [(b) => b.op("pixel_shuffle", { x: b.x([1, 8, 2, 3]), upscale_factor: 2 })],
  pixel_unshuffle: [(b) => b.op("pixel_unshuffle", { x: b.x([1, 2, 4, 6]), downscale_factor: 2 })],
  space_to_batch: [
    (b) =>
      b.op("space_to_batch", {
        x: b.x([2, 3, 4, 5]),
        block_shape: [2, 3],
        paddings: tensorLiteral("int32", [2, 2], [1, 1, 0, 1]),
      }),
  ],
  batch_to_space: [
    (b) =>
      b.op("batch_to_space", {
        x: b.x([8, 3, 2, 2]),
        block_shape: [2, 2],
        crops: tensorLiteral("int32", [2, 2], [1, 0, 0, 1]),
      }),
  ],
  crop: [(b) => b.op("crop", { x: b.x([2, 4, 6]), crop_height: [1, 1], crop_width: [2, 0] })],
  einsum: [
    (b) => b.op("einsum", { values: [b.x([2, 3, 4]), b.x([4, 3, 5])], equation: "chw,whr->chr" }),
    (b) =>
      b.op("einsum", {
        values: [b.x([2, 3, 4, 5]), b.x([2, 5, 4, 6])],
        equation: "nchw,nwhu->nchu",
      }),
  ],
  conv: [
    (b) => b.op("conv", { x: b.x([2, 4, 9]), weight: b.x([6, 4, 1]), bias: b.x([6]) }),
    (b) =>
      b.op("conv", {
        x: b.x([1, 4, 6, 7]),
        weight: b.x([6, 2, 3, 3]),
        groups: 2,
        pad_type: "same",
      }),
    (b) =>
      b.op("conv", {
        x: b.x([1, 2, 8]),
        weight: b.x([3, 2, 2]),
        strides: [2],
        dilations: [2],
        pad_type: "custom",
        pad: [1, 2],
      }),
  ],
  conv_quantized: [
    (b) =>
      b.op("conv_quantized", {
        x: b.x([1, 3, 6]),
        weight: b.x([3, 3, 2], { low: 0, high: 255 }, "uint8"),
        quantization_type: "linear",
        quant_scale: perChannel(),
        quant_bias: perChannel(),
      }),
  ],
  conv_transpose: [
    (b) => b.op("conv_transpose", { x: b.x([2, 3, 5]), weight: b.x([3, 4, 3]), bias: b.x([4]) }),
    (b) =>
      b.op("conv_transpose", {
        x: b.x([1, 4, 3, 4]),
        weight: b.x([4, 2, 3, 3]),
        groups: 2,
        strides: [2, 2],
        pad_type: "custom",
        pad: [1, 1, 0, 1],
      }),
    (b) =>
      b.op("conv_transpose", {
        x: b.x([1, 2, 5]),
        weight: b.x([2, 2, 4]),
        strides: [2],
        pad_type: "same",
      }),
  ],
  avg_pool: [
    (b) =>
      b.op("avg_pool", {
        x: b.x([1, 2, 6, 6]),
        kernel_sizes: [2, 3],
        strides: [2, 1],
        pad_type: "valid",
      }),
    (b) => b.op("avg_pool", { x: b.x([1, 2, 7]), kernel_sizes: [3], pad_type: "same" }),
    (b) =>
      b.op("avg_pool", {
        x: b.x([1, 2, 7]),
        kernel_sizes: [3],
        pad_type: "same",
        exclude_padding_from_average: true,
      }),
  ],
  l2_pool: [(b) => b.op("l2_pool", { x: b.x([1, 2, 7]), kernel_sizes: [3], pad_type: "same" })],
  max_pool: [
    (b) => b.op("max_pool", { x: b.x([1, 2, 7]), kernel_sizes: [3], pad_type: "same" }),
    (b) =>
      b.op("max_pool", {
        x: b.x([1, 2, 7]),
        kernel_sizes: [2],
        strides: [2],
        pad_type: "valid",
        ceil_mode: true,
      }),
  ],
  quantize: [
    (b) =>
      b.op("quantize", {
        input: b.x([2, 3], { low: -20, high: 20 }),
        scale: tensorLiteral(b.dataType, [3], [0.125, 0.25, 0.5]),
        zero_point: tensorLiteral("int8", [3], [1, -2, 3]),
        axis: 1,
        output_dtype: "int8",
      }),
  ],
  dequantize: [
    (b) =>
      b.op("dequantize", {
        input: b.x([2, 3], { low: 0, high: 255 }, "uint8"),
        scale: tensorLiteral(b.dataType, [], [0.125]),
        zero_point: tensorLiteral("uint8", [], [128]),
      }),
  ],
  constexpr_affine_dequantize: [
    (b) =>
      b.op("constexpr_affine_dequantize", {
        quantized_data: tensorLiteral("uint8", [2, 3], [1, 2, 3, 4, 5, 6]),
        zero_point: tensorLiteral("uint8", [], [2]),
        scale: tensorLiteral(b.dataType, [], [0.5]),
        axis: 0,
      }),
  ],
  constexpr_cast: [
    (b) =>
      b.op("constexpr_cast", {
        source_val: tensorLiteral("fp16", [3], [0.5, 1.5, -2]),
        output_dtype: "fp32",
      }),
  ],
  constexpr_lut_to_dense: [],
  constexpr_sparse_to_dense: [],
  constexpr_blockwise_shift_scale: [
    (b) =>
      b.op("constexpr_blockwise_shift_scale", {
        data: tensorLiteral("int8", [2, 4], [1, 2, 3, 4, 5, 6, 7, 8]),
        scale: tensorLiteral(b.dataType, [2, 2], [0.5, 1, 2, 4]),
      }),
  ],
  constexpr_lut_to_sparse: [],
  constexpr_sparse_blockwise_shift_scale: [],
  cond: [
    (b) => {
      const x = b.x([2, 3]);
      const pred = b.op("greater", { x: b.op("reduce_sum", { x }), y: 0 });
      return b.f.op("cond", { pred }, { blocks: [scaled(x, 2), scaled(x, -3)] });
    },
    // Both branches read a value from outside; one gives it as it is.
    (b) => {
      const x = b.x([4]);
      const pred = b.op("less", { x: b.op("reduce_max", { x }), y: -9 });
      const y = b.op("exp", { x });
      return b.f.op("cond", { pred }, { blocks: [scaled(y, 1.5), passed(y)] });
    },
  ],
  while_loop: [
    // Doubles until the sum reaches a limit.
    (b) => {
      const x = b.x([3], { low: 0.5, high: 1 });
      const rounds = b.op("mul", { x: b.i([1], { values: [0] }), y: 1 });
      return b.f.many("while_loop", { loop_vars: [x, rounds] }, { blocks: loop(b, 50) });
    },
    // Ends before the first round.
    (b) => {
      const x = b.x([3], { low: 60, high: 61 });
      const rounds = b.op("add", { x: b.i([1], { values: [5] }), y: 0 });
      return b.f.many("while_loop", { loop_vars: [x, rounds] }, { blocks: loop(b, 50) });
    },
  ],
  lstm: ["forward", "reverse", "bidirectional"].map((direction): Recipe => (b) => {
    const width = direction === "bidirectional" ? 6 : 3;
    const sizes = { weight_ih: weights(b, [12, 4], 1), weight_hh: weights(b, [12, 3], 2) };
    const back =
      width === 3
        ? {}
        : { weight_ih_back: weights(b, [12, 4], 3), weight_hh_back: weights(b, [12, 3], 4) };
    return b.f.many("lstm", {
      x: b.x([5, 2, 4]),
      initial_h: b.x([2, width]),
      initial_c: b.x([2, width]),
      ...sizes,
      ...back,
      bias: weights(b, [12], 5),
      direction,
      output_sequence: direction !== "reverse",
    });
  }),
  gru: [false, true].map(
    (resetAfter): Recipe =>
      (b) =>
        b.f.many("gru", {
          x: b.x([4, 2, 3]),
          initial_h: b.x([2, 2]),
          weight_ih: weights(b, [6, 3], 1),
          weight_hh: weights(b, [6, 2], 2),
          bias: weights(b, [6], 3),
          reset_after: resetAfter,
          output_sequence: true,
        }),
  ),
  rnn: [
    (b) =>
      b.f.many("rnn", {
        x: b.x([4, 2, 3]),
        initial_h: b.x([2, 2]),
        weight_ih: weights(b, [2, 3], 1),
        weight_hh: weights(b, [2, 2], 2),
        activation: "relu",
        output_sequence: true,
      }),
  ],
  upsample_nearest_neighbor: [
    (b) =>
      b.op("upsample_nearest_neighbor", {
        x: b.x([1, 2, 3, 4]),
        scale_factor_height: 2,
        scale_factor_width: 1.5,
      }),
  ],
  resize_nearest_neighbor: [
    (b) =>
      b.op("resize_nearest_neighbor", {
        x: b.x([1, 2, 5, 4]),
        target_size_height: 3,
        target_size_width: 9,
      }),
  ],
  upsample_bilinear: [true, false].map(
    (align): Recipe =>
      (b) =>
        b.op("upsample_bilinear", {
          x: b.x([1, 2, 3, 4]),
          scale_factor_height: 2,
          scale_factor_width: 3,
          align_corners: align,
        }),
  ),
  resize_bilinear: (["DEFAULT", "ALIGN_CORNERS", "UNALIGN_CORNERS"] as const).map(
    (mode): Recipe =>
      (b) =>
        b.op("resize_bilinear", {
          x: b.x([1, 2, 5, 4]),
          target_size_height: 3,
          target_size_width: 9,
          sampling_mode: mode,
        }),
  ),
  resize: (["LINEAR", "NEAREST_NEIGHBOR"] as const).map(
    (mode): Recipe =>
      (b) =>
        b.op("resize", {
          x: b.x([1, 2, 3, 4]),
          shape: [6, 7],
          resized_dims: 2,
          interpolation_mode: mode,
          sampling_mode: "UNALIGN_CORNERS",
        }),
  ),
  resample: [
    ...(["constant", "border", "reflection", "symmetric"] as const).flatMap((padding) => [
      resampled(padding, "bilinear", "normalized_minus_one_to_one", true),
      resampled(padding, "nearest", "normalized_zero_to_one", false),
    ]),
    resampled("constant", "bilinear", "unnormalized", false),
    resampled("symmetric", "nearest", "normalized_minus_one_to_one", false),
  ],
  affine: [true, false].map(
    (aligned): Recipe =>
      (b) =>
        b.op("affine", {
          x: b.x([2, 2, 3, 5]),
          transform_matrix: b.x([aligned ? 2 : 1, 6], {
            values: [0.75, 0.25, -0.125, -0.5, 1, 0.25, 1, -0.5, 0, 0.25, 0.875, -0.25],
          }),
          output_height: 4,
          output_width: 3,
          sampling_mode: "bilinear",
          padding_mode: "constant",
          padding_value: 0.5,
          coordinates_mode: "normalized_minus_one_to_one",
          align_corners: aligned,
        }),
  ),
  crop_resize: [
    ...(["ALIGN_CORNERS", "STRICT_ALIGN_CORNERS", "OFFSET_CORNERS"] as const).map(
      (mode): Recipe =>
        (b) =>
          b.op("crop_resize", {
            x: b.x([2, 2, 5, 6]),
            boxes: b.x([3, 4], { values: [0, 0, 4, 5, 1.5, 0.25, 3, 4.5, 2, 3, 6, 7] }),
            box_indices: b.i([3], { values: [1, 0, 1] }),
            target_height: 3,
            target_width: 2,
            sampling_mode: mode,
            pad_value: -1,
          }),
    ),
    // Boxes of relative size around a middle, cut from every image.
    (b) =>
      b.op("crop_resize", {
        x: b.x([2, 1, 4, 4]),
        roi: b.x([2, 1, 4, 1, 1], { values: [0.5, 0.5, 0.75, 0.5, 0.25, 0.75, 1, 0.25] }),
        target_height: 1,
        target_width: 3,
        normalized_coordinates: true,
        box_coordinate_mode: "CENTER_SIZE_WIDTH_FIRST",
        sampling_mode: "ALIGN_CORNERS",
      }),
    (b) =>
      b.op("crop_resize", {
        x: b.x([2, 2, 4, 5]),
        roi: b.x([2, 1, 5, 1, 1], { values: [1, 2, 4, 6, 8, 0, 0, 2, 6, 4] }),
        target_height: 3,
        target_width: 3,
        spatial_scale: 0.5,
        box_coordinate_mode: "CORNERS_WIDTH_FIRST",
        sampling_mode: "STRICT_ALIGN_CORNERS",
      }),
  ],
  // The numbers that an op draws are the same wherever and whenever it runs.
  random_uniform: [
    (b) => {
      const drawn = { shape: [2, 3], low: tensorLiteral(b.dataType, [], [-1]), seed: 5 };
      return [b.op("random_uniform", drawn), b.op("add", { x: b.x([2, 3]), y: 1 })];
    },
  ],
  random_normal: [
    (b) => {
      const mean = tensorLiteral(b.dataType, [], [0.5]);
      const drawn = b.op("random_normal", { shape: [9], mean, seed: 3 });
      return b.op("add", { x: b.x([9]), y: drawn });
    },
  ],
  random_bernoulli: [
    (b) => {
      const prob = tensorLiteral(b.dataType, [], [0.25]);
      const drawn = b.op("random_bernoulli", { shape: [20], prob, seed: 11 });
      return b.op("mul", { x: b.x([20]), y: drawn });
    },
  ],
  random_categorical: (["logits", "probs"] as const).map(
    (mode): Recipe =>
      (b) =>
        b.op("random_categorical", {
          x: b.x([2, 4], { values: [0.5, 0.25, 1, 2] }),
          mode,
          size: 6,
          seed: 2,
        }),
  ),
};

/** Coordinates inside, at and outside the borders of an image. */
function resampled(
  padding: "constant" | "border" | "reflection" | "symmetric",
  sampling: "bilinear" | "nearest",
  coordinates: "unnormalized" | "normalized_minus_one_to_one" | "normalized_zero_to_one",
  aligned: boolean,
): Recipe {
  return (b) =>
    b.op("resample", {
      x: b.x([2, 3, 3, 4]),
      coordinates: b.x([2, 2, 3, 2], { values: [0.125, -1, 1, 0.875, -1.375, 2.125, 0.75, 4.25] }),
      sampling_mode: sampling,
      padding_mode: padding,
      padding_value: 0.25,
      coordinates_mode: coordinates,
      align_corners: aligned,
    });
}

/** A block that gives a value of the outer function times a number. */
function scaled(x: Value, factor: number): Block {
  const block = new FunctionBuilder("branch");
  return block.finish({ y: block.op("mul", { x, y: factor }) });
}

function passed(x: Value): Block {
  return { inputs: [], operations: [], outputs: [x] };
}

/** Blocks of a loop over (x [3], rounds [1]) that doubles x until it sums to a limit. */
function loop({ dataType }: CaseBuilder, limit: number): readonly Block[] {
  const variables = (name: string): readonly [FunctionBuilder, Value, Value] => {
    const block = new FunctionBuilder(name);
    return [
      block,
      block.input("v", tensorType(dataType, [3])),
      block.input("r", shaped("int32", 1)),
    ];
  };
  const [condition, v] = variables("condition");
  const sum = condition.op("reduce_sum", { x: v });
  const [body, x, rounds] = variables("body");
  return [
    condition.finish({ goes: condition.op("less", { x: sum, y: limit }) }),
    body.finish({
      x: body.op("add", { x, y: x }),
      rounds: body.op("add", { x: rounds, y: 1 }),
    }),
  ];
}

/** Constants in [-1, 1) that differ from seed to seed. */
function weights({ dataType }: CaseBuilder, shape: readonly number[], seed: number): Literal {
  const random = new Random(seed);
  const numbers = Array.from({ length: elementCount(shape) }, () => random.uniform() * 2 - 1);
  return tensorLiteral(dataType, shape, numbers);
}
