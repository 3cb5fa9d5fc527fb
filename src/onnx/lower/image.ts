import { RESIZE_POINTS } from "../../mil/ops/image.ts";
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
  return site.node("Add", [
    site.node("Mul", [
      gather(low),
      site.constant(
        type,
        shape,
        shares.map((share) => 1 - share),
      ),
    ]),
    site.node("Mul", [gather(high), site.constant(type, shape, shares)]),
  ]);
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

export const LOWER_IMAGE = {
  upsample_nearest_neighbor: resized("upsample_nearest_neighbor"),
  resize_nearest_neighbor: resized("resize_nearest_neighbor"),
  upsample_bilinear: resized("upsample_bilinear"),
  resize_bilinear: resized("resize_bilinear"),
  resize: resized("resize"),
} as const satisfies Record<string, Lowering>;
