import type { FunctionBuilder } from "../../mil/builder.ts";
import type { Operand, Value } from "../../mil/program.ts";
import { elementCount } from "../../mil/types.ts";
import {
  add,
  asValue,
  div,
  filled,
  int32s,
  mul,
  negate,
  reshapeTo,
  shapeOf,
  tensorDataType,
  where,
  zerosLike,
} from "../emit.ts";
import type { GradientContext, GradientRule, GradientTable } from "../rule.ts";

/** Indices as int32, those counted from the end turned into ones from the front. */
function positiveIndices(e: FunctionBuilder, indices: Operand, size: number): Value {
  const wide =
    tensorDataType(indices) === "int32" ? indices : e.op("cast", { x: indices, dtype: "int32" });
  return where(e, e.op("less", { x: wide, y: 0 }), add(e, wide, size), wide);
}

/** `count` consecutive integers as int32 of a shape. */
function counting(shape: readonly number[], step = 1): Operand {
  return int32s(
    Array.from({ length: elementCount(shape) }, (_, index) => index * step),
    shape,
  );
}

/** Rows of `updates` added at flat `rows` of zeros, seen as a tensor of `shape`. */
function addRows(
  e: FunctionBuilder,
  shape: readonly number[],
  rows: Value,
  updates: Value,
  inner: number,
): Value {
  const picks = elementCount(shapeOf(rows));
  const sum = e.op("scatter", {
    data: filled(e, tensorDataType(updates), [elementCount(shape) / inner, inner], 0),
    indices: reshapeTo(e, rows, [picks]),
    updates: reshapeTo(e, updates, [picks, inner]),
    axis: 0,
    mode: "add",
  });
  return reshapeTo(e, sum, shape);
}

/** gather with batch_dims: every batch picks from its own part, so indices become rows of one flat table. */
function batchedGatherGradient(
  { emit, gradient, operand, shape }: GradientContext<"x" | "indices">,
  axis: number,
  batch: number,
): Value {
  const from = shape("x");
  const size = from[axis] ?? 1;
  const batches = elementCount(from.slice(0, batch));
  const outer = elementCount(from.slice(batch, axis));
  const inner = elementCount(from.slice(axis + 1));
  const indices = positiveIndices(emit, operand("indices"), size);
  const picks = elementCount(shapeOf(indices)) / batches;
  const rows = add(
    emit,
    reshapeTo(emit, indices, [batches, 1, picks]),
    counting([batches, outer, 1], size),
  );
  return addRows(emit, from, rows, gradient, inner);
}

/** gather_nd: index tuples as rows of a flat table. */
function gatherNdGradient(
  { emit, gradient, operand, shape }: GradientContext<"x" | "indices">,
  batch: number,
): Value {
  const from = shape("x");
  const indexShape = shape("indices");
  const length = indexShape.at(-1) ?? 0;
  const sizes = from.slice(batch, batch + length);
  const inner = elementCount(from.slice(batch + length));
  const batches = elementCount(from.slice(0, batch));
  const tuples = elementCount(indexShape.slice(0, -1));
  let rows: Value | undefined;
  sizes.forEach((size, place) => {
    const component = emit.op("slice_by_index", {
      x: operand("indices"),
      begin: indexShape.map((_, axis) => (axis === indexShape.length - 1 ? place : 0)),
      end: indexShape.map((count, axis) => (axis === indexShape.length - 1 ? place + 1 : count)),
    });
    const index = positiveIndices(emit, component, size);
    rows = rows === undefined ? index : add(emit, mul(emit, rows, size), index);
  });
  const table = elementCount(sizes);
  const flat = reshapeTo(emit, rows ?? filled(emit, "int32", [...indexShape.slice(0, -1), 1], 0), [
    batches,
    tuples / batches,
  ]);
  return addRows(emit, from, add(emit, flat, counting([batches, 1], table)), gradient, inner);
}

type Scatter = GradientContext<"data" | "indices" | "updates" | "mode">;

/** How one kind of scatter reads and writes. */
interface ScatterAccess {
  /** What stands at the indices. */
  readonly gather: (x: Value) => Value;
  readonly scatter: (data: Value, updates: Value, mode: string) => Value;
  /** True for the updates that nothing later has overwritten. */
  readonly survivors: () => Value;
}

/** Gradients of `data` and `updates` by the way the two are combined. */
function scatterGradients(
  { emit, gradient, operand, output, call }: Scatter,
  access: ScatterAccess,
): { readonly data: Value; readonly updates: Value } {
  const mode = call.string("mode");
  const data = asValue(emit, operand("data"));
  const updates = asValue(emit, operand("updates"));
  switch (mode) {
    case "add":
      return { data: gradient, updates: access.gather(gradient) };
    case "sub":
      return { data: gradient, updates: negate(emit, access.gather(gradient)) };
    case "update":
      return {
        data: access.scatter(gradient, zerosLike(emit, updates), "update"),
        updates: where(emit, access.survivors(), access.gather(gradient), 0),
      };
    case "mul":
      return {
        data: access.scatter(gradient, updates, "mul"),
        updates: div(emit, access.gather(mul(emit, gradient, output)), updates),
      };
    case "div":
      return {
        data: access.scatter(gradient, updates, "div"),
        updates: negate(emit, div(emit, access.gather(mul(emit, gradient, output)), updates)),
      };
    case "max":
    case "min": {
      const winner = emit.op("equal", { x: access.gather(output), y: updates });
      return {
        data: where(emit, emit.op("equal", { x: output, y: data }), gradient, 0),
        updates: where(emit, winner, access.gather(gradient), 0),
      };
    }
    default:
      throw call.fail(`mode "${mode}" has no derivative`);
  }
}

/** Writes each update's own number to its place and looks which ones still stand there. */
function survivorsOf(
  e: FunctionBuilder,
  numbers: Operand,
  written: Value,
  gather: (x: Value) => Value,
): Value {
  return e.op("equal", { x: gather(written), y: numbers });
}

const scatter: GradientRule<"data" | "indices" | "updates" | "axis" | "mode"> = (context) => {
  const { emit, operand, call, shape } = context;
  const sizes = shape("data");
  const axis = call.axis("axis", sizes.length);
  const indices = operand("indices");
  const picks = shape("indices");
  return scatterGradients(context, {
    gather: (x) => emit.op("gather", { x, indices, axis }),
    scatter: (data, updates, mode) => emit.op("scatter", { data, indices, updates, axis, mode }),
    survivors: () => {
      const numbers = counting(picks);
      const written = emit.op("scatter", {
        data: filled(emit, "int32", [sizes[axis] ?? 1], -1),
        indices,
        updates: numbers,
        axis: 0,
        mode: "update",
      });
      const alive = survivorsOf(emit, numbers, written, (x) =>
        emit.op("gather", { x, indices, axis: 0 }),
      );
      return reshapeTo(emit, alive, [...picks, ...sizes.slice(axis + 1).map(() => 1)]);
    },
  });
};

const scatterAlongAxis: GradientRule<"data" | "indices" | "updates" | "axis" | "mode"> = (
  context,
) => {
  const { emit, operand, call, shape } = context;
  const axis = call.axis("axis", shape("data").length);
  const indices = operand("indices");
  const gather = (x: Value): Value => emit.op("gather_along_axis", { x, indices, axis });
  return scatterGradients(context, {
    gather,
    scatter: (data, updates, mode) =>
      emit.op("scatter_along_axis", { data, indices, updates, axis, mode }),
    survivors: () => {
      const numbers = counting(shape("updates"));
      const written = emit.op("scatter_along_axis", {
        data: filled(emit, "int32", shape("data"), -1),
        indices,
        updates: numbers,
        axis,
        mode: "update",
      });
      return survivorsOf(emit, numbers, written, gather);
    },
  });
};

const scatterNd: GradientRule<"data" | "indices" | "updates" | "mode"> = (context) => {
  const { emit, operand, shape } = context;
  const indices = operand("indices");
  const tuples = shape("indices").slice(0, -1);
  const length = shape("indices").at(-1) ?? 0;
  return scatterGradients(context, {
    gather: (x) => emit.op("gather_nd", { x, indices }),
    scatter: (data, updates, mode) => emit.op("scatter_nd", { data, indices, updates, mode }),
    survivors: () => {
      const numbers = counting(tuples);
      const written = emit.op("scatter_nd", {
        data: filled(emit, "int32", shape("data").slice(0, length), -1),
        indices,
        updates: numbers,
        mode: "update",
      });
      const alive = survivorsOf(emit, numbers, written, (x) =>
        emit.op("gather_nd", { x, indices }),
      );
      return reshapeTo(emit, alive, [
        ...tuples,
        ...shape("data")
          .slice(length)
          .map(() => 1),
      ]);
    },
  });
};

export const GATHER_SCATTER_RULES = {
  gather: (context) => {
    const { emit, gradient, operand, call, shape } = context;
    const axis = call.axis("axis", shape("x").length);
    const rank = shape("indices").length;
    const given = call.int("batch_dims");
    const batch = given < 0 ? given + rank : given;
    if (batch > 0) return { x: batchedGatherGradient(context, axis, batch) };
    return {
      x: emit.op("scatter", {
        data: zerosLike(emit, operand("x")),
        indices: operand("indices"),
        updates: gradient,
        axis,
        mode: "add",
      }),
    };
  },
  gather_along_axis: ({ emit, gradient, operand, call, shape }) => ({
    x: emit.op("scatter_along_axis", {
      data: zerosLike(emit, operand("x")),
      indices: operand("indices"),
      updates: gradient,
      axis: call.axis("axis", shape("x").length),
      mode: "add",
    }),
  }),
  gather_nd: (context) => {
    const { emit, gradient, operand, call, shape } = context;
    const rank = shape("indices").length;
    const given = call.int("batch_dims");
    const batch = given < 0 ? given + rank : given;
    if (batch > 0) return { x: gatherNdGradient(context, batch) };
    return {
      x: emit.op("scatter_nd", {
        data: zerosLike(emit, operand("x")),
        indices: operand("indices"),
        updates: gradient,
        mode: "add",
      }),
    };
  },
  scatter,
  scatter_along_axis: scatterAlongAxis,
  scatter_nd: scatterNd,
} as const satisfies Partial<GradientTable>;
