import type { FunctionBuilder } from "../../mil/builder.ts";
import type { Value } from "../../mil/program.ts";
import { broadcastTo, shapeOf } from "../emit.ts";
import type { GradientTable } from "../rule.ts";

/** Repeats axes of size 1 where the operand is larger; axes that are larger already are summed by the caller. */
function atLeast(e: FunctionBuilder, x: Value, shape: readonly number[]): Value {
  return broadcastTo(
    e,
    x,
    shapeOf(x).map((size, axis) => Math.max(size, shape[axis] ?? 1)),
  );
}

export const EINSUM_RULES = {
  // Both equations, "nchw,nwhu->nchu" and "chw,whr->chr", are products of matrices whose shared axis stands
  // at -1 and -3. Swapping those two axes of the other operand makes each gradient the same product again.
  einsum: ({ emit, gradient, operands, call, wants }) => {
    const [x, y] = operands("values");
    if (x === undefined || y === undefined) throw call.fail("values must hold two tensors");
    const rank = shapeOf(x).length;
    const perm = rank === 4 ? [0, 3, 2, 1] : [2, 1, 0];
    const equation = call.string("equation");
    const product = (a: Value, b: Value): Value => emit.op("einsum", { values: [a, b], equation });
    return {
      values: [
        wants("values", 0)
          ? atLeast(emit, product(gradient, emit.op("transpose", { x: y, perm })), shapeOf(x))
          : undefined,
        wants("values", 1)
          ? atLeast(emit, product(emit.op("transpose", { x, perm }), gradient), shapeOf(y))
          : undefined,
      ],
    };
  },
} as const satisfies Partial<GradientTable>;
