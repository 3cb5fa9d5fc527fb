import { numericLiteral } from "../../mil/literal.ts";
import { isValue, mapInputs } from "../../mil/program.ts";
import type { Block, Literal, MilFunction, Operand, Operation, Value } from "../../mil/program.ts";
import { staticShape, tensorType } from "../../mil/types.ts";
import type { MilType } from "../../mil/types.ts";
import { roundToFloat16 } from "../../util/float16.ts";

/**
 * The function as a machine that has fp16 alone would compute it: every fp32 value is fp16. What such a program gives on
 * the reference engine, an engine of fp16 may give too: inputs that fp16 does not hold, sums that it cannot.
 */
export function asHalf(fn: MilFunction): MilFunction {
  const values = new Map<Value, Value>();
  const valueOf = (value: Value): Value => {
    const known = values.get(value);
    if (known !== undefined) return known;
    const { constant } = value;
    const made: Value = Object.freeze({
      ...value,
      type: halfType(value.type),
      ...(constant !== undefined && { constant: halfLiteral(constant) }),
    });
    values.set(value, made);
    return made;
  };
  const operandOf = (operand: Operand): Operand =>
    isValue(operand) ? valueOf(operand) : halfLiteral(operand);
  const blockOf = (block: Block): Block => ({
    inputs: block.inputs.map(valueOf),
    operations: block.operations.map(operationOf),
    outputs: block.outputs.map(valueOf),
  });
  const operationOf = (operation: Operation): Operation => ({
    ...operation,
    inputs: mapInputs(operation, operandOf),
    outputs: operation.outputs.map(valueOf),
    blocks: operation.blocks.map(blockOf),
    attributes: new Map(
      [...operation.attributes].map(([name, literal]) => [name, halfLiteral(literal)]),
    ),
  });
  return { ...fn, ...blockOf(fn) };
}

function halfType(type: MilType): MilType {
  if (type.kind === "tensor" && type.dataType === "fp32") return tensorType("fp16", type.shape);
  if (type.kind === "list") return { ...type, element: halfType(type.element) };
  return type;
}

function halfLiteral(literal: Literal): Literal {
  const { type, data } = literal;
  if (data.kind === "strings" && data.strings.length === 1 && data.strings[0] === "fp32")
    return { ...literal, data: { ...data, strings: ["fp16"] } };
  if (type.kind !== "tensor" || type.dataType !== "fp32" || data.kind !== "numbers") return literal;
  const numbers = Float32Array.from(Array.from(data.numbers, Number), roundToFloat16);
  return numericLiteral(tensorType("fp16", staticShape(type)), numbers);
}
