import { hostTensor } from "../host-tensor.ts";
import type { HostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { optional, optionalTensor, tensor } from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import { elementCount, staticShape, tensorType } from "../types.ts";
import type { TensorType } from "../types.ts";
import { checkRank } from "./dimensions.ts";
import { SAMPLING_MODES } from "./image.ts";

export const BOX_MODES = [
  "CORNERS_HEIGHT_FIRST",
  "CORNERS_WIDTH_FIRST",
  "CENTER_SIZE_HEIGHT_FIRST",
  "CENTER_SIZE_WIDTH_FIRST",
] as const;

export const UNKNOWN_PLACES = (mode: string): string =>
  `where sampling_mode "${mode}" takes its samples of a box is not known`;

function cropResizeType(call: OpCall): TensorType {
  checkRank(call, "x", 4, 4);
  call.choice("sampling_mode", SAMPLING_MODES);
  call.choice("box_coordinate_mode", BOX_MODES);
  const [batch = 1, channels = 1] = call.shape("x");
  const target = [call.int("target_height"), call.int("target_width")];
  if (call.has("roi")) {
    checkRank(call, "roi", 5, 5);
    const [boxes = 1, , numbers = 4] = call.shape("roi");
    return tensorType(call.dataType("x"), [boxes, numbers === 5 ? 1 : batch, channels, ...target]);
  }
  if (!call.has("boxes"))
    throw call.fail("roi (up to ios16) or boxes (from ios17 on) must be given");
  checkRank(call, "boxes", 2, 2);
  return tensorType(call.dataType("x"), [call.shape("boxes")[0] ?? 1, channels, ...target]);
}

/** Where a box begins and ends on an axis, in elements. */
interface Range {
  readonly start: number;
  readonly end: number;
}

interface Box {
  /** Images it is cut from. */
  readonly batches: readonly number[];
  readonly height: Range;
  readonly width: Range;
}

/**
 * Where `count` samples of a range are taken. `DEFAULT` and `UNALIGN_CORNERS` are not known for boxes: the language
 * gives them for whole images only, and published results of the second do not follow from that.
 */
function samplePoints(call: OpCall, { start, end }: Range, count: number): readonly number[] {
  const mode = call.choice("sampling_mode", SAMPLING_MODES);
  const points = (first: number, step: number): number[] =>
    Array.from({ length: count }, (_, i) => first + i * step);
  switch (mode) {
    case "ALIGN_CORNERS":
      return count === 1 ? [(start + end) / 2] : points(start, (end - start) / (count - 1));
    case "STRICT_ALIGN_CORNERS":
      return count === 1 ? [start] : points(start, (end - start) / (count - 1));
    case "OFFSET_CORNERS": {
      const step = Math.max(1, end - start) / count;
      return points(start + step / 2, step);
    }
    case "DEFAULT":
    case "UNALIGN_CORNERS":
      throw call.fail(
        UNKNOWN_PLACES(mode),
        "Use ALIGN_CORNERS, STRICT_ALIGN_CORNERS or OFFSET_CORNERS.",
      );
  }
}

function boxOf(call: OpCall, numbers: readonly number[], batches: readonly number[]): Box {
  const [, , height = 1, width = 1] = call.tensor("x").shape;
  const mode = call.choice("box_coordinate_mode", BOX_MODES);
  const isNormalized = call.bool("normalized_coordinates");
  const scale = call.float("spatial_scale");
  const isHeightFirst = mode.endsWith("HEIGHT_FIRST");
  const [a = 0, b = 0, c = 0, d = 0] = numbers;
  const range = (first: number, second: number, size: number): Range => {
    const factor = scale * (isNormalized ? size - 1 : 1);
    const [start, end] = mode.startsWith("CENTER")
      ? [first - second / 2, first + second / 2]
      : [first, second];
    return { start: start * factor, end: end * factor };
  };
  return isHeightFirst
    ? { batches, height: range(a, c, height), width: range(b, d, width) }
    : { batches, height: range(b, d, height), width: range(a, c, width) };
}

function boxesOf(call: OpCall): readonly Box[] {
  const [images = 1] = call.tensor("x").shape;
  const every = Array.from({ length: images }, (_, index) => index);
  const inside = (index: number): number => {
    if (Number.isInteger(index) && index >= 0 && index < images) return index;
    throw call.fail(`a box is cut from image ${index}, x has ${images}`);
  };
  if (call.has("roi")) {
    const roi = call.tensor("roi");
    const [count = 0, , width = 4] = roi.shape;
    if (width !== 4 && width !== 5) throw call.fail(`roi has ${width} numbers a box, not 4 or 5`);
    return Array.from({ length: count }, (_, index) => {
      const row = [...roi.data.subarray(index * width, (index + 1) * width)];
      return width === 5
        ? boxOf(call, row.slice(1), [inside(row[0] ?? 0)])
        : boxOf(call, row, every);
    });
  }
  const boxes = call.tensor("boxes");
  const [count = 0, width = 4] = boxes.shape;
  if (width !== 4) throw call.fail(`boxes has ${width} numbers a box, not 4`);
  const images17 = call.optionalNumbers("box_indices");
  return Array.from({ length: count }, (_, index) => {
    const row = [...boxes.data.subarray(index * width, (index + 1) * width)];
    return boxOf(call, row, [inside(images17?.[index] ?? (images === 1 ? 0 : index))]);
  });
}

/** One sample, linear between its four neighbours; what lies outside the image is `outside`. */
function sample(
  image: Float64Array,
  size: readonly number[],
  y: number,
  x: number,
  outside: number,
): number {
  const [height = 1, width = 1] = size;
  if (y < 0 || x < 0 || y > height - 1 || x > width - 1) return outside;
  const top = Math.floor(y);
  const left = Math.floor(x);
  const at = (row: number, column: number): number =>
    image[Math.min(row, height - 1) * width + Math.min(column, width - 1)] ?? 0;
  const upper = at(top, left) * (1 - (x - left)) + at(top, left + 1) * (x - left);
  const lower = at(top + 1, left) * (1 - (x - left)) + at(top + 1, left + 1) * (x - left);
  return upper * (1 - (y - top)) + lower * (y - top);
}

function cropResize(call: OpCall): HostTensor {
  const type = cropResizeType(call);
  const x = call.tensor("x");
  const [, channels = 1, height = 1, width = 1] = x.shape;
  const [targetHeight, targetWidth] = [call.int("target_height"), call.int("target_width")];
  const outside = call.float("pad_value");
  const output = hostTensor(type.dataType, staticShape(type));
  let place = 0;
  for (const box of boxesOf(call)) {
    const rows = samplePoints(call, box.height, targetHeight);
    const columns = samplePoints(call, box.width, targetWidth);
    for (const batch of box.batches) {
      for (let channel = 0; channel < channels; channel++) {
        const start = (batch * channels + channel) * height * width;
        const image = x.data.subarray(start, start + height * width);
        for (const row of rows) {
          for (const column of columns)
            output.data[place++] = sample(image, [height, width], row, column, outside);
        }
      }
    }
  }
  return output;
}

export const CROP_RESIZE = {
  crop_resize: defineOp({
    kind: "costly",
    parameters: {
      x: tensor(),
      roi: optionalTensor(),
      boxes: optionalTensor(),
      box_indices: optionalTensor(),
      target_height: optional("int", 1),
      target_width: optional("int", 1),
      normalized_coordinates: optional("bool", false),
      spatial_scale: optional("float", 1),
      box_coordinate_mode: optional("string", "CORNERS_HEIGHT_FIRST"),
      sampling_mode: optional("string", "DEFAULT"),
      pad_value: optional("float", 0),
    },
    infer: (call) => [cropResizeType(call)],
    evaluate: (call) => [cropResize(call)],
    flops: (call) => 8 * elementCount(staticShape(cropResizeType(call))),
  }),
} as const;
