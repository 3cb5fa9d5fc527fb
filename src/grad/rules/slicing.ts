import type { Operand, Value } from "../../mil/program.ts";
import { sliceAxis as boundsOf } from "../../mil/ops/slicing.ts";
import { add, padWithZeros, reshapeTo, shapeOf, where, zerosLike } from "../emit.ts";
import type { Contribution, GradientContext, GradientTable } from "../rule.ts";

type SliceParameter = "begin" | "end" | "stride" | "begin_mask" | "end_mask" | "squeeze_mask";

/** The settings of a slice as they stand, for another op that takes the same ones. */
function sliceSettings(context: GradientContext<SliceParameter>) {
  const { call, operand } = context;
  const given = (name: SliceParameter) => (call.has(name) ? { [name]: operand(name) } : {});
  return {
    begin: operand("begin"),
    end: operand("end"),
    ...given("stride"),
    ...given("begin_mask"),
    ...given("end_mask"),
    ...given("squeeze_mask"),
  };
}

/** First element of every axis of a slice with step 1 and known bounds; nothing for other slices. */
function plainStarts(
  { call }: GradientContext<SliceParameter>,
  shape: readonly number[],
): readonly number[] | undefined {
  if (!call.isKnown("begin") || !call.isKnown("end")) return undefined;
  if (call.has("stride") && call.ints("stride").some((step) => step !== 1)) return undefined;
  const begin = call.ints("begin");
  const end = call.ints("end");
  const beginMask = call.bools("begin_mask");
  const endMask = call.bools("end_mask");
  const squeezeMask = call.bools("squeeze_mask");
  return shape.map((size, axis) => {
    const from = beginMask[axis] === true ? undefined : begin[axis];
    if (squeezeMask[axis] === true) return (from ?? 0) < 0 ? (from ?? 0) + size : (from ?? 0);
    return boundsOf(size, 1, from, endMask[axis] === true ? undefined : end[axis]).start;
  });
}

/** The gradient of a tensor of which a box that starts at `starts` was taken. */
function boxGradient(
  context: GradientContext<never>,
  gradient: Value,
  shape: readonly number[],
  starts: readonly number[],
): Contribution {
  const box = shapeOf(gradient);
  const cut = shape.map((_, axis) => axis).filter((axis) => box[axis] !== shape[axis]);
  const [axis = 0, ...others] = cut;
  if (others.length === 0) return { kind: "slice", axis, begin: starts[axis] ?? 0, gradient };
  return padWithZeros(
    context.emit,
    gradient,
    shape.map((size, at) => {
      const before = starts[at] ?? 0;
      return [before, size - before - (box[at] ?? 0)];
    }),
  );
}

/** `begin` of `slice_by_size` counted from the front, for begins computed by the program. */
function positiveStarts(context: GradientContext<"x" | "begin">): Operand {
  const { emit, operand, shape } = context;
  const begin = operand("begin");
  const sizes = emit.op("shape", { x: operand("x") });
  const negative = emit.op("less", { x: begin, y: 0 });
  return shape("x").length === 0 ? begin : where(emit, negative, add(emit, begin, sizes), begin);
}

export const SLICING_RULES = {
  slice_by_index: (context) => {
    const { emit, gradient, operand, shape } = context;
    const from = shape("x");
    const starts = plainStarts(context, from);
    if (starts !== undefined) {
      const squeezed = context.call.bools("squeeze_mask");
      const kept = [...shapeOf(gradient)];
      const box = from.map((_, axis) => (squeezed[axis] === true ? 1 : (kept.shift() ?? 1)));
      return { x: boxGradient(context, reshapeTo(emit, gradient, box), from, starts) };
    }
    return {
      x: emit.op("slice_update", {
        x: zerosLike(emit, operand("x")),
        update: gradient,
        ...sliceSettings(context),
      }),
    };
  },

  slice_by_size: (context) => {
    const { emit, gradient, operand, call, shape } = context;
    const from = shape("x");
    if (call.isKnown("begin")) {
      const starts = call
        .ints("begin")
        .map((begin, axis) => (begin < 0 ? begin + (from[axis] ?? 0) : begin));
      return { x: boxGradient(context, gradient, from, starts) };
    }
    const begin = positiveStarts(context);
    return {
      x: emit.op("slice_update", {
        x: zerosLike(emit, operand("x")),
        update: gradient,
        begin,
        end: add(emit, begin, emit.op("shape", { x: gradient })),
      }),
    };
  },

  slice_update: (context) => {
    const { emit, gradient, operand, wants } = context;
    const settings = sliceSettings(context);
    return {
      x: wants("x")
        ? emit.op("slice_update", {
            x: gradient,
            update: zerosLike(emit, operand("update")),
            ...settings,
          })
        : undefined,
      update: wants("update") ? emit.op("slice_by_index", { x: gradient, ...settings }) : undefined,
    };
  },
} as const satisfies Partial<GradientTable>;
