import type { Lowering } from "./site.ts";

/** Ops that only give the numbers another shape. */
const reshaped: Lowering = (site) => site.reshape(site.value("x"), site.resultShape());

const END = Number.MAX_SAFE_INTEGER;

export const LOWER_TENSOR_TRANSFORMATION = {
  reshape: reshaped,
  reshape_like: reshaped,
  expand_dims: reshaped,
  squeeze: reshaped,
  flatten2d: reshaped,
  transpose: (site) => {
    const rank = site.shape("x").length;
    return site.transpose(
      site.value("x"),
      site.call.ints("perm").map((axis) => site.call.normalizeAxis(axis, rank)),
    );
  },
  reverse: (site) => {
    const axes = site.call.axes("axes", site.shape("x").length);
    const all = (value: number): string => site.graph.ints(axes.map(() => value));
    // Bounds of a backward slice: from the last element to before the first.
    return site.node("Slice", [
      site.value("x"),
      all(-1),
      all(-END),
      site.graph.ints(axes),
      all(-1),
    ]);
  },
  reverse_sequence: (site) => {
    // ONNX's op wants time and batch in the first two axes.
    const shape = site.shape("x");
    const sequence = site.call.axis("seq_axis", shape.length);
    const batch = site.call.axis("batch_axis", shape.length);
    const rest = shape.map((_, axis) => axis).filter((axis) => axis !== sequence && axis !== batch);
    const order = [batch, sequence, ...rest];
    const back = order.map((_, axis) => order.indexOf(axis));
    const reversed = site.node(
      "ReverseSequence",
      [site.transpose(site.value("x"), order), site.cast(site.value("lengths"), "int64")],
      { batch_axis: 0n, time_axis: 1n },
    );
    return site.transpose(reversed, back);
  },
  sliding_windows: (site) => {
    const shape = site.shape("x");
    const axis = site.call.axis("axis", shape.length);
    const size = site.call.int("size");
    const stride = site.call.int("stride");
    const windows = site.resultShape()[axis] ?? 0;
    const places = Array.from(
      { length: windows * size },
      (_, index) => Math.floor(index / size) * stride + (index % size),
    );
    const picked = site.node("Gather", [site.value("x"), site.graph.ints(places)], {
      axis: BigInt(axis),
    });
    return site.reshape(picked, site.resultShape());
  },
  shape: (site) => {
    const shape = site.shape("x");
    return site.constant("int32", [shape.length], shape);
  },
} as const satisfies Record<string, Lowering>;
