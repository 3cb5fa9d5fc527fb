import { FunctionBuilder } from "./builder.ts";
import { MilError } from "./errors.ts";
import { isOperandList } from "./program.ts";
import type { Argument, MilFunction, Operand, Opset, Value } from "./program.ts";
import { formatType, tensorType } from "./types.ts";
import type { MilType } from "./types.ts";
import { assembleFunction } from "./assemble.ts";

/**
 * The function for inputs of known sizes: open sizes of the inputs named in `shapes` are filled in, and the types
 * of all values follow from them. Throws `MilError` where a shape does not fit an input's type, or where sizes of
 * a nested block would have to change.
 */
export function withInputShapes(
  fn: MilFunction,
  shapes: ReadonlyMap<string, readonly number[]>,
): MilFunction {
  const inputs = fn.inputs.map((input) => withShape(input, shapes.get(input.name)));
  if (inputs.every((input, index) => input === fn.inputs[index])) return fn;
  const replaced = new Map<Operand, Operand>();
  inputs.forEach((input, index) => {
    const old = fn.inputs[index];
    if (old !== undefined) replaced.set(old, input);
  });
  const swap = (operand: Operand): Operand => replaced.get(operand) ?? operand;
  const builder = new FunctionBuilder(fn.name, fn.opset as Opset);
  const operations = fn.operations.map((operation) => {
    if (operation.blocks.length > 0) {
      throw new MilError(
        "mil.specialize.block",
        `${operation.type} has nested blocks, whose sizes cannot be filled in`,
      );
    }
    const operands = new Map<string, Argument>();
    for (const [name, argument] of operation.inputs) {
      operands.set(name, isOperandList(argument) ? argument.map(swap) : swap(argument));
    }
    if (operation.type === "const") return operation;
    const types = builder
      .append(
        { ...operation, inputs: operands },
        undefined,
        operation.outputs.map(({ type }) => type),
      )
      .map(({ type }) => type);
    const outputs = operation.outputs.map((output, index) => retyped(output, types[index]));
    outputs.forEach((output, index) => {
      const old = operation.outputs[index];
      if (old !== undefined) replaced.set(old, output);
    });
    return Object.freeze({ ...operation, inputs: operands, outputs: Object.freeze(outputs) });
  });
  return assembleFunction({
    name: fn.name,
    opset: fn.opset,
    inputs,
    operations,
    outputs: fn.outputs.map((output) => {
      const result = swap(output);
      if (result.kind !== "value") {
        throw new MilError("mil.specialize.output", `output "${output.name}" is a literal`);
      }
      return [output.name, result];
    }),
    attributes: new Map([...fn.attributes].filter(([name]) => name !== FLEXIBLE)),
  });
}

/** The attribute that tells how far shapes may change; a function of known sizes has none. */
const FLEXIBLE = "FlexibleShapeInformation";

function withShape(input: Value, shape: readonly number[] | undefined): Value {
  const { type } = input;
  if (shape === undefined || type.kind !== "tensor" || !type.shape.includes("?")) return input;
  const fits =
    shape.length === type.shape.length &&
    type.shape.every((size, axis) => size === "?" || size === shape[axis]);
  if (!fits) {
    throw new MilError(
      "mil.specialize.shape",
      `input "${input.name}" is ${formatType(type)}; [${shape.join(", ")}] does not fit`,
    );
  }
  return Object.freeze({ ...input, type: tensorType(type.dataType, shape) });
}

function retyped(output: Value, type: MilType | undefined): Value {
  return type === undefined ? output : Object.freeze({ ...output, type });
}
