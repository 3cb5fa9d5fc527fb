import type { FunctionBuilder } from "../../mil/builder.ts";
import type { OpCall } from "../../mil/op-call.ts";
import { convolutionGeometry } from "../../mil/ops/convolution.ts";
import { perAxis } from "../../mil/ops/windows.ts";
import type { Operand, Value } from "../../mil/program.ts";
import { elementCount } from "../../mil/types.ts";
import { add, asValue, mul, reshapeTo, shapeOf, sliceAxis, tensorDataType } from "../emit.ts";
import type { GradientTable } from "../rule.ts";

/** How windows of a convolution lie over its input, all sizes known. */
interface Windows {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Elements of padding before and after each spatial axis. */
  readonly pads: readonly (readonly [number, number])[];
  readonly groups: number;
}

/** Elements a window spans along one axis. */
function extentOf({ kernel, dilations }: Windows, axis: number): number {
  return ((kernel[axis] ?? 1) - 1) * (dilations[axis] ?? 1) + 1;
}

function windowsOfConvolution(call: OpCall): Windows {
  const { kernel, strides, dilations, pads } = convolutionGeometry(call);
  return {
    kernel,
    strides,
    dilations,
    pads: pads.map(([before, after]) => [Number(before), Number(after)] as const),
    groups: call.int("groups"),
  };
}

/** A transposed convolution as the convolution it is the transpose of: from its result to its input. */
function windowsOfTransposed(
  call: OpCall,
  inputs: readonly number[],
  outputs: readonly number[],
  kernel: readonly number[],
): Windows {
  const count = kernel.length;
  const strides = perAxis(call, "strides", count, 1);
  const dilations = perAxis(call, "dilations", count, 1);
  const padType = call.string("pad_type");
  const custom = padType === "custom" ? perAxis(call, "pad", 2 * count, 0) : [];
  const shapeless = { kernel, strides, dilations, pads: [], groups: call.int("groups") };
  const pads = kernel.map((_, axis): readonly [number, number] => {
    const size = inputs[axis] ?? 1;
    const full = (size - 1) * (strides[axis] ?? 1) + extentOf(shapeless, axis);
    const before =
      padType === "same"
        ? Math.max(0, Math.floor((full - size * (strides[axis] ?? 1)) / 2))
        : (custom[2 * axis] ?? 0);
    return [before, Math.max(0, full - before - (outputs[axis] ?? 1))];
  });
  return { ...shapeless, pads };
}

/** Settings left out where they are the op's own defaults. */
function settings({ strides, dilations, pads, groups }: Windows) {
  const different = (values: readonly number[], usual: number): boolean =>
    values.some((value) => value !== usual);
  const pad = pads.flat();
  return {
    ...(different(strides, 1) && { strides }),
    ...(different(dilations, 1) && { dilations }),
    pad_type: different(pad, 0) ? "custom" : "valid",
    ...(different(pad, 0) && { pad }),
    ...(groups !== 1 && { groups }),
  };
}

function isPointwise({ kernel, strides, pads, groups }: Windows): boolean {
  return (
    groups === 1 &&
    kernel.every((size) => size === 1) &&
    strides.every((stride) => stride === 1) &&
    pads.flat().every((size) => size === 0)
  );
}

/** [N, C, ...] as [N, C, P]. */
function asPlanes(e: FunctionBuilder, x: Value): Value {
  const [batch = 1, channels = 1, ...spatial] = shapeOf(x);
  return reshapeTo(e, x, [batch, channels, elementCount(spatial)]);
}

/** The gradient of a convolution's input. */
function inputGradient(
  e: FunctionBuilder,
  gradient: Value,
  weight: Value,
  shape: readonly number[],
  windows: Windows,
): Value {
  const [outputs = 1, inputs = 1] = shapeOf(weight);
  if (isPointwise(windows)) {
    const planes = e.op("matmul", {
      x: reshapeTo(e, weight, [outputs, inputs]),
      y: asPlanes(e, gradient),
      transpose_x: true,
    });
    return reshapeTo(e, planes, shape);
  }
  const sizes = shapeOf(gradient).slice(2);
  // Padding may be cut to what is there: the result's shape is given, so only its beginning matters.
  const pads = windows.pads.map(([before, after], axis): readonly [number, number] => {
    const full = ((sizes[axis] ?? 1) - 1) * (windows.strides[axis] ?? 1) + extentOf(windows, axis);
    return [before, Math.min(after, full - before - 1)];
  });
  return e.op("conv_transpose", {
    x: gradient,
    weight,
    output_shape: shape,
    ...settings({ ...windows, pads }),
  });
}

/**
 * The gradient of a convolution's weight [O, C / groups, ...]: input and output gradient convolved over the
 * batch, which takes the place of the channels, with strides and dilations in each other's place.
 */
function weightGradient(
  e: FunctionBuilder,
  x: Value,
  gradient: Value,
  shape: readonly number[],
  windows: Windows,
): Value {
  const [outputs = 1, perGroup = 1, ...kernel] = shape;
  const [batch = 1, , ...inputs] = shapeOf(x);
  const places = shapeOf(gradient).slice(2);
  const { groups } = windows;
  const planes = asPlanes(e, x);
  const gradientPlanes = asPlanes(e, gradient);
  if (isPointwise(windows)) {
    const products = e.op("matmul", { x: gradientPlanes, y: planes, transpose_y: true });
    const sum =
      batch === 1 ? products : e.op("reduce_sum", { x: products, axes: [0], keep_dims: false });
    return reshapeTo(e, sum, shape);
  }
  const grouped = reshapeTo(e, planes, [batch, groups, perGroup, elementCount(inputs)]);
  const image = reshapeTo(e, e.op("transpose", { x: grouped, perm: [2, 1, 0, 3] }), [
    perGroup,
    groups * batch,
    ...inputs,
  ]);
  const filter = reshapeTo(e, e.op("transpose", { x: gradientPlanes, perm: [1, 0, 2] }), [
    outputs,
    batch,
    ...places,
  ]);
  let result = e.op("conv", {
    x: image,
    weight: filter,
    ...settings({
      kernel: places,
      strides: windows.dilations,
      dilations: windows.strides,
      pads: windows.pads,
      groups,
    }),
  });
  // Input beyond the last window gives places that are no weights.
  kernel.forEach((size, axis) => {
    if (shapeOf(result)[axis + 2] !== size) result = sliceAxis(e, result, axis + 2, 0, size);
  });
  return e.op("transpose", { x: result, perm: [1, 0, ...kernel.map((_, axis) => axis + 2)] });
}

function biasGradient(e: FunctionBuilder, gradient: Value): Value {
  const axes = shapeOf(gradient)
    .map((_, axis) => axis)
    .filter((axis) => axis !== 1);
  return e.op("reduce_sum", { x: gradient, axes, keep_dims: false });
}

/** Numbers of one output channel each, or one for all, in a shape that broadcasts over the weight. */
function alongOutputs(e: FunctionBuilder, numbers: Operand, rank: number): Value {
  const count = elementCount(shapeOf(numbers));
  return reshapeTo(
    e,
    asValue(e, numbers),
    Array.from({ length: rank }, (_, axis) => (axis === 0 ? count : 1)),
  );
}

export const CONVOLUTION_RULES = {
  conv: ({ emit, gradient, operand, call, shape, wants }) => {
    const windows = windowsOfConvolution(call);
    const weight = asValue(emit, operand("weight"));
    const x = asValue(emit, operand("x"));
    return {
      x: wants("x") ? inputGradient(emit, gradient, weight, shape("x"), windows) : undefined,
      weight: wants("weight")
        ? weightGradient(emit, x, gradient, shape("weight"), windows)
        : undefined,
      bias: wants("bias") ? biasGradient(emit, gradient) : undefined,
    };
  },

  conv_quantized: ({ emit, gradient, operand, call, shape, wants }) => {
    const windows = windowsOfConvolution(call);
    const dataType = tensorDataType(operand("x"));
    const numbers = emit.op("cast", { x: operand("weight"), dtype: dataType });
    const rank = shape("weight").length;
    const scale = alongOutputs(emit, operand("quant_scale"), rank);
    const offset = alongOutputs(emit, operand("quant_bias"), rank);
    const weight = add(emit, mul(emit, numbers, scale), offset);
    return {
      x: wants("x") ? inputGradient(emit, gradient, weight, shape("x"), windows) : undefined,
      bias: wants("bias") ? biasGradient(emit, gradient) : undefined,
    };
  },

  conv_transpose: ({ emit, gradient, operand, call, shape, wants }) => {
    const inputs = shape("x").slice(2);
    const outputs = shapeOf(gradient).slice(2);
    const windows = windowsOfTransposed(call, inputs, outputs, shape("weight").slice(2));
    const x = asValue(emit, operand("x"));
    let toX: Value | undefined;
    if (wants("x")) {
      toX = emit.op("conv", { x: gradient, weight: operand("weight"), ...settings(windows) });
      for (const [axis, size] of inputs.entries()) {
        if (shapeOf(toX)[axis + 2] !== size) toX = sliceAxis(emit, toX, axis + 2, 0, size);
      }
    }
    return {
      x: toX,
      weight: wants("weight")
        ? weightGradient(emit, gradient, x, shape("weight"), windows)
        : undefined,
      bias: wants("bias") ? biasGradient(emit, gradient) : undefined,
    };
  },
} as const satisfies Partial<GradientTable>;
