import type { FunctionBuilder } from "../../mil/builder.ts";
import type { Value } from "../../mil/program.ts";
import { elementCount } from "../../mil/types.ts";
import { reshapeTo, shapeOf, sliceAxis } from "../emit.ts";
import { notDifferentiable, ZERO_GRADIENT } from "../rule.ts";
import type { Contribution, GradientTable } from "../rule.ts";
import { sumContributions } from "../slice-gradient.ts";

/** Sums the repetitions of every axis; a few axes at a time, since reshaping must not exceed rank 5. */
function sumRepetitions(e: FunctionBuilder, gradient: Value, shape: readonly number[]): Value {
  let current = gradient;
  shape.forEach((size, axis) => {
    const sizes = shapeOf(current);
    const repeated = sizes[axis] ?? 1;
    if (repeated === size) return;
    const inner = size * elementCount(sizes.slice(axis + 1));
    const outer = elementCount(sizes.slice(0, axis));
    const rows = reshapeTo(e, current, [outer, repeated / size, inner]);
    const sum = e.op("reduce_sum", { x: rows, axes: [1], keep_dims: false });
    current = reshapeTo(e, sum, sizes.with(axis, size));
  });
  return current;
}

/** Gradient of one axis of `pad`: what the margins copied flows back to where it was copied from. */
function unpadAxis(
  e: FunctionBuilder,
  gradient: Value,
  axis: number,
  before: number,
  size: number,
  mode: string,
): Value {
  const length = shapeOf(gradient)[axis] ?? 1;
  const after = length - before - size;
  if (before === 0 && after === 0) return gradient;
  const parts: Contribution[] = [sliceAxis(e, gradient, axis, before, size)];
  const margin = (begin: number, count: number, target: number): void => {
    if (count === 0) return;
    const copied = sliceAxis(e, gradient, axis, begin, count);
    parts.push({
      kind: "slice",
      axis,
      begin: target,
      gradient:
        mode === "reflect"
          ? e.op("reverse", { x: copied, axes: [axis] })
          : e.op("reduce_sum", { x: copied, axes: [axis], keep_dims: true }),
    });
  };
  if (mode !== "constant") {
    margin(0, before, mode === "reflect" ? 1 : 0);
    margin(before + size, after, mode === "reflect" ? size - 1 - after : size - 1);
  }
  const sum = sumContributions(e, parts, shapeOf(gradient).with(axis, size));
  return sum ?? gradient;
}

export const TENSOR_OPERATION_RULES = {
  concat: ({ emit, gradient, operands, call, wants }) => {
    const values = operands("values");
    const shapes = values.map((value) => shapeOf(value));
    const rank = shapeOf(gradient).length;
    const axis = call.axis("axis", rank);
    const stride = call.bool("interleave") ? values.length : 1;
    let begin = 0;
    return {
      values: shapes.map((shape, index) => {
        const size = shape[axis] ?? 1;
        const start = stride === 1 ? begin : index;
        begin += size;
        if (!wants("values", index)) return undefined;
        return reshapeTo(emit, sliceAxis(emit, gradient, axis, start, size, stride), shape);
      }),
    };
  },

  stack: ({ emit, gradient, operands, call, wants }) => {
    const axis = call.axis("axis", shapeOf(gradient).length);
    return {
      values: operands("values").map((value, index) =>
        wants("values", index)
          ? reshapeTo(emit, sliceAxis(emit, gradient, axis, index, 1), shapeOf(value))
          : undefined,
      ),
    };
  },

  split: ({ outputs, gradients, call, shape }) => {
    const axis = call.axis("axis", shape("x").length);
    const parts: Contribution[] = [];
    let begin = 0;
    outputs.forEach((output, index) => {
      const gradient = gradients[index];
      if (gradient !== undefined) parts.push({ kind: "slice", axis, begin, gradient });
      begin += shapeOf(output)[axis] ?? 1;
    });
    return { x: parts };
  },

  tile: ({ emit, gradient, shape }) => ({ x: sumRepetitions(emit, gradient, shape("x")) }),

  pad: ({ emit, gradient, call, shape }) => {
    const sizes = shape("x");
    const pad = call.ints("pad");
    const skipped = sizes.length - pad.length / 2;
    const mode = call.string("mode");
    let current = gradient;
    sizes.forEach((size, axis) => {
      const before = pad[2 * (axis - skipped)] ?? 0;
      current = unpadAxis(emit, current, axis, before, size, mode);
    });
    return { x: current };
  },

  band_part: ({ emit, gradient, call }) => ({
    x: emit.op("band_part", {
      x: gradient,
      lower: call.int("lower"),
      upper: call.int("upper"),
    }),
  }),

  cumsum: ({ emit, gradient, call, shape }) => ({
    x: emit.op("cumsum", {
      x: gradient,
      axis: call.axis("axis", shape("x").length),
      exclusive: call.bool("exclusive"),
      reverse: !call.bool("reverse"),
    }),
  }),

  fill: notDifferentiable(
    "its value is a setting of the program, not a tensor that can be learned",
  ),
  fill_like: ZERO_GRADIENT,
  one_hot: notDifferentiable("its on_value and off_value are settings of the program"),
  range_1d: notDifferentiable("its bounds decide the shape of the result"),
} as const satisfies Partial<GradientTable>;
