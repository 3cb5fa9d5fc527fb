import { BOX_MODES, UNKNOWN_PLACES } from "../../mil/ops/crop-resize.ts";
import { SAMPLING_MODES } from "../../mil/ops/image.ts";
import { isWithin, placeConstant, placeScalar, sampled } from "./sampling.ts";
import { NOWHERE } from "./site.ts";
import type { Lowering, LoweringSite } from "./site.ts";

/** Places of `count` samples between the ends of each box, [N, count]; `start` and `end` are [N, 1]. */
function placesOf(site: LoweringSite, start: string, end: string, count: number): string {
  const mode = site.call.choice("sampling_mode", SAMPLING_MODES);
  const between = site.node("Sub", [end, start]);
  const points = (first: string, step: string): string => {
    const indices = Array.from({ length: count }, (_, index) => index);
    return site.node("Add", [
      first,
      site.node("Mul", [placeConstant(site, [1, count], indices), step]),
    ]);
  };
  const over = (value: string, divisor: number): string =>
    site.node("Div", [value, placeScalar(site, divisor)]);
  switch (mode) {
    case "ALIGN_CORNERS":
      return count === 1
        ? over(site.node("Add", [start, end]), 2)
        : points(start, over(between, count - 1));
    case "STRICT_ALIGN_CORNERS":
      return count === 1 ? start : points(start, over(between, count - 1));
    case "OFFSET_CORNERS": {
      const step = over(site.node("Max", [between, placeScalar(site, 1)]), count);
      return points(site.node("Add", [start, over(step, 2)]), step);
    }
    case "DEFAULT":
    case "UNALIGN_CORNERS":
      throw site.fail(UNKNOWN_PLACES(mode));
  }
}

/** The images that boxes are cut from, 64-bit integers [N, 1]; those that x lacks are sent outside of it. */
function imagesOf(site: LoweringSite, given: string): string {
  const [batch = 1] = site.shape("x");
  const places = site.cast(given, "fp64");
  const isImage = site.node("And", [
    isWithin(site, places, batch),
    site.node("Equal", [places, site.node("Floor", [places])]),
  ]);
  return site.node("Where", [isImage, site.cast(places, "int64"), site.int(NOWHERE)]);
}

export const cropResize: Lowering = (site) => {
  const [batch = 1, channels = 1, height = 1, width = 1] = site.shape("x");
  const hasRoi = site.has("roi");
  const boxShape = site.shape(hasRoi ? "roi" : "boxes");
  const count = boxShape[0] ?? 1;
  const numberCount = boxShape[hasRoi ? 2 : 1] ?? 4;
  if (numberCount !== 4 && !(hasRoi && numberCount === 5))
    throw site.fail(`a box has ${numberCount} numbers`);
  const boxes = site.cast(
    site.reshape(site.value(hasRoi ? "roi" : "boxes"), [count, numberCount]),
    "fp64",
  );
  const column = (index: number): string =>
    site.node("Gather", [boxes, site.graph.ints([index])], { axis: 1n });
  const [a, b, c, d] = [0, 1, 2, 3].map((index) => column(index + numberCount - 4));

  const mode = site.call.choice("box_coordinate_mode", BOX_MODES);
  const isNormalized = site.call.bool("normalized_coordinates");
  const scale = site.call.float("spatial_scale");
  const [targetHeight, targetWidth] = [
    site.call.int("target_height"),
    site.call.int("target_width"),
  ];
  const axis = (first = "", second = "", size: number, target: number): string => {
    const half = (): string => site.node("Div", [second, placeScalar(site, 2)]);
    const ends = mode.startsWith("CENTER")
      ? [site.node("Sub", [first, half()]), site.node("Add", [first, half()])]
      : [first, second];
    const factor = placeScalar(site, scale * (isNormalized ? size - 1 : 1));
    const [start = "", end = ""] = ends.map((value) => site.node("Mul", [value, factor]));
    return placesOf(site, start, end, target);
  };
  const isHeightFirst = mode.endsWith("HEIGHT_FIRST");
  const rows = isHeightFirst ? axis(a, c, height, targetHeight) : axis(b, d, height, targetHeight);
  const columns = isHeightFirst ? axis(b, d, width, targetWidth) : axis(a, c, width, targetWidth);

  // Boxes without a number of an image are cut from every image.
  const isFromAll = hasRoi && numberCount === 4;
  const sampleCount = targetHeight * targetWidth;
  const spread = (places: string, shape: readonly number[]): string => {
    const grid = site.expand(site.reshape(places, shape), [count, targetHeight, targetWidth]);
    const flat = site.reshape(grid, [count, 1, sampleCount]);
    const images = isFromAll ? batch : 1;
    const all = images === 1 ? flat : site.expand(flat, [count, images, sampleCount]);
    return site.reshape(all, [count * images, sampleCount]);
  };
  const rowPlaces = spread(rows, [count, targetHeight, 1]);
  const columnPlaces = spread(columns, [count, 1, targetWidth]);
  const samples = sampled(site, {
    images: isFromAll ? fromAll(site, count, batch) : fromOne(site, hasRoi, count, column),
    rows: rowPlaces,
    columns: columnPlaces,
    isNearest: false,
  });
  const isInside = site.node("And", [
    isWithin(site, rowPlaces, height),
    isWithin(site, columnPlaces, width),
  ]);
  const result = site.node("Where", [
    site.node("Unsqueeze", [isInside, site.graph.ints([-1])]),
    samples,
    site.scalarOf("pad_value"),
  ]);
  const planes = site.transpose(result, [0, 2, 1]);
  const images = isFromAll ? batch : 1;
  return site.reshape(
    planes,
    hasRoi
      ? [count, images, channels, targetHeight, targetWidth]
      : [count, channels, targetHeight, targetWidth],
  );
};

function fromAll(site: LoweringSite, count: number, batch: number): string {
  const images = Array.from({ length: count * batch }, (_, index) => index % batch);
  return site.graph.ints(images, [count * batch, 1]);
}

function fromOne(
  site: LoweringSite,
  hasRoi: boolean,
  count: number,
  column: (index: number) => string,
): string {
  if (hasRoi) return imagesOf(site, column(0));
  if (site.has("box_indices"))
    return imagesOf(site, site.reshape(site.value("box_indices"), [count, 1]));
  const [batch = 1] = site.shape("x");
  const images = Array.from({ length: count }, (_, index) => (batch === 1 ? 0 : index));
  if (images.some((image) => image >= batch))
    throw site.fail(`${count} boxes are cut from ${batch} images`);
  return site.graph.ints(images, [count, 1]);
}
