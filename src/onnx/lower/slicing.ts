import { sliceAxis } from "../../mil/ops/slicing.ts";
import { fromFront, runTimePositions, runTimeSlice } from "./run-time-bounds.ts";
import type { Lowering, LoweringSite } from "./site.ts";

interface AxisSlice {
  readonly start: number;
  readonly step: number;
  readonly count: number;
}

/** The slices of all axes of x, for bounds known now. */
function slicesOf(site: LoweringSite): readonly AxisSlice[] {
  const { call } = site;
  const begin = call.isKnown("begin") ? call.ints("begin") : undefined;
  const end = call.isKnown("end") ? call.ints("end") : undefined;
  const steps = call.has("stride") ? call.ints("stride") : [];
  const beginMask = call.bools("begin_mask");
  const endMask = call.bools("end_mask");
  const squeezeMask = call.bools("squeeze_mask");
  return site.shape("x").map((size, axis) => {
    if (beginMask[axis] !== true && begin === undefined)
      throw site.fail("begin must be a constant");
    const from = beginMask[axis] === true ? undefined : begin?.[axis];
    if (squeezeMask[axis] === true) {
      const index = from ?? 0;
      return { start: index < 0 ? index + size : index, step: 1, count: 1 };
    }
    if (endMask[axis] !== true && end === undefined) throw site.fail("end must be a constant");
    const to = endMask[axis] === true ? undefined : end?.[axis];
    const step = steps[axis] ?? 1;
    return { ...sliceAxis(size, step, from, to), step };
  });
}

/** A slice as ONNX bounds; before the first element is written as far below it. */
function sliceNode(site: LoweringSite, slices: readonly AxisSlice[]): string {
  const shape = site.shape("x");
  const touched = slices.flatMap((slice, axis) =>
    slice.start === 0 && slice.step === 1 && slice.count === shape[axis]
      ? []
      : [{ ...slice, axis }],
  );
  if (touched.length === 0) return site.value("x");
  const ends = touched.map(({ start, step, count }) => {
    const end = start + step * count;
    return end < 0 ? Number.MIN_SAFE_INTEGER : end;
  });
  return site.node("Slice", [
    site.value("x"),
    site.graph.ints(touched.map(({ start }) => start)),
    site.graph.ints(ends),
    site.graph.ints(touched.map(({ axis }) => axis)),
    site.graph.ints(touched.map(({ step }) => step)),
  ]);
}

/** Whether every bound that counts is a constant. */
function areBoundsKnown({ call }: LoweringSite, rank: number): boolean {
  const masks = { begin: call.bools("begin_mask"), end: call.bools("end_mask") };
  const squeezed = call.bools("squeeze_mask");
  const isNeeded = (name: "begin" | "end"): boolean =>
    Array.from({ length: rank }, (_, axis) => axis).some(
      (axis) => masks[name][axis] !== true && !(name === "end" && squeezed[axis] === true),
    );
  return (["begin", "end"] as const).every((name) => call.isKnown(name) || !isNeeded(name));
}

/** Sizes of a slice on every axis of x, from its shape without those that were squeezed away. */
function withSqueezed(site: LoweringSite, shape: readonly number[]): readonly number[] {
  const squeezed = site.call.bools("squeeze_mask");
  let place = 0;
  return site.shape("x").map((_, axis) => (squeezed[axis] === true ? 1 : (shape[place++] ?? 1)));
}

const sliceByIndex: Lowering = (site) => {
  if (!areBoundsKnown(site, site.shape("x").length)) {
    const shape = site.resultShape();
    return site.reshape(runTimeSlice(site, withSqueezed(site, shape)), shape);
  }
  const slices = slicesOf(site);
  const sliced = sliceNode(site, slices);
  const isSqueezed = site.call.bools("squeeze_mask").includes(true);
  return isSqueezed ? site.reshape(sliced, site.resultShape()) : sliced;
};

/** x with the numbers of the update at flat positions. */
function updatedAt(site: LoweringSite, positions: string): string {
  const [x, update] = [site.value("x"), site.value("update")];
  const flat = [site.reshape(x, [-1]), positions, site.reshape(update, [-1])];
  return site.reshape(site.node("ScatterElements", flat, { axis: 0n }), site.shape("x"));
}

export const LOWER_SLICING = {
  slice_by_index: sliceByIndex,
  slice_by_size: (site) => {
    const shape = site.shape("x");
    const sizes = site.resultShape();
    if (site.call.isKnown("begin")) {
      return sliceNode(
        site,
        site.call.ints("begin").map((begin, axis) => ({
          start: begin < 0 ? begin + (shape[axis] ?? 0) : begin,
          step: 1,
          count: sizes[axis] ?? 0,
        })),
      );
    }
    const given = site.cast(site.value("begin"), "int64");
    const begin = fromFront(site, given, site.graph.ints(shape.map(() => 0)));
    return site.node("Slice", [
      site.value("x"),
      begin,
      site.node("Add", [begin, site.graph.ints(sizes)]),
      site.graph.ints(shape.map((_, axis) => axis)),
    ]);
  },
  slice_update: (site) => {
    // Axis by axis: the part before, the update, the part after; strided slices go through their places.
    const shape = site.shape("x");
    if (!areBoundsKnown(site, shape.length)) {
      const positions = runTimePositions(site, withSqueezed(site, site.shape("update")));
      return updatedAt(site, positions);
    }
    const slices = slicesOf(site);
    const places = slices.map(({ start, step, count }) =>
      Array.from({ length: count }, (_, index) => start + index * step),
    );
    const indices = places.reduce<readonly number[]>(
      (flat, axisPlaces, axis) =>
        flat.flatMap((base) => axisPlaces.map((place) => base * (shape[axis] ?? 1) + place)),
      [0],
    );
    return updatedAt(site, site.graph.ints(indices));
  },
} as const satisfies Record<string, Lowering>;
