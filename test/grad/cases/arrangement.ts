import type { OpName } from "../../../src/mil/ops/index.ts";
import { elementCount } from "../../../src/mil/types.ts";
import type { CaseBuilder } from "../../helpers/finite-differences.ts";
import type { DrawCase } from "./case.ts";

/** Bounds of a random slice in all their spellings; never empty. */
function slice(c: CaseBuilder, shape: readonly number[]) {
  const begin: number[] = [];
  const end: number[] = [];
  const stride: number[] = [];
  const beginMask: boolean[] = [];
  const endMask: boolean[] = [];
  const squeezeMask: boolean[] = [];
  const plain = c.chance();
  for (const size of shape) {
    const from = c.below(size);
    const to = c.between(from + 1, size);
    const backward = !plain && c.chance(0.2);
    const fromEnd = c.chance(0.3);
    squeezeMask.push(c.chance(0.2));
    if (backward) {
      begin.push(to - 1);
      // Before the first element only the mask can say so.
      end.push(from === 0 ? 0 : from - 1);
      beginMask.push(false);
      endMask.push(from === 0);
      stride.push(-c.between(1, 2));
    } else {
      begin.push(fromEnd ? from - size : from);
      end.push(to);
      beginMask.push(c.chance(0.2));
      endMask.push(c.chance(0.2));
      stride.push(plain ? 1 : c.between(1, 2));
    }
  }
  const vector = (values: readonly boolean[]) =>
    c.chance(0.7) || values.includes(true) ? values : undefined;
  return {
    begin,
    end,
    stride: plain && c.chance() ? undefined : stride,
    begin_mask: vector(beginMask),
    end_mask: vector(endMask),
    squeeze_mask: vector(squeezeMask),
  };
}

const reshape: DrawCase = (c) => {
  const shape = c.shape(1);
  const target = c.shuffled(shape);
  if (c.chance()) target.push(1);
  const open = c.below(target.length + 1);
  return [
    c.f.op("reshape", { x: c.float("x", shape), shape: target.with(open % target.length, -1) }),
  ];
};

function pad(c: CaseBuilder) {
  const mode = c.pick(["constant", "reflect", "replicate"] as const);
  const shape = c.shape(1, 3, 4);
  const axes = c.between(1, shape.length);
  const margins = shape.slice(-axes).flatMap((size) => {
    const most = mode === "reflect" ? size - 1 : mode === "replicate" ? size : 2;
    return [c.between(0, most), c.between(0, most)];
  });
  return [
    c.f.op("pad", {
      x: c.float("x", shape),
      pad: margins,
      mode,
      ...(mode === "constant" && { constant_val: 0.5 }),
    }),
  ];
}

export const ARRANGEMENT_CASES: Partial<Record<OpName, DrawCase>> = {
  reshape,
  expand_dims: (c) => {
    const shape = c.shape(0, 3);
    return [c.f.op("expand_dims", { x: c.float("x", shape), axes: [c.axis(shape.length + 1)] })];
  },
  squeeze: (c) => {
    const shape = [...c.shape(0, 2), 1, ...c.shape(0, 1)];
    const axes = c.chance() ? [shape.indexOf(1)] : undefined;
    return [c.f.op("squeeze", { x: c.float("x", shape), axes })];
  },
  flatten2d: (c) => {
    const shape = c.shape(1);
    return [c.f.op("flatten2d", { x: c.float("x", shape), axis: c.between(0, shape.length) })];
  },
  transpose: (c) => {
    const shape = c.shape(1, 5);
    const perm = c.shuffled(shape.map((_, axis) => axis));
    return [c.f.op("transpose", { x: c.float("x", shape), perm })];
  },
  reverse: (c) => {
    const shape = c.shape(1);
    return [c.f.op("reverse", { x: c.float("x", shape), axes: c.axes(shape.length) })];
  },
  reverse_sequence: (c) => {
    const shape = [c.between(1, 3), c.between(1, 4), c.between(1, 2)];
    const [seq, batch] = c.shuffled([0, 1, 2]);
    if (seq === undefined || batch === undefined) throw new RangeError("three axes");
    const lengths = c.ints("lengths", [shape[batch] ?? 1], (shape[seq] ?? 1) + 1);
    return [
      c.f.op("reverse_sequence", {
        x: c.float("x", shape),
        lengths,
        seq_axis: seq,
        batch_axis: batch,
      }),
    ];
  },
  sliding_windows: (c) => {
    const shape = c.shape(1, 3, 5);
    const axis = c.below(shape.length);
    const size = c.between(1, shape[axis] ?? 1);
    const x = c.float("x", shape);
    return [c.f.op("sliding_windows", { x, axis, size, stride: c.between(1, 2) })];
  },
  slice_by_index: (c) => {
    const shape = c.shape(1, 4, 4);
    const x = c.float("x", shape);
    const settings = slice(c, shape);
    if (c.chance(0.8)) return [c.f.op("slice_by_index", { x, ...settings })];
    // Bounds that the program computes; sizes are then known only where one element is squeezed out.
    const begin = shape.map((size) => c.below(size));
    return [
      c.f.op("slice_by_index", {
        x,
        begin: c.given("begin", "int32", [shape.length], begin),
        end: c.given(
          "end",
          "int32",
          [shape.length],
          begin.map((from) => from + 1),
        ),
        squeeze_mask: shape.map(() => true),
      }),
    ];
  },
  slice_by_size: (c) => {
    const shape = c.shape(1, 4, 4);
    const begin = shape.map((size) => c.below(size));
    const size = shape.map((all, axis) => c.between(1, all - (begin[axis] ?? 0)));
    const spelled = begin.map((from, axis) => (c.chance(0.3) ? from - (shape[axis] ?? 0) : from));
    return [
      c.f.op("slice_by_size", {
        x: c.float("x", shape),
        begin: c.chance() ? spelled : c.given("begin", "int32", [shape.length], spelled),
        size,
      }),
    ];
  },
  slice_update: (c) => {
    const shape = c.shape(1, 4, 4);
    const x = c.float("x", shape);
    const settings = slice(c, shape);
    const { type } = c.f.op("slice_by_index", { x, ...settings });
    const sizes = type.kind === "tensor" ? type.shape.map(Number) : [];
    return [c.f.op("slice_update", { x, update: c.float("update", sizes), ...settings })];
  },
  concat: (c) => {
    const shape = c.shape(1, 4);
    const axis = c.below(shape.length);
    const interleave = c.chance(0.3);
    const values = Array.from({ length: c.between(1, 3) }, (_, index) =>
      c.float(`x${index}`, interleave ? shape : shape.with(axis, c.between(1, 3))),
    );
    return [
      c.f.op("concat", { values, axis: c.chance() ? axis : axis - shape.length, interleave }),
    ];
  },
  stack: (c) => {
    const shape = c.shape(0, 3);
    const values = Array.from({ length: c.between(1, 3) }, (_, index) =>
      c.float(`x${index}`, shape),
    );
    return [c.f.op("stack", { values, axis: c.axis(shape.length + 1) })];
  },
  split: (c) => {
    const sizes = Array.from({ length: c.between(1, 4) }, () => c.between(1, 2));
    const shape = c.shape(1, 3).with(
      0,
      sizes.reduce((sum, size) => sum + size, 0),
    );
    const parts = c.f.many("split", { x: c.float("x", shape), split_sizes: sizes, axis: 0 });
    // Some parts may lead nowhere.
    return parts.filter((_, index) => index === 0 || c.chance(0.7));
  },
  tile: (c) => {
    const shape = c.shape(1, 4);
    return [c.f.op("tile", { x: c.float("x", shape), reps: shape.map(() => c.between(1, 3)) })];
  },
  pad,
  band_part: (c) => [
    c.f.op("band_part", {
      x: c.float("x", c.shape(2, 4)),
      lower: c.between(-1, 2),
      upper: c.between(-1, 2),
    }),
  ],
  cumsum: (c) => {
    const shape = c.shape(1);
    return [
      c.f.op("cumsum", {
        x: c.float("x", shape),
        axis: c.axis(shape.length),
        exclusive: c.chance(),
        reverse: c.chance(),
      }),
    ];
  },
};

type Mode = "add" | "sub" | "mul" | "div" | "update" | "max" | "min";
const mode = (c: CaseBuilder): Mode =>
  c.pick(["add", "sub", "mul", "div", "update", "max", "min"] as const);

/** Numbers away from zero: some modes divide by them. */
const clear = (c: CaseBuilder, name: string, shape: readonly number[]) =>
  c.floats(name, shape, () => (c.chance() ? 1 : -1) * (0.4 + c.random.uniform()));

/** Indices with duplicates, some counted from the end. */
const indices = (c: CaseBuilder, shape: readonly number[], size: number) =>
  c.ints("indices", shape, size, c.chance(0.3) ? -size : 0);

function tuples(c: CaseBuilder, shape: readonly number[], sizes: readonly number[]) {
  const rows = elementCount(shape);
  const data = Array.from({ length: rows * sizes.length }, (_, at) =>
    c.below(sizes[at % sizes.length] ?? 1),
  );
  return c.given("indices", "int32", [...shape, sizes.length], data);
}

export const INDEXING_CASES: Partial<Record<OpName, DrawCase>> = {
  gather: (c) => {
    const shape = c.shape(1, 3);
    const axis = c.below(shape.length);
    const batch = c.below(axis + 1);
    const picks = [...shape.slice(0, batch), ...c.shape(0, 1, 4)];
    const x = c.float("x", shape);
    return [
      c.f.op("gather", {
        x,
        indices: indices(c, picks, shape[axis] ?? 1),
        axis,
        batch_dims: batch,
      }),
    ];
  },
  gather_along_axis: (c) => {
    const shape = c.shape(1, 3);
    const axis = c.below(shape.length);
    const picks = shape.with(axis, c.between(1, 4));
    const x = c.float("x", shape);
    return [c.f.op("gather_along_axis", { x, indices: indices(c, picks, shape[axis] ?? 1), axis })];
  },
  gather_nd: (c) => {
    const shape = c.shape(1, 4);
    const batch = c.below(Math.min(shape.length, 2));
    const length = c.between(1, shape.length - batch);
    const places = tuples(
      c,
      [...shape.slice(0, batch), ...c.shape(batch === 0 ? 0 : 1, 1, 4)],
      shape.slice(batch, batch + length),
    );
    return [c.f.op("gather_nd", { x: c.float("x", shape), indices: places, batch_dims: batch })];
  },
  scatter: (c) => {
    const shape = c.shape(1, 3);
    const axis = c.below(shape.length);
    const picks = [c.between(1, 4)];
    const updates = [...shape.slice(0, axis), ...picks, ...shape.slice(axis + 1)];
    return [
      c.f.op("scatter", {
        data: clear(c, "data", shape),
        indices: indices(c, picks, shape[axis] ?? 1),
        updates: clear(c, "updates", updates),
        axis,
        mode: mode(c),
      }),
    ];
  },
  scatter_along_axis: (c) => {
    const shape = c.shape(1, 3);
    const axis = c.below(shape.length);
    const picks = shape.with(axis, c.between(1, 4));
    return [
      c.f.op("scatter_along_axis", {
        data: clear(c, "data", shape),
        indices: indices(c, picks, shape[axis] ?? 1),
        updates: clear(c, "updates", picks),
        axis,
        mode: mode(c),
      }),
    ];
  },
  scatter_nd: (c) => {
    const shape = c.shape(1, 3);
    const length = c.between(1, shape.length);
    const rows = [c.between(1, 4)];
    return [
      c.f.op("scatter_nd", {
        data: clear(c, "data", shape),
        indices: tuples(c, rows, shape.slice(0, length)),
        updates: clear(c, "updates", [...rows, ...shape.slice(length)]),
        mode: mode(c),
      }),
    ];
  },
};
