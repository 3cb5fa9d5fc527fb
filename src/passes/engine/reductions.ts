import type { OpCall } from "../../mil/op-call.ts";
import type { Operation, Value } from "../../mil/program.ts";
import { elementCount, staticShape } from "../../mil/types.ts";
import type { Lowered } from "./lowered-value.ts";
import type { Lowering } from "./lowering.ts";
import { softmaxOfParts } from "./parts.ts";

/** What a padded softmax sees beyond its axis: nothing of it is left after the exponential. */
const FAR_BELOW = -30_000;

/** Rule `softmax-power-of-two`: the axis is padded, and what was added cut off again. */
export function softmax(lowering: Lowering, call: OpCall): Lowered | undefined {
  const x = lowering.lookup(call, "x");
  if (x.kind === "parts") return softmaxOfParts(lowering, call);
  const rank = x.shape.length;
  const size = x.shape.at(-1) ?? 1;
  const padded = 2 ** Math.ceil(Math.log2(size));
  if (lowering.driver !== "in-memory" || padded === size || padded > lowering.axisLimit)
    return undefined;
  if (call.axis("axis", rank) !== rank - 1) return undefined;
  const { builder } = lowering;
  const wide = builder.op("pad", {
    x: lowering.whole(x),
    pad: x.shape.flatMap((_, axis) => [0, axis === rank - 1 ? padded - size : 0]),
    mode: "constant",
    constant_val: FAR_BELOW,
  });
  const value = builder.op("slice_by_index", {
    x: builder.op("softmax", { x: wide, axis: rank - 1 }),
    begin: x.shape.map(() => 0),
    end: x.shape,
  });
  return lowering.plain(value, x.shape);
}

/**
 * Rule `reduce-mean`: a sum and a division by the count. A power of two goes in front of the sum, so that neither
 * the sum of squares of large activations nor the square of small ones leaves fp16.
 */
export function reduceMean(
  lowering: Lowering,
  call: OpCall,
  operation: Operation,
): Lowered | undefined {
  const x = lowering.lookup(call, "x");
  if (lowering.driver !== "in-memory" || x.kind === "parts") return undefined;
  const axes = call.has("axes")
    ? call.axes("axes", x.shape.length)
    : x.shape.map((_, axis) => axis);
  const terms = elementCount(axes.map((axis) => x.shape[axis] ?? 1));
  const before = 2 ** -Math.ceil(Math.log2(terms) / 2);
  const { builder } = lowering;
  const sum = builder.op("reduce_sum", {
    x: builder.op("mul", { x: lowering.whole(x), y: before }),
    axes,
    keep_dims: call.bool("keep_dims"),
  });
  const type = operation.outputs[0]?.type;
  const shape = type?.kind === "tensor" ? staticShape(type) : [];
  return lowering.plain(builder.op("mul", { x: sum, y: 1 / (terms * before) }), shape);
}

/** Rule `rsqrt`: a power. */
export function reciprocalRoot(lowering: Lowering, call: OpCall): Value | undefined {
  if (lowering.driver !== "in-memory") return undefined;
  const { builder } = lowering;
  const x = lowering.whole(lowering.lookup(call, "x"));
  const raised = builder.op("add", { x, y: call.float("epsilon") });
  return builder.op("pow", { x: raised, y: -0.5 });
}
