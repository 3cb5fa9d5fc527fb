import type { FunctionBuilder } from "../../mil/builder.ts";
import type { Operand, Value } from "../../mil/program.ts";
import {
  add,
  alongAxes,
  asValue,
  countOver,
  div,
  mul,
  padWithZeros,
  shapeOf,
  sliceAxis,
  square,
  sub,
  sumOverOthers,
  tensorDataType,
} from "../emit.ts";
import type { GradientTable } from "../rule.ts";

function mean(e: FunctionBuilder, x: Operand, axes: readonly number[]): Value {
  return e.op("reduce_mean", { x, axes, keep_dims: true });
}

function sum(e: FunctionBuilder, x: Operand, axes: readonly number[]): Value {
  return e.op("reduce_sum", { x, axes, keep_dims: true });
}

/** 1 / sqrt(x + epsilon). */
function inverseRoot(e: FunctionBuilder, x: Operand, epsilon: number): Value {
  return e.op("rsqrt", { x, epsilon });
}

/** (x - mean) / sqrt(variance + epsilon), which may be at hand, and the divisor's inverse. */
function normalized(
  e: FunctionBuilder,
  x: Operand,
  axes: readonly number[],
  epsilon: number,
  normal?: Value,
) {
  const centered = sub(e, x, mean(e, x, axes));
  const squares = e.op("reduce_sum_square", { x: centered, axes, keep_dims: true });
  const variance = mul(e, squares, 1 / countOver(shapeOf(x), axes));
  const scale = inverseRoot(e, variance, epsilon);
  return { normal: normal ?? mul(e, centered, scale), scale };
}

/** scale (g - mean(g) - normal mean(g normal)): the gradient through a normalization to mean 0, variance 1. */
function throughNormalization(
  e: FunctionBuilder,
  gradient: Value,
  normal: Value,
  scale: Value,
  axes: readonly number[],
): Value {
  const level = mean(e, gradient, axes);
  const tilt = mul(e, normal, mean(e, mul(e, gradient, normal), axes));
  return mul(e, scale, sub(e, sub(e, gradient, level), tilt));
}

/** Sums of `before + 1 + after` neighbouring channels (axis 1), zeros outside. */
function channelWindowSum(e: FunctionBuilder, x: Value, before: number, after: number): Value {
  const shape = shapeOf(x);
  const channels = shape[1] ?? 1;
  const padded = padWithZeros(
    e,
    x,
    shape.map((_, axis) => (axis === 1 ? [before, after] : [0, 0])),
  );
  let total: Value | undefined;
  for (let begin = 0; begin <= before + after; begin++) {
    const part = sliceAxis(e, padded, 1, begin, channels);
    total = total === undefined ? part : add(e, total, part);
  }
  return total ?? x;
}

export const NORMALIZATION_RULES = {
  layer_norm: ({ emit, gradient, operand, output, call, wants }) => {
    const x = operand("x");
    const shape = shapeOf(x);
    const axes = call.axes("axes", shape.length).toSorted((a, b) => a - b);
    const epsilon = call.floatOf("epsilon", tensorDataType(x));
    const isPlain = !call.has("gamma") && !call.has("beta");
    const { normal, scale } = normalized(emit, x, axes, epsilon, isPlain ? output : undefined);
    const scaled = call.has("gamma")
      ? mul(emit, gradient, alongAxes(emit, operand("gamma"), shape, axes))
      : gradient;
    return {
      x: wants("x") ? throughNormalization(emit, scaled, normal, scale, axes) : undefined,
      gamma: wants("gamma") ? sumOverOthers(emit, mul(emit, gradient, normal), axes) : undefined,
      beta: wants("beta") ? sumOverOthers(emit, gradient, axes) : undefined,
    };
  },

  batch_norm: ({ emit, gradient, operand, call }) => {
    const x = operand("x");
    const shape = shapeOf(x);
    const channels = [1];
    const epsilon = call.floatOf("epsilon", tensorDataType(x));
    const centered = sub(emit, x, alongAxes(emit, operand("mean"), shape, channels));
    const variance = alongAxes(emit, operand("variance"), shape, channels);
    const scale = inverseRoot(emit, variance, epsilon);
    const scaled = call.has("gamma")
      ? mul(emit, gradient, alongAxes(emit, operand("gamma"), shape, channels))
      : gradient;
    const toX = mul(emit, scaled, scale);
    const cubed = mul(emit, scale, square(emit, scale));
    const perChannel = (value: Value): Value => sumOverOthers(emit, value, channels);
    return {
      x: toX,
      mean: perChannel(mul(emit, toX, -1)),
      variance: perChannel(mul(emit, mul(emit, scaled, centered), mul(emit, cubed, -0.5))),
      gamma: perChannel(mul(emit, gradient, mul(emit, centered, scale))),
      beta: perChannel(gradient),
    };
  },

  instance_norm: ({ emit, gradient, operand, call }) => {
    const x = operand("x");
    const shape = shapeOf(x);
    const spatial = shape.map((_, axis) => axis).slice(2);
    const epsilon = call.floatOf("epsilon", tensorDataType(x));
    const { normal, scale } = normalized(emit, x, spatial, epsilon);
    const scaled = call.has("gamma")
      ? mul(emit, gradient, alongAxes(emit, operand("gamma"), shape, [1]))
      : gradient;
    return {
      x: throughNormalization(emit, scaled, normal, scale, spatial),
      gamma: sumOverOthers(emit, mul(emit, gradient, normal), [1]),
      beta: sumOverOthers(emit, gradient, [1]),
    };
  },

  // (g - y sum(g y)) / norm, over the last three axes
  l2_norm: ({ emit, gradient, operand, output, call }) => {
    const x = operand("x");
    const rank = shapeOf(x).length;
    const axes = [rank - 3, rank - 2, rank - 1];
    const epsilon = call.floatOf("epsilon", tensorDataType(x));
    const squares = emit.op("reduce_sum_square", { x, axes, keep_dims: true });
    const projection = mul(emit, output, sum(emit, mul(emit, gradient, output), axes));
    return {
      x: mul(emit, sub(emit, gradient, projection), inverseRoot(emit, squares, epsilon)),
    };
  },

  // y = x s^-beta with s = k + alpha / size * (sum of squares of neighbouring channels)
  local_response_norm: ({ emit, gradient: given, operand, call }) => {
    const flat = asValue(emit, operand("x"));
    // A tensor of rank 3 is an image without a batch.
    const isSingle = flat.type.kind === "tensor" && flat.type.shape.length === 3;
    const batched = (value: Value): Value =>
      isSingle ? emit.op("expand_dims", { x: value, axes: [0] }) : value;
    const [x, gradient] = [batched(flat), batched(given)];
    const dataType = tensorDataType(x);
    const size = call.int("size");
    const alpha = call.floatOf("alpha", dataType) / size;
    const beta = call.floatOf("beta", dataType);
    const before = Math.floor(size / 2);
    const after = size - 1 - before;
    const squares = channelWindowSum(emit, square(emit, x), before, after);
    const base = add(emit, mul(emit, squares, alpha), call.floatOf("k", dataType));
    const scaled = mul(emit, gradient, emit.op("pow", { x: base, y: -beta }));
    // An element stands in the windows of the channels it is a neighbour of: the window mirrored.
    const shares = channelWindowSum(emit, div(emit, mul(emit, scaled, x), base), after, before);
    const result = sub(emit, scaled, mul(emit, mul(emit, x, shares), 2 * alpha * beta));
    return { x: isSingle ? emit.op("squeeze", { x: result, axes: [0] }) : result };
  },
} as const satisfies Partial<GradientTable>;
