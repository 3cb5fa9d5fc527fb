import type { OpRow } from "../mil/op-row.ts";
import { OPS } from "../mil/ops/index.ts";
import { sameShape } from "../mil/types.ts";
import { maskedAttention } from "./attention.ts";
import { comparison } from "./comparisons.ts";
import { cast, logical, select } from "./conversions.ts";
import { declaredShape, declaresFloats } from "./declared.ts";
import { applyTo, binary, rsqrt, square, unary, written } from "./elementwise.ts";
import { foldedTranspose } from "./folded-axes.ts";
import { isBeyondHalf, LARGEST_HALF } from "./half-constants.ts";
import { gather, gatherAlongAxis, lookUp, scatterAlongAxis } from "./indexing.ts";
import type { Lowered, Parts } from "./lowered-value.ts";
import { MOST_AXES } from "./lowering.ts";
import type { Lowering } from "./lowering.ts";
import { FAR_BELOW } from "./masks.ts";
import { layerNorm } from "./norms.ts";
import { linearInParts, logSumExpOfParts, matrixProduct, reduceParts } from "./parts.ts";
import { reduceMean, softmax } from "./reductions.ts";
import type { LoweringRule } from "./rule.ts";
import { topk } from "./sorting.ts";
import type { OpCall } from "../mil/op-call.ts";
import type { Value } from "../mil/program.ts";

const reshape: LoweringRule = (lowering, call, operation) => {
  const x = lowering.lookup(call, "x");
  const shape = declaredShape(operation);
  if (x.kind === "uniform") return { ...x, shape };
  if (x.kind === "parts") return reshapeParts(lowering, x, shape);
  const value = x.kind === "folded" ? x.value : lowering.whole(x);
  if (shape.length > MOST_AXES) return { kind: "folded", value, shape };
  return lowering.plain(lowering.reshape(value, shape), shape);
};

/** Axes in front of the one in parts may be joined and parted, as long as that one and those behind it stay. */
function reshapeParts(lowering: Lowering, x: Parts, shape: readonly number[]): Lowered | undefined {
  const behind = x.shape.slice(x.axis);
  if (!sameShape(shape.slice(x.axis), behind)) return undefined;
  const values = x.values.map((part, index) =>
    lowering.reshape(part, shape.with(shape.length + x.axis, x.sizes[index] ?? 1)),
  );
  return { ...x, values, shape };
}

const transpose: LoweringRule = (lowering, call, operation) => {
  const x = lowering.lookup(call, "x");
  const shape = declaredShape(operation);
  const rank = x.shape.length;
  const order = call.ints("perm").map((axis) => (axis < 0 ? axis + rank : axis));
  if (x.kind === "folded") {
    const value = foldedTranspose(lowering.builder, x.value, x.shape, order, MOST_AXES);
    return { kind: "folded", value, shape };
  }
  if (x.kind !== "parts") return undefined;
  const values = x.values.map((part) => applyTo(lowering, operation, part));
  const axis = order.indexOf(rank + x.axis) - rank;
  return { ...x, values, axis, shape };
};

/** Repetitions of one element are left to the next op's broadcast. */
const tile: LoweringRule = (lowering, call, operation) => {
  const x = lowering.lookup(call, "x");
  const repetitions = call.ints("reps");
  const before = x.shape;
  const shape = declaredShape(operation);
  if (x.kind === "uniform") return { ...x, shape };
  if (x.kind !== "plain" && x.kind !== "product") return undefined;
  const single = repetitions.every((count, axis) => count === 1 || before[axis] === 1);
  return single ? { ...x, shape } : undefined;
};

const fill: LoweringRule = (lowering, call, operation) => {
  const number = call.has("value") ? call.float("value") : 0;
  const isMask = number < 0 && isBeyondHalf(number) && lowering.masks.absorb(operation);
  return { kind: "uniform", number: isMask ? FAR_BELOW : number, shape: declaredShape(operation) };
};

const identity: LoweringRule = (lowering, call) => lowering.lookup(call, "x");

const reduceSum: LoweringRule = (lowering, call, operation) => {
  if (!declaresFloats(operation))
    lowering.wholeNumbers.requireExact(
      operation,
      lowering.wholeNumbers.resultBounds(call, operation),
    );
  const x = lowering.lookup(call, "x");
  if (x.kind === "parts") return reduceParts(lowering, x, call, operation, "add");
  const value = lowering.builder.op("reduce_sum", {
    x: lowering.whole(x),
    axes: call.axes("axes", x.shape.length),
    keep_dims: call.bool("keep_dims"),
  });
  return lowering.plain(value, declaredShape(operation));
};

const extreme =
  (type: "maximum" | "minimum"): LoweringRule =>
  (lowering, call, operation) => {
    const x = lowering.lookup(call, "x");
    return x.kind === "parts" ? reduceParts(lowering, x, call, operation, type) : undefined;
  };

/**
 * gelu is refused by the in-memory path and off by 8 % on H13. By its mode it is x * sigmoid(1.702 x), or
 * x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))), which for EXACT differs by up to 5e-4.
 */
const gelu: LoweringRule = (lowering, call, operation) => {
  const whole = lowering.lookup(call, "x");
  const isTaken = lowering.driver === "e5rt" && lowering.chip.family !== "H13";
  if (isTaken) return unary(lowering, call, operation);
  return written(lowering, whole, (part) => bentGelu(lowering, call, part));
};

function bentGelu({ builder }: Lowering, call: OpCall, x: Value): Value {
  if (call.has("mode") && call.string("mode") === "SIGMOID_APPROXIMATION") {
    const gate = builder.op("sigmoid", { x: builder.op("mul", { x, y: 1.702 }) });
    return builder.op("mul", { x, y: gate });
  }
  const cube = builder.op("mul", { x: builder.op("mul", { x, y: x }), y: x });
  const inner = builder.op("add", { x, y: builder.op("mul", { x: cube, y: 0.044715 }) });
  const bent = builder.op("tanh", {
    x: builder.op("mul", { x: inner, y: Math.sqrt(2 / Math.PI) }),
  });
  const half = builder.op("mul", { x, y: 0.5 });
  return builder.op("mul", { x: half, y: builder.op("add", { x: bent, y: 1 }) });
}

/** Rule `conv-bias`: the bias as an add of its own. */
const convolution: LoweringRule = (lowering, call, operation) => {
  if (lowering.driver !== "in-memory" || !call.has("bias")) return undefined;
  const inputs = new Map(operation.inputs);
  inputs.delete("bias");
  const [x] = lowering.copy({ ...operation, inputs });
  if (x?.type.kind !== "tensor") return undefined;
  const bias = lowering.whole(lowering.lookup(call, "bias"));
  const y = lowering.reshape(
    bias,
    x.type.shape.map((size, axis) => (axis === 1 ? Number(size) : 1)),
  );
  return lowering.plain(lowering.builder.op("add", { x, y }));
};

/** softplus collapses from 11.09 on. */
const softplus: LoweringRule = (lowering, call) => {
  const { builder } = lowering;
  return written(lowering, lowering.lookup(call, "x"), (x) => {
    const bent = builder.op("softplus", { x: builder.op("minimum", { x, y: 10 }) });
    const rest = builder.op("relu", { x: builder.op("sub", { x, y: 10 }) });
    return builder.op("add", { x: bent, y: rest });
  });
};

/** Bounds beyond fp16 are the ends of its range, where they bound nothing else. */
const clip: LoweringRule = (lowering, call, operation) => {
  const [alpha, beta] = [call.float("alpha"), call.float("beta")];
  if (!isBeyondHalf(alpha) && !isBeyondHalf(beta)) return unary(lowering, call, operation);
  if (alpha >= LARGEST_HALF || beta <= -LARGEST_HALF)
    throw lowering.refuse(`clip to [${alpha}, ${beta}], of which fp16 holds nothing`);
  const inside = {
    alpha: Math.max(-LARGEST_HALF, alpha),
    beta: Math.min(LARGEST_HALF, beta),
  };
  return written(lowering, lowering.lookup(call, "x"), (x) =>
    lowering.builder.op("clip", { x, ...inside }),
  );
};

/** Ops of one operand: where they have no rule of their own, parts of a long axis go through one by one. */
const POINTWISE = Object.entries<OpRow>(OPS).flatMap(([name, row]) =>
  row.pointwise === true ? [name] : [],
);

/** Ops that are not copied as they are. */
export const LOWERING_RULES: Readonly<Record<string, LoweringRule>> = {
  add: binary,
  sub: binary,
  mul: binary,
  real_div: binary,
  maximum: binary,
  minimum: binary,
  pow: binary,
  ...Object.fromEntries(POINTWISE.map((name) => [name, unary])),
  equal: comparison,
  not_equal: comparison,
  less: comparison,
  less_equal: comparison,
  greater: comparison,
  greater_equal: comparison,
  cast,
  select,
  logical_and: logical("and"),
  logical_or: logical("or"),
  logical_xor: logical("xor"),
  logical_not: logical("not"),
  clip,
  reshape,
  expand_dims: reshape,
  squeeze: reshape,
  tile,
  fill,
  square,
  rsqrt,
  identity,
  gather,
  gather_nd: lookUp,
  topk,
  gather_along_axis: gatherAlongAxis,
  scatter_along_axis: scatterAlongAxis,
  reduce_sum: reduceSum,
  reduce_max: extreme("maximum"),
  reduce_min: extreme("minimum"),
  reduce_log_sum_exp: logSumExpOfParts,
  reduce_mean: reduceMean,
  softmax,
  matmul: matrixProduct,
  linear: linearInParts,
  transpose,
  conv: convolution,
  gelu,
  scaled_dot_product_attention: maskedAttention,
  layer_norm: layerNorm,
  softplus,
};
