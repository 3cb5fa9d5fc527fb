import { stringLiteral } from "../mil/literal.ts";
import { EXACT_INTEGERS } from "./half-constants.ts";
import type { LoweringRule } from "./rule.ts";

/** Positions that int32 would hold come as uint16, a type that the engine has, and leave as fp16. */
export const topk: LoweringRule = (lowering, call, operation) => {
  if (!call.bool("return_indices")) return undefined;
  const shape = call.staticShape("x");
  const size = shape[call.axis("axis", shape.length)] ?? 1;
  const positions = operation.outputs[1];
  const isRead =
    positions !== undefined && (lowering.isOperand(positions) || lowering.isResult(positions));
  if (isRead && size > EXACT_INTEGERS + 1) {
    throw lowering.refuse(
      `topk gives positions on an axis of ${size}, fp16 is exact up to ${EXACT_INTEGERS}; do it on the host`,
    );
  }
  const inputs = new Map(operation.inputs);
  inputs.set("output_indices_dtype", stringLiteral("uint16"));
  lowering.wholeNumbers.setBounds(positions, [0, size - 1]);
  return lowering.copy({ ...operation, inputs }).map((value) => lowering.plain(value));
};
