import { literalNumbers, tensorLiteral } from "../mil/literal.ts";
import type { OpCall } from "../mil/op-call.ts";
import { literalOf } from "../mil/program.ts";
import type { Value } from "../mil/program.ts";
import { isFloat, staticShape } from "../mil/types.ts";
import type { Lowered } from "./lowered-value.ts";
import type { Lowering } from "./lowering.ts";
import { FAR_BELOW } from "./masks.ts";
import { lastSoftmax } from "./reductions.ts";

/**
 * Rule `attention-mask`: attention with a mask written out, since the engine ignores the op's mask. The queries are
 * scaled first, so that the scores stay small.
 */
export function maskedAttention(lowering: Lowering, call: OpCall): Lowered | undefined {
  if (!call.has("attn_mask")) return undefined;
  const { builder } = lowering;
  const whole = (name: string): Value => lowering.whole(lowering.lookup(call, name));
  const query = whole("query");
  const channels = query.type.kind === "tensor" ? (staticShape(query.type).at(-1) ?? 1) : 1;
  const scores = builder.op("matmul", {
    x: lowering.padded(builder.op("mul", { x: query, y: 1 / Math.sqrt(channels) }), -1),
    y: lowering.padded(whole("key"), -1),
    transpose_x: false,
    transpose_y: true,
  });
  const masked = builder.op("add", { x: scores, y: addedMask(lowering, call) });
  const result = builder.op("matmul", {
    x: lowering.padded(lastSoftmax(lowering, masked), -1),
    y: lowering.padded(whole("value"), -2),
    transpose_x: false,
    transpose_y: false,
  });
  return lowering.plain(result);
}

/** What is added to the scores: a constant of bools becomes zeros and large negative numbers. */
function addedMask(lowering: Lowering, call: OpCall): Value {
  if (isFloat(call.dataType("attn_mask")))
    return lowering.whole(lowering.lookup(call, "attn_mask"));
  const literal = literalOf(call.operand("attn_mask"));
  if (literal?.type.kind !== "tensor" || literal.data.kind !== "numbers") {
    throw lowering.refuse("a mask of bools that is no constant; give fp16 zeros and -30000");
  }
  const numbers = literalNumbers(literal).map((keeps) => (keeps === 0 ? FAR_BELOW : 0));
  return lowering.builder.constant(
    tensorLiteral("fp16", staticShape(literal.type), numbers),
    "mask",
  );
}
