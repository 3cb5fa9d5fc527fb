import type { Value } from "../mil/program.ts";
import { familyIndex } from "../chip/chip.ts";
import { apartFromZero } from "./half-constants.ts";
import type { Lowering } from "./lowering.ts";
import type { LoweringRule } from "./rule.ts";

/** Rules `layer-norm-affine` and `layer-norm-wide`: the last axis from which gamma and beta are not taken. */
const WIDTH_LIMITS = { toH14: 1024, fromH15: 10240 } as const;

/**
 * A norm with gamma and beta, which run along the axes in ascending order. The normalized axes become the last ones,
 * so that both follow; where gamma and beta are not taken they are ops of their own.
 */
export const layerNorm: LoweringRule = (lowering, call) => {
  if (!call.has("gamma") && !call.has("beta")) return undefined;
  const { builder, chip } = lowering;
  const given = lowering.whole(lowering.lookup(call, "x"));
  const shape = lowering.shapeOf(given);
  const axes = call.axes("axes", shape.length);
  const sorted = axes.toSorted((a, b) => a - b);
  const order = [...shape.map((_, axis) => axis).filter((axis) => !axes.includes(axis)), ...sorted];
  const x = transposed(lowering, given, order);
  const last = sorted.map((_, index) => shape.length - sorted.length + index);
  const epsilon = apartFromZero(call.float("epsilon"));
  const [gamma, beta] = ["gamma", "beta"].map((name) =>
    call.has(name) ? lowering.whole(lowering.lookup(call, name)) : undefined,
  );
  const isEarly = familyIndex(chip.family) <= familyIndex("H14");
  const limit = isEarly ? WIDTH_LIMITS.toH14 : WIDTH_LIMITS.fromH15;
  const isInside = (lowering.shapeOf(x).at(-1) ?? 1) < limit;
  let value = builder.op("layer_norm", {
    x,
    axes: last,
    ...(isInside && { gamma, beta }),
    epsilon,
  });
  if (!isInside && gamma !== undefined) value = builder.op("mul", { x: value, y: gamma });
  if (!isInside && beta !== undefined) value = builder.op("add", { x: value, y: beta });
  const back = order.map((_, axis) => order.indexOf(axis));
  return lowering.plain(transposed(lowering, value, back));
};

function transposed({ builder }: Lowering, x: Value, order: readonly number[]): Value {
  return order.every((axis, index) => axis === index)
    ? x
    : builder.op("transpose", { x, perm: order });
}
