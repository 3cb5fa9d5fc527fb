import { COORDINATE_MODES, PADDING_MODES, RESIZE_POINTS, unitPlace } from "../../mil/ops/image.ts";
import { cropResize } from "./crop-resize.ts";
import { padded, pixelPlaces, placeConstant, sampled } from "./sampling.ts";
import type { Lowering, LoweringSite } from "./site.ts";

/** One axis sampled at fixed places: its neighbours are gathered and mixed. */
function sampleAxis(
  site: LoweringSite,
  x: string,
  axis: number,
  size: number,
  points: readonly number[],
): string {
  const low = points.map(Math.floor);
  const gather = (indices: readonly number[]): string =>
    site.node("Gather", [x, site.graph.ints(indices)], { axis: BigInt(axis) });
  if (points.every((point, place) => point === low[place])) return gather(low);
  const high = low.map((place) => Math.min(place + 1, size - 1));
  const behind = site.resultShape().length - 1 - axis;
  const shape = [points.length, ...Array.from({ length: behind }, () => 1)];
  const shares = points.map((point, place) => point - (low[place] ?? 0));
  const type = site.type("x");
  const rests = shares.map((share) => 1 - share);
  const part = (places: readonly number[], factors: readonly number[]): string =>
    site.node("Mul", [gather(places), site.constant(type, shape, factors)]);
  return site.node("Add", [part(low, rests), part(high, shares)]);
}

/** ONNX's Resize has other grids; places and shares are known here, so they are written down. */
const resized =
  (op: keyof typeof RESIZE_POINTS): Lowering =>
  (site) => {
    const points = RESIZE_POINTS[op](site.call);
    const given = site.shape("x");
    let result = site.value("x");
    site.resultShape().forEach((size, axis) => {
      const before = given[axis] ?? 1;
      if (axis < given.length - 2 && size === before) return;
      const places = points(before, size);
      if (size === before && places.every((place, index) => place === index)) return;
      result = sampleAxis(site, result, axis, before, places);
    });
    return result === site.value("x") ? site.node("Identity", [result]) : result;
  };

/** Samples at coordinates [N, P] across and down, as images of the result's size. */
function imageAt(site: LoweringSite, across: string, down: string): string {
  const [batch = 1, , height = 1, width = 1] = site.shape("x");
  const padding = site.call.choice("padding_mode", PADDING_MODES);
  const mode = site.call.choice("coordinates_mode", COORDINATE_MODES);
  const aligns = site.call.bool("align_corners");
  const places = (coordinates: string, size: number): string =>
    padded(site, pixelPlaces(site, coordinates, size, mode, aligns), size, padding);
  const samples = sampled(site, {
    images: site.graph.ints(
      Array.from({ length: batch }, (_, index) => index),
      [batch, 1],
    ),
    rows: places(down, height),
    columns: places(across, width),
    isNearest: site.call.choice("sampling_mode", ["bilinear", "nearest"]) === "nearest",
    outside: site.scalarOf("padding_value"),
  });
  return site.reshape(site.transpose(samples, [0, 2, 1]), site.resultShape());
}

const resample: Lowering = (site) => {
  const [batch = 1, rows = 1, columns = 1] = site.shape("coordinates");
  const pairs = site.cast(
    site.reshape(site.value("coordinates"), [batch, rows * columns, 2]),
    "fp64",
  );
  const [across = "", down = ""] = [0, 1].map((index) =>
    site.reshape(site.node("Gather", [pairs, site.graph.ints([index])], { axis: 2n }), [
      batch,
      rows * columns,
    ]),
  );
  return imageAt(site, across, down);
};

const affine: Lowering = (site) => {
  const [, , rows = 1, columns = 1] = site.resultShape();
  const aligns = site.call.bool("align_corners");
  const grid = (place: (row: number, column: number) => number): string =>
    placeConstant(
      site,
      [1, rows * columns],
      Array.from({ length: rows * columns }, (_, index) =>
        place(Math.floor(index / columns), index % columns),
      ),
    );
  const x = grid((_, column) => unitPlace(column, columns, aligns));
  const y = grid((row) => unitPlace(row, rows, aligns));
  const matrix = site.cast(site.value("transform_matrix"), "fp64");
  const number = (index: number): string =>
    site.node("Gather", [matrix, site.graph.ints([index])], { axis: 1n });
  const mapped = (first: number): string =>
    site.node("Add", [
      site.node("Add", [
        site.node("Mul", [number(first), x]),
        site.node("Mul", [number(first + 1), y]),
      ]),
      number(first + 2),
    ]);
  return imageAt(site, mapped(0), mapped(3));
};

export const LOWER_IMAGE = {
  resample,
  affine,
  crop_resize: cropResize,
  upsample_nearest_neighbor: resized("upsample_nearest_neighbor"),
  resize_nearest_neighbor: resized("resize_nearest_neighbor"),
  upsample_bilinear: resized("upsample_bilinear"),
  resize_bilinear: resized("resize_bilinear"),
  resize: resized("resize"),
} as const satisfies Record<string, Lowering>;
