import { zerosLike } from "../emit.ts";
import { ZERO_GRADIENT } from "../rule.ts";
import type { GradientTable } from "../rule.ts";

export const SORTING_RULES = {
  argsort: ZERO_GRADIENT,
  // What was picked flows back to where it was picked from.
  topk: ({ emit, gradient, operand, outputs, call, shape }) => {
    const x = operand("x");
    const axis = call.axis("axis", shape("x").length);
    const [, ...given] = outputs;
    const [, ...picked] =
      given.length > 0
        ? outputs
        : emit.many("topk", {
            x,
            k: call.int("k"),
            axis,
            ascending: call.bool("ascending"),
            sort: call.bool("sort"),
            return_indices: true,
          });
    const [indices] = picked;
    if (indices === undefined) throw call.fail("topk gives no indices");
    return {
      x: emit.op("scatter_along_axis", {
        data: zerosLike(emit, x),
        indices,
        updates: gradient,
        axis,
        mode: "add",
      }),
    };
  },
  non_zero: ZERO_GRADIENT,
} as const satisfies Partial<GradientTable>;
