import { hostTensor, roundHalfToEven, stridesOf } from "../host-tensor.ts";
import type { HostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { optional, required, runtime, tensor } from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import { elementCount, staticShape, tensorType } from "../types.ts";
import type { Dimension, TensorType } from "../types.ts";
import { agree, checkRank, derive, formatShape } from "./dimensions.ts";
import { openShape } from "./tensor-transformation.ts";

export const SAMPLING_MODES = [
  "STRICT_ALIGN_CORNERS",
  "ALIGN_CORNERS",
  "DEFAULT",
  "OFFSET_CORNERS",
  "UNALIGN_CORNERS",
] as const;
export type SamplingMode = (typeof SAMPLING_MODES)[number];

/** Where in an axis of `input` elements each of `output` samples is taken (formulas of MIL's resize_bilinear). */
function gridPoints(input: number, output: number, mode: SamplingMode): number[] {
  const clamp = (position: number): number => Math.min(input - 1, Math.max(0, position));
  return Array.from({ length: output }, (_, i) => {
    switch (mode) {
      case "ALIGN_CORNERS":
        if (output === 1) return (input - 1) / 2;
        return clamp((i * (input - 1)) / (output - 1));
      case "STRICT_ALIGN_CORNERS":
        return output === 1 ? 0 : clamp((i * (input - 1)) / (output - 1));
      case "DEFAULT":
        return clamp((i * input) / output);
      case "OFFSET_CORNERS": {
        const delta = Math.max(1, input - 1) / output;
        return clamp(0.5 * delta + i * delta);
      }
      case "UNALIGN_CORNERS":
        return clamp(((i + 0.5) * input) / output - 0.5);
    }
  });
}

/** Samples one axis at fractional positions, linearly between neighbours. */
function sampleAxis(x: HostTensor, axis: number, points: readonly number[]): HostTensor {
  const size = x.shape[axis] ?? 1;
  const inner = elementCount(x.shape.slice(axis + 1));
  const outer = elementCount(x.shape.slice(0, axis));
  const output = hostTensor(x.dataType, x.shape.with(axis, points.length));
  for (let o = 0; o < outer; o++) {
    points.forEach((point, place) => {
      const low = Math.floor(point);
      const high = Math.min(low + 1, size - 1);
      const weight = point - low;
      for (let i = 0; i < inner; i++) {
        const a = x.data[(o * size + low) * inner + i] ?? 0;
        const b = x.data[(o * size + high) * inner + i] ?? 0;
        const target = (o * points.length + place) * inner + i;
        output.data[target] = weight === 0 ? a : a * (1 - weight) + b * weight;
      }
    });
  }
  return output;
}

/** Samples the last axes of x to the sizes of `type`. */
function resizeTo(
  call: OpCall,
  type: TensorType,
  points: (input: number, output: number) => readonly number[],
): readonly HostTensor[] {
  let result = call.tensor("x");
  staticShape(type).forEach((size, axis) => {
    const given = result.shape[axis] ?? 1;
    if (axis >= result.shape.length - 2 || size !== given) {
      result = sampleAxis(result, axis, points(given, size));
    }
  });
  return [result];
}

function checkImage(call: OpCall): readonly Dimension[] {
  const shape = call.shape("x");
  if (shape.length < 3) throw call.fail(`x must have rank 3 or more, not ${shape.length}`);
  return shape;
}

function scaledType(call: OpCall): TensorType {
  const shape = checkImage(call);
  const scaled = (axis: number, name: string): Dimension => {
    const factor = call.float(name);
    if (!(factor > 0)) throw call.fail(`${name} must be positive`);
    return derive([shape.at(axis) ?? 1], (size = 1) => Math.floor(size * factor));
  };
  return tensorType(call.dataType("x"), [
    ...shape.slice(0, -2),
    scaled(-2, "scale_factor_height"),
    scaled(-1, "scale_factor_width"),
  ]);
}

function targetType(call: OpCall): TensorType {
  const shape = checkImage(call);
  const target = [call.int("target_size_height"), call.int("target_size_width")];
  if (target.some((size) => size < 1)) throw call.fail(`target sizes must be 1 or more`);
  return tensorType(call.dataType("x"), [...shape.slice(0, -2), ...target]);
}

/** `floor(i * input / output)`, PyTorch's and TensorFlow's nearest; the language's text does not say. */
const nearestPoints = (input: number, output: number): readonly number[] =>
  Array.from({ length: output }, (_, i) => Math.min(input - 1, Math.floor((i * input) / output)));

function resizedType(call: OpCall): TensorType {
  const shape = call.shape("x");
  const count = call.int("resized_dims");
  call.choice("sampling_mode", SAMPLING_MODES);
  call.choice("interpolation_mode", ["LINEAR", "NEAREST_NEIGHBOR"]);
  const wanted: readonly Dimension[] = call.isKnown("shape")
    ? call.ints("shape")
    : openShape(call, "shape");
  if (count > wanted.length || wanted.length > shape.length) {
    throw call.fail(
      `resized_dims ${count} must not exceed shape's ${wanted.length} sizes, nor these x's rank ${shape.length}`,
    );
  }
  const tail = count === 0 ? [] : wanted.slice(-count);
  return tensorType(
    call.dataType("x"),
    shape.map((size, axis) => {
      const target = tail[axis - (shape.length - count)];
      return target === undefined || target === 0 ? size : target;
    }),
  );
}

/** Where an axis of `input` elements is sampled for `output` results. */
export type SamplingPoints = (input: number, output: number) => readonly number[];

/** The sampling points of the ops that resize the last axes; every axis is sampled on its own, linearly. */
export const RESIZE_POINTS = {
  upsample_nearest_neighbor: () => nearestPoints,
  resize_nearest_neighbor: () => nearestPoints,
  upsample_bilinear: (call: OpCall) => {
    const align = call.bool("align_corners");
    // half_pixel_centers is by default the opposite of align_corners; without either, samples start at 0.
    const half = call.has("half_pixel_centers") ? call.bool("half_pixel_centers") : !align;
    if (align && half) throw call.fail("align_corners excludes half_pixel_centers");
    const mode = align ? "STRICT_ALIGN_CORNERS" : half ? "UNALIGN_CORNERS" : "DEFAULT";
    return (input, output) => gridPoints(input, output, mode);
  },
  resize_bilinear: (call: OpCall) => {
    const mode = call.choice("sampling_mode", SAMPLING_MODES);
    return (input, output) => gridPoints(input, output, mode);
  },
  /** Nearest takes the grid point rounded, ties to even: coremltools' tests have 2 rows become a, b, b. */
  resize: (call: OpCall) => {
    const mode = call.choice("sampling_mode", SAMPLING_MODES);
    const nearest = call.string("interpolation_mode") === "NEAREST_NEIGHBOR";
    return (input, output) => {
      const points = gridPoints(input, output, mode);
      return nearest ? points.map(roundHalfToEven) : points;
    };
  },
} as const satisfies Record<string, (call: OpCall) => SamplingPoints>;

const RESAMPLE_SETTINGS = {
  sampling_mode: required("string"),
  padding_mode: required("string"),
  padding_value: required("float"),
  coordinates_mode: required("string"),
  align_corners: required("bool"),
} as const;

export const PADDING_MODES = ["constant", "border", "reflection", "symmetric"] as const;
export type PaddingMode = (typeof PADDING_MODES)[number];
export const COORDINATE_MODES = [
  "unnormalized",
  "normalized_minus_one_to_one",
  "normalized_zero_to_one",
] as const;
export type CoordinateMode = (typeof COORDINATE_MODES)[number];

/** A coordinate as an index into an axis of `size` elements, elements being at whole numbers. */
function pixelPosition(call: OpCall, coordinate: number, size: number): number {
  const mode = call.choice("coordinates_mode", COORDINATE_MODES);
  if (mode === "unnormalized") return coordinate;
  const unit = mode === "normalized_zero_to_one" ? coordinate : (coordinate + 1) / 2;
  return call.bool("align_corners") ? unit * (size - 1) : unit * size - 0.5;
}

/** Folds a position back into [low, high], as often as needed. */
function reflect(position: number, low: number, high: number): number {
  const span = high - low;
  if (span <= 0) return low;
  const folded = Math.abs(position - low) % (2 * span);
  return low + (folded > span ? 2 * span - folded : folded);
}

/** The number of one image plane at a fractional place. */
function samplePlane(
  call: OpCall,
  at: (row: number, column: number) => number,
  sizes: readonly [height: number, width: number],
  place: readonly [row: number, column: number],
): number {
  const padding = call.choice("padding_mode", PADDING_MODES);
  const [row, column] = place.map((position, axis) => {
    const size = sizes[axis] ?? 1;
    const clamp = (value: number): number => Math.min(size - 1, Math.max(0, value));
    switch (padding) {
      case "constant":
        return position;
      case "border":
        return clamp(position);
      case "reflection":
        return clamp(reflect(position, 0, size - 1));
      case "symmetric":
        return clamp(reflect(position, -0.5, size - 0.5));
    }
  });
  const outside = call.float("padding_value");
  const pick = (r: number, c: number): number =>
    r >= 0 && r < sizes[0] && c >= 0 && c < sizes[1] ? at(r, c) : outside;
  const y = row ?? 0;
  const x = column ?? 0;
  if (call.choice("sampling_mode", ["bilinear", "nearest"]) === "nearest") {
    return pick(roundHalfToEven(y), roundHalfToEven(x));
  }
  const top = Math.floor(y);
  const left = Math.floor(x);
  const down = y - top;
  const right = x - left;
  return (
    pick(top, left) * (1 - down) * (1 - right) +
    pick(top, left + 1) * (1 - down) * right +
    pick(top + 1, left) * down * (1 - right) +
    pick(top + 1, left + 1) * down * right
  );
}

/** Samples every plane of x [B, C, H, W] where `place` says, into the shape of `type`. */
function sampleImage(
  call: OpCall,
  type: TensorType,
  place: (batch: number, row: number, column: number) => readonly [number, number],
): readonly HostTensor[] {
  const x = call.tensor("x");
  const [, channels = 1, height = 1, width = 1] = x.shape;
  const output = hostTensor(x.dataType, staticShape(type));
  const [batch = 1, , rows = 1, columns = 1] = output.shape;
  const strides = stridesOf(x.shape);
  let target = 0;
  for (let b = 0; b < batch; b++) {
    for (let c = 0; c < channels; c++) {
      const start = b * (strides[0] ?? 0) + c * (strides[1] ?? 0);
      const at = (row: number, column: number): number => x.data[start + row * width + column] ?? 0;
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++) {
          const point = place(b, row, column);
          output.data[target++] = samplePlane(call, at, [height, width], point);
        }
      }
    }
  }
  return [output];
}

function resampleType(call: OpCall): TensorType {
  checkRank(call, "x", 4, 4);
  checkRank(call, "coordinates", 4, 4);
  const [batch = 1, channels = 1] = call.shape("x");
  const [other = 1, rows = 1, columns = 1, pair = 2] = call.shape("coordinates");
  if (!agree(batch, other) || !agree(pair, 2)) {
    throw call.fail(
      `coordinates must have the shape [${batch}, rows, columns, 2], not ${formatShape(call.shape("coordinates"))}`,
    );
  }
  call.choice("padding_mode", PADDING_MODES);
  call.choice("coordinates_mode", COORDINATE_MODES);
  call.choice("sampling_mode", ["bilinear", "nearest"]);
  return tensorType(call.dataType("x"), [batch, channels, rows, columns]);
}

function affineType(call: OpCall): TensorType {
  checkRank(call, "x", 4, 4);
  checkRank(call, "transform_matrix", 2, 2);
  const [batch = 1, channels = 1] = call.shape("x");
  const [matrices = 1, numbers = 6] = call.shape("transform_matrix");
  if (!agree(numbers, 6) || (matrices !== 1 && !agree(matrices, batch))) {
    throw call.fail(`transform_matrix must have the shape [1 or ${batch}, 6]`);
  }
  call.choice("sampling_mode", ["bilinear"]);
  call.choice("padding_mode", ["constant"]);
  call.choice("coordinates_mode", ["normalized_minus_one_to_one"]);
  const target = [call.int("output_height"), call.int("output_width")];
  return tensorType(call.dataType("x"), [batch, channels, ...target]);
}

/** Where element `index` of an axis of `size` elements stands between -1 and 1. */
export function unitPlace(index: number, size: number, alignsCorners: boolean): number {
  if (!alignsCorners) return (2 * index + 1) / size - 1;
  return size === 1 ? 0 : (2 * index) / (size - 1) - 1;
}

const interpolated = (type: (call: OpCall) => TensorType) => (call: OpCall) =>
  8 * elementCount(staticShape(type(call)));

export const IMAGE = {
  upsample_nearest_neighbor: defineOp({
    kind: "movement",
    numbersOf: "x",
    parameters: {
      x: tensor(),
      scale_factor_height: optional("float", 1),
      scale_factor_width: optional("float", 1),
    },
    infer: (call) => [scaledType(call)],
    evaluate: (call) => resizeTo(call, scaledType(call), nearestPoints),
  }),

  resize_nearest_neighbor: defineOp({
    kind: "movement",
    numbersOf: "x",
    parameters: {
      x: tensor(),
      target_size_height: required("int"),
      target_size_width: required("int"),
    },
    infer: (call) => [targetType(call)],
    evaluate: (call) => resizeTo(call, targetType(call), nearestPoints),
  }),

  upsample_bilinear: defineOp({
    kind: "costly",
    parameters: {
      x: tensor(),
      scale_factor_height: optional("float", 1),
      scale_factor_width: optional("float", 1),
      align_corners: optional("bool", true),
      half_pixel_centers: optional("bool"),
    },
    infer: (call) => [scaledType(call)],
    evaluate: (call) => resizeTo(call, scaledType(call), RESIZE_POINTS.upsample_bilinear(call)),
    flops: interpolated(scaledType),
  }),

  resize_bilinear: defineOp({
    kind: "costly",
    parameters: {
      x: tensor(),
      target_size_height: optional("int", 1),
      target_size_width: optional("int", 1),
      sampling_mode: optional("string", "DEFAULT"),
    },
    infer: (call) => {
      call.choice("sampling_mode", SAMPLING_MODES);
      return [targetType(call)];
    },
    evaluate: (call) => resizeTo(call, targetType(call), RESIZE_POINTS.resize_bilinear(call)),
    flops: interpolated(targetType),
  }),

  resize: defineOp({
    kind: "costly",
    parameters: {
      x: tensor(),
      shape: runtime("ints"),
      resized_dims: required("int"),
      interpolation_mode: optional("string", "LINEAR"),
      sampling_mode: optional("string", "DEFAULT"),
    },
    infer: (call) => [resizedType(call)],
    evaluate: (call) => resizeTo(call, resizedType(call), RESIZE_POINTS.resize(call)),
    flops: interpolated(resizedType),
  }),

  resample: defineOp({
    kind: "costly",
    parameters: { x: tensor(), coordinates: tensor(), ...RESAMPLE_SETTINGS },
    infer: (call) => [resampleType(call)],
    evaluate: (call) => {
      const coordinates = call.tensor("coordinates");
      const [, , height = 1, width = 1] = call.tensor("x").shape;
      const strides = stridesOf(coordinates.shape);
      return sampleImage(call, resampleType(call), (b, row, column) => {
        const start = b * (strides[0] ?? 0) + row * (strides[1] ?? 0) + column * 2;
        return [
          pixelPosition(call, coordinates.data[start + 1] ?? 0, height),
          pixelPosition(call, coordinates.data[start] ?? 0, width),
        ];
      });
    },
    flops: interpolated(resampleType),
  }),

  affine: defineOp({
    kind: "costly",
    parameters: {
      x: tensor(),
      transform_matrix: tensor(),
      output_height: required("int"),
      output_width: required("int"),
      ...RESAMPLE_SETTINGS,
    },
    infer: (call) => [affineType(call)],
    evaluate: (call) => {
      const type = affineType(call);
      const { data, shape } = call.tensor("transform_matrix");
      const [, , height = 1, width = 1] = call.tensor("x").shape;
      const [rows = 1, columns = 1] = staticShape(type).slice(-2);
      const align = call.bool("align_corners");
      return sampleImage(call, type, (b, row, column) => {
        const [a0 = 0, a1 = 0, a2 = 0, b0 = 0, b1 = 0, b2 = 0] = data.subarray(
          shape[0] === 1 ? 0 : b * 6,
          shape[0] === 1 ? 6 : b * 6 + 6,
        );
        const x = unitPlace(column, columns, align);
        const y = unitPlace(row, rows, align);
        return [
          pixelPosition(call, b0 * x + b1 * y + b2, height),
          pixelPosition(call, a0 * x + a1 * y + a2, width),
        ];
      });
    },
    flops: interpolated(affineType),
  }),
} as const;
