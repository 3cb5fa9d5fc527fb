import { evaluateConstants } from "../mil/evaluate-operation.ts";
import type { HostTensor } from "../mil/host-tensor.ts";
import { tensorLiteral } from "../mil/literal.ts";
import { isConstexpr, opRow } from "../mil/ops/index.ts";
import type { Operation } from "../mil/program.ts";
import { operandOf } from "../mil/match.ts";
import { rewriting } from "../passes/rewrite.ts";
import type { RewriteContext } from "../passes/rewrite.ts";

/**
 * Rule `blockwise-weight`: a product does not take a weight that is unpacked block by block, so that it is unpacked
 * before the program is written. It streams as fp16 then, as it would behind an op of its own.
 */
export const unpackBlockwiseWeights = rewriting(
  "unpack blockwise weights",
  (operation, context) => {
    const row = opRow(operation.type);
    const name = row?.product?.operands[1];
    const weight = name === undefined ? undefined : operandOf(operation, name);
    const maker = context.makerOf(weight, "constexpr_blockwise_shift_scale");
    if (name === undefined || maker === undefined) return undefined;
    const numbers = unpacked(maker, context);
    if (numbers === undefined) return undefined;
    const { dataType, shape, data } = numbers;
    const constant = context.emit.constant(tensorLiteral(dataType, shape, data));
    return context.emit.append({
      ...operation,
      inputs: new Map([...operation.inputs, [name, constant]]),
    });
  },
);

/** What an op over constants gives; packed data may come in several layers. */
function unpacked(operation: Operation, context: RewriteContext): HostTensor | undefined {
  const [result] = evaluateConstants(operation, (operand) => {
    const maker = context.makerOf(operand);
    return maker !== undefined && isConstexpr(maker.type) ? unpacked(maker, context) : undefined;
  });
  return result;
}
