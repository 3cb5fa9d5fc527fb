import { FunctionBuilder } from "../../mil/builder.ts";
import { tensorLiteral } from "../../mil/literal.ts";
import type { OpCall } from "../../mil/op-call.ts";
import { unitPlace } from "../../mil/ops/image.ts";
import type { MilFunction, Value } from "../../mil/program.ts";
import {
  add,
  broadcastTo,
  mul,
  reshapeTo,
  shapeOf,
  sliceAxis,
  sub,
  tensorDataType,
  where,
} from "../emit.ts";
import type { GradientTable } from "../rule.ts";

// Sampling at computed places, written in gathers and products, which have derivatives of their own.

interface Image {
  readonly f: FunctionBuilder;
  readonly call: OpCall;
  /** [B, C, H, W] */
  readonly x: Value;
}

/** Folds positions back into [low, high], as often as needed. */
function reflected(f: FunctionBuilder, position: Value, low: number, high: number): Value {
  const span = high - low;
  if (span <= 0) return add(f, mul(f, position, 0), low);
  const distance = f.op("abs", { x: sub(f, position, low) });
  const folded = f.op("mod", { x: distance, y: 2 * span });
  const beyond = f.op("greater", { x: folded, y: span });
  return add(f, where(f, beyond, sub(f, 2 * span, folded), folded), low);
}

/** Coordinates as indices into an axis of `size` elements, padding applied. */
function positions({ f, call }: Image, coordinates: Value, size: number): Value {
  const mode = call.string("coordinates_mode");
  let position = coordinates;
  if (mode !== "unnormalized") {
    const unit =
      mode === "normalized_zero_to_one" ? coordinates : mul(f, add(f, coordinates, 1), 0.5);
    position = call.bool("align_corners")
      ? mul(f, unit, size - 1)
      : sub(f, mul(f, unit, size), 0.5);
  }
  const clamped = (x: Value): Value => f.op("clip", { x, alpha: 0, beta: size - 1 });
  switch (call.string("padding_mode")) {
    case "border":
      return clamped(position);
    case "reflection":
      return clamped(reflected(f, position, 0, size - 1));
    case "symmetric":
      return clamped(reflected(f, position, -0.5, size - 0.5));
    default:
      return position;
  }
}

/** Elements [B, C, N] at whole rows and columns [B, N]; the padding value outside the image. */
function pick({ f, call, x }: Image, row: Value, column: Value): Value {
  const [batch = 1, channels = 1, height = 1, width = 1] = shapeOf(x);
  const [, places = 1] = shapeOf(row);
  const inside = (position: Value, size: number): Value =>
    f.op("logical_and", {
      x: f.op("greater_equal", { x: position, y: 0 }),
      y: f.op("less_equal", { x: position, y: size - 1 }),
    });
  const index = (position: Value, size: number): Value =>
    f.op("cast", {
      x: f.op("clip", { x: position, alpha: 0, beta: size - 1 }),
      dtype: "int32",
    });
  const flat = add(f, mul(f, index(row, height), width), index(column, width));
  const indices = broadcastTo(f, reshapeTo(f, flat, [batch, 1, places]), [batch, channels, places]);
  const elements = f.op("gather_along_axis", {
    x: reshapeTo(f, x, [batch, channels, height * width]),
    indices,
    axis: 2,
  });
  const known = f.op("logical_and", { x: inside(row, height), y: inside(column, width) });
  return where(f, reshapeTo(f, known, [batch, 1, places]), elements, call.float("padding_value"));
}

/** The image at fractional places [B, N], as [B, C, N]. */
function sample(image: Image, row: Value, column: Value): Value {
  const { f, call } = image;
  if (call.string("sampling_mode") === "nearest") {
    return pick(image, f.op("round", { x: row }), f.op("round", { x: column }));
  }
  const top = f.op("floor", { x: row });
  const left = f.op("floor", { x: column });
  const [batch = 1, places = 1] = shapeOf(row);
  const spread = (x: Value): Value => reshapeTo(f, x, [batch, 1, places]);
  const down = spread(sub(f, row, top));
  const right = spread(sub(f, column, left));
  const between = (a: Value, b: Value, share: Value): Value =>
    add(f, mul(f, a, sub(f, 1, share)), mul(f, b, share));
  const along = (rows: Value): Value =>
    between(pick(image, rows, left), pick(image, rows, add(f, left, 1)), right);
  return between(along(top), along(add(f, top, 1)), down);
}

/** The function that samples an image where the two parts [B, rows * columns] of its coordinates say. */
function sampledAt(
  image: Image,
  part: (index: number) => Value,
  rows: number,
  columns: number,
): MilFunction {
  const { f, x } = image;
  const [batch = 1, channels = 1, height = 1, width = 1] = shapeOf(x);
  const down = positions(image, part(1), height);
  const across = positions(image, part(0), width);
  const y = reshapeTo(f, sample(image, down, across), [batch, channels, rows, columns]);
  return f.finish({ y });
}

/** Centers of an affine result's pixels in [-1, 1]. */
const unitCenters = (count: number, align: boolean): readonly number[] =>
  Array.from({ length: count }, (_, index) => unitPlace(index, count, align));

export const SAMPLING_RULES = {
  resample: (context) => {
    const { call, operand } = context;
    const f = new FunctionBuilder("resample");
    const x = f.input("x", operand("x").type);
    const coordinates = f.input("coordinates", operand("coordinates").type);
    const [batch = 1, rows = 1, columns = 1] = shapeOf(coordinates);
    const part = (index: number): Value =>
      reshapeTo(f, sliceAxis(f, coordinates, 3, index, 1), [batch, rows * columns]);
    return context.through(sampledAt({ f, call, x }, part, rows, columns));
  },

  affine: (context) => {
    const { call, operand } = context;
    const f = new FunctionBuilder("affine");
    const x = f.input("x", operand("x").type);
    const matrix = f.input("transform_matrix", operand("transform_matrix").type);
    const [batch = 1] = shapeOf(x);
    const [matrices = 1] = shapeOf(matrix);
    const [rows, columns] = [call.int("output_height"), call.int("output_width")];
    const align = call.bool("align_corners");
    const across = unitCenters(columns, align);
    const below = unitCenters(rows, align);
    const grid = [
      ...below.flatMap(() => across),
      ...below.flatMap((y) => across.map(() => y)),
      ...below.flatMap(() => across.map(() => 1)),
    ];
    const places = rows * columns;
    // [M, 2, 3] times [3, N]: the coordinates of every pixel of the result.
    const mapped = f.op("matmul", {
      x: reshapeTo(f, matrix, [matrices, 2, 3]),
      y: f.constant(tensorLiteral(tensorDataType(x), [3, places], grid)),
    });
    const part = (index: number): Value =>
      broadcastTo(f, reshapeTo(f, sliceAxis(f, mapped, 1, index, 1), [matrices, places]), [
        batch,
        places,
      ]);
    return context.through(sampledAt({ f, call, x }, part, rows, columns));
  },
} as const satisfies Partial<GradientTable>;
