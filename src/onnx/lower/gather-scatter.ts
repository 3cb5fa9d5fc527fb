import { stridesOf } from "../../mil/host-tensor.ts";
import { elementCount } from "../../mil/types.ts";
import { NOWHERE } from "./site.ts";
import type { Lowering, LoweringSite } from "./site.ts";

/**
 * Scatters are written as ScatterElements only: ONNX Runtime's ScatterND with a reduction adds from several
 * threads at once and loses updates where indices repeat (47 of 50 runs, docs/facts: cpu-engine, section 1).
 */
const REDUCTIONS: Readonly<Record<string, string>> = {
  update: "none",
  add: "add",
  sub: "add",
  mul: "mul",
  div: "mul",
  max: "max",
  min: "min",
};

/** Whatever the order, the largest or smallest of several numbers for a place stays. */
function ordered(site: LoweringSite, scattered: string, reduction: string): string {
  const isOrderless = reduction === "max" || reduction === "min";
  return isOrderless ? scattered : site.graph.keepFromDevice(scattered);
}

/** Updates and reduction of a scatter; differences and quotients become sums and products. */
function reductionOf(site: LoweringSite): { reduction: string; updates: string } {
  const mode = site.call.string("mode");
  const reduction = REDUCTIONS[mode];
  if (reduction === undefined) throw site.fail(`mode "${mode}" is not known`);
  const updates = site.value("updates");
  if (mode === "sub") return { reduction, updates: site.node("Neg", [updates]) };
  if (mode === "div") return { reduction, updates: site.node("Reciprocal", [updates]) };
  return { reduction, updates };
}

/**
 * Indices counted from the front, to be made parts of one flat position: one outside its axis would name another place
 * of the data, so it is sent outside of all, where ONNX Runtime refuses it.
 */
function placesWithin(
  site: LoweringSite,
  sizes: readonly number[],
  sizesShape: readonly number[],
): string {
  const [zero, size] = [site.int(0), site.graph.ints(sizes, sizesShape)];
  const given = site.cast(site.value("indices"), "int64");
  const isNegative = site.node("Less", [given, zero]);
  const front = site.node("Where", [isNegative, site.node("Add", [given, size]), given]);
  const isBelow = site.node("Less", [front, zero]);
  const isOutside = site.node("Or", [isBelow, site.node("GreaterOrEqual", [front, size])]);
  return site.node("Where", [isOutside, site.int(NOWHERE), front]);
}

/** Flat positions at which so many stretches of `size` elements begin, [count, 1]. */
function startsOf(site: LoweringSite, count: number, size: number): string {
  const starts = Array.from({ length: count }, (_, index) => index * size);
  return site.graph.ints(starts, [count, 1]);
}

/** Scatters whole slices at flat positions `starts` of data seen as [positions, inner]. */
function scatterSlices(
  site: LoweringSite,
  starts: string,
  count: number,
  positions: number,
  inner: number,
  updates: string,
  reduction: string,
): string {
  const rows = site.expand(site.reshape(starts, [count, 1]), [count, inner]);
  const scattered = site.node(
    "ScatterElements",
    [
      site.reshape(site.value("data"), [positions, inner]),
      rows,
      site.reshape(updates, [count, inner]),
    ],
    { axis: 0n, reduction },
  );
  return site.reshape(ordered(site, scattered, reduction), site.resultShape());
}

/** Flat positions of index tuples that stand in the last axis. */
function tuplePositions(site: LoweringSite, sizes: readonly number[]): string {
  const indices = placesWithin(site, sizes, [sizes.length]);
  const strides = site.graph.ints(stridesOf(sizes));
  const last = site.shape("indices").length - 1;
  return site.node("ReduceSum", [site.node("Mul", [indices, strides]), site.graph.ints([last])], {
    keepdims: 0n,
  });
}

export const LOWER_GATHER_SCATTER = {
  gather: (site) => {
    const shape = site.shape("x");
    const axis = Number(site.axis());
    const batch = site.call.int("batch_dims");
    if (batch === 0)
      return site.node("Gather", [site.value("x"), site.indices("indices")], { axis: site.axis() });
    // Batches are folded into the gathered axis: [batches, outer, size, inner] -> [batches * size, outer, inner].
    const indexShape = site.shape("indices");
    const count = batch < 0 ? batch + indexShape.length : batch;
    const batches = elementCount(shape.slice(0, count));
    const outer = elementCount(shape.slice(count, axis));
    const size = shape[axis] ?? 1;
    const inner = elementCount(shape.slice(axis + 1));
    const picks = elementCount(indexShape.slice(count));
    const rows = site.reshape(
      site.transpose(site.reshape(site.value("x"), [batches, outer, size, inner]), [0, 2, 1, 3]),
      [batches * size, outer, inner],
    );
    const local = site.reshape(placesWithin(site, [size], []), [batches, picks]);
    const places = site.node("Add", [local, startsOf(site, batches, size)]);
    const picked = site.node("Gather", [rows, places], { axis: 0n });
    return site.reshape(site.transpose(picked, [0, 2, 1, 3]), site.resultShape());
  },
  gather_along_axis: (site) =>
    site.node("GatherElements", [site.value("x"), site.indices("indices")], { axis: site.axis() }),
  gather_nd: (site) => {
    const rank = site.shape("indices").length;
    const batch = site.call.int("batch_dims");
    return site.node("GatherND", [site.value("x"), site.cast(site.value("indices"), "int64")], {
      batch_dims: BigInt(batch < 0 ? batch + rank : batch),
    });
  },
  scatter: (site) => {
    const shape = site.shape("data");
    const axis = site.call.axis("axis", shape.length);
    const outer = elementCount(shape.slice(0, axis));
    const size = shape[axis] ?? 1;
    const inner = elementCount(shape.slice(axis + 1));
    const count = elementCount(site.shape("indices"));
    const { reduction, updates } = reductionOf(site);
    const local = site.reshape(placesWithin(site, [size], []), [1, count]);
    const rows = outer === 1 ? local : site.node("Add", [local, startsOf(site, outer, size)]);
    return scatterSlices(site, rows, outer * count, outer * size, inner, updates, reduction);
  },
  scatter_along_axis: (site) => {
    const { reduction, updates } = reductionOf(site);
    const shape = site.shape("data");
    const axis = site.call.axis("axis", shape.length);
    const scattered = (data: string, how: string): string =>
      site.node("ScatterElements", [data, site.indices("indices"), updates], {
        axis: BigInt(axis),
        reduction: how,
      });
    // No place is named twice: nothing is to be added inside the scatter, which a device does in any order.
    const isSingle = site.shape("indices")[axis] === 1;
    if (!isSingle) return ordered(site, scattered(site.value("data"), reduction), reduction);
    if (!site.isForDevice || reduction !== "add") return scattered(site.value("data"), reduction);
    const zeros = site.expand(site.scalar(0, site.type("data")), shape);
    return site.node("Add", [site.value("data"), scattered(zeros, "none")]);
  },
  scatter_nd: (site) => {
    const shape = site.shape("data");
    const indexShape = site.shape("indices");
    const length = indexShape.at(-1) ?? 0;
    const { reduction, updates } = reductionOf(site);
    return scatterSlices(
      site,
      tuplePositions(site, shape.slice(0, length)),
      elementCount(indexShape.slice(0, -1)),
      elementCount(shape.slice(0, length)),
      elementCount(shape.slice(length)),
      updates,
      reduction,
    );
  },
} as const satisfies Record<string, Lowering>;
