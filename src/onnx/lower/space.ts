import type { Lowering, LoweringSite } from "./site.ts";

function slice(
  site: LoweringSite,
  value: string,
  starts: readonly number[],
  sizes: readonly number[],
) {
  const rank = site.shape("x").length;
  const axes = starts.map((_, index) => rank - starts.length + index);
  return site.node("Slice", [
    value,
    site.graph.ints(starts),
    site.graph.ints(starts.map((start, index) => start + (sizes[index] ?? 0))),
    site.graph.ints(axes),
  ]);
}

export const LOWER_SPACE = {
  crop: (site) => {
    const [height = 1, width = 1] = site.resultShape().slice(-2);
    const top = site.call.ints("crop_height")[0] ?? 0;
    const left = site.call.ints("crop_width")[0] ?? 0;
    return slice(site, site.value("x"), [top, left], [height, width]);
  },
  space_to_batch: (site) => {
    const [rows = 1, columns = 1] = site.call.ints("block_shape");
    const [top = 0, bottom = 0, left = 0, right = 0] = site.call.ints("paddings");
    const [batch = 1] = site.shape("x");
    const [, channels = 1, height = 1, width = 1] = site.resultShape();
    const padded = site.node("Pad", [
      site.value("x"),
      site.graph.ints([0, 0, top, left, 0, 0, bottom, right]),
      site.scalar(0),
    ]);
    const split = site.reshape(padded, [batch, channels, height, rows, width, columns]);
    return site.reshape(site.transpose(split, [3, 5, 0, 1, 2, 4]), site.resultShape());
  },
  batch_to_space: (site) => {
    const [rows = 1, columns = 1] = site.call.ints("block_shape");
    const [top = 0, , left = 0] = site.call.ints("crops");
    const [batch = 1, channels = 1, height = 1, width = 1] = site.shape("x");
    const count = batch / (rows * columns);
    const split = site.reshape(site.value("x"), [rows, columns, count, channels, height, width]);
    const spread = site.reshape(site.transpose(split, [2, 3, 4, 0, 5, 1]), [
      count,
      channels,
      height * rows,
      width * columns,
    ]);
    const [outputHeight = 1, outputWidth = 1] = site.resultShape().slice(-2);
    return slice(site, spread, [top, left], [outputHeight, outputWidth]);
  },
  einsum: (site) =>
    site.graph.keepFromDevice(
      site.node("Einsum", site.values("values"), {
        equation: site.call.string("equation").replaceAll(" ", ""),
      }),
    ),
} as const satisfies Record<string, Lowering>;
