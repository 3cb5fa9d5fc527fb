import type { OpCall } from "../mil/op-call.ts";
import type { Operation, Value } from "../mil/program.ts";
import { elementCount, staticShape } from "../mil/types.ts";
import type { Lowered } from "./lowered-value.ts";
import type { Lowering } from "./lowering.ts";
import { apartFromZero } from "./half-constants.ts";
import { FAR_BELOW } from "./masks.ts";
import { softmaxOfParts } from "./parts.ts";

export function softmax(lowering: Lowering, call: OpCall): Lowered | undefined {
  const x = lowering.lookup(call, "x");
  if (x.kind === "parts") return softmaxOfParts(lowering, call);
  const rank = x.shape.length;
  if (call.axis("axis", rank) !== rank - 1 || paddedSize(lowering, x.shape) === undefined)
    return undefined;
  return lowering.plain(lastSoftmax(lowering, lowering.whole(x)), x.shape);
}

/** Rule `softmax-power-of-two`: how long the last axis has to be, where that is longer than it is. */
function paddedSize(lowering: Lowering, shape: readonly number[]): number | undefined {
  const size = shape.at(-1) ?? 1;
  const padded = 2 ** Math.ceil(Math.log2(size));
  const isWanted = lowering.driver === "in-memory" && padded !== size;
  return isWanted && padded <= lowering.axisLimit ? padded : undefined;
}

/** A softmax over the last axis, which is padded where the chip wants that; what was added is cut off again. */
export function lastSoftmax(lowering: Lowering, x: Value): Value {
  const { builder } = lowering;
  const shape = x.type.kind === "tensor" ? staticShape(x.type) : [];
  const axis = shape.length - 1;
  const padded = paddedSize(lowering, shape);
  if (padded === undefined) return builder.op("softmax", { x, axis });
  const missing = padded - (shape[axis] ?? 1);
  const wide = builder.op("pad", {
    x,
    pad: shape.flatMap((_, at) => [0, at === axis ? missing : 0]),
    mode: "constant",
    constant_val: FAR_BELOW,
  });
  return builder.op("slice_by_index", {
    x: builder.op("softmax", { x: wide, axis }),
    begin: shape.map(() => 0),
    end: shape,
  });
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
  const raised = builder.op("add", { x, y: apartFromZero(call.float("epsilon")) });
  return builder.op("pow", { x: raised, y: -0.5 });
}
