import { evaluateConstants } from "./evaluate-operation.ts";
import { assembleFunction } from "./assemble.ts";
import { MilError } from "./errors.ts";
import { hostTensor } from "./host-tensor.ts";
import type { HostTensor } from "./host-tensor.ts";
import { tensorLiteral } from "./literal.ts";
import { OpCall } from "./op-call.ts";
import { opRow } from "./ops/index.ts";
import { constantOperation, literalOf, mapInputs, operandsNamed, operandsOf } from "./program.ts";
import type { Block, MilFunction, Operand, Operation, Value } from "./program.ts";
import { isPure } from "./traverse.ts";
import { elementCount, formatType, sameType, tensorType } from "./types.ts";
import type { MilType, TensorType } from "./types.ts";

/** The attribute that tells how far shapes may change; a function of known sizes has none. */
const FLEXIBLE = "FlexibleShapeInformation";

/** Sizes are computed with in vectors; larger results are left to the run. */
const FOLDED_ELEMENTS = 1024;

/**
 * The function for inputs of known sizes: open sizes of the inputs named in `shapes` are filled in, and the types
 * of all values follow from them, in nested blocks too. What is computed from sizes alone becomes a constant, so
 * that shapes made of them are known as well. Throws `MilError` where a shape does not fit an input's type, or
 * where an op refuses the sizes.
 */
export function withInputShapes(
  fn: MilFunction,
  shapes: ReadonlyMap<string, readonly number[]>,
): MilFunction {
  const inputs = fn.inputs.map((input) => withShape(input, shapes.get(input.name)));
  if (inputs.every((input, index) => input === fn.inputs[index])) return fn;
  const scope = new SpecializedScope();
  inputs.forEach((input, index) => {
    const old = fn.inputs[index];
    if (old !== undefined) scope.replace(old, input);
  });
  return specialized(fn, inputs, [], scope);
}

/**
 * The function for inputs whose numbers are known: those in `tensors` become constants and are inputs no more, and
 * sizes that are computed from them are known. Throws `MilError` where an op refuses the numbers.
 */
export function withInputValues(
  fn: MilFunction,
  tensors: ReadonlyMap<string, HostTensor>,
): MilFunction {
  const scope = new SpecializedScope();
  const constants = fn.inputs.flatMap((input) => {
    const tensor = tensors.get(input.name);
    if (tensor === undefined) return [];
    const constant = constantOf(input, tensor);
    const [value] = constant.outputs;
    if (value !== undefined) scope.know(input, value);
    return [constant];
  });
  const inputs = fn.inputs.filter(({ name }) => !tensors.has(name));
  return specialized(fn, inputs, constants, scope);
}

function specialized(
  fn: MilFunction,
  inputs: readonly Value[],
  constants: readonly Operation[],
  scope: SpecializedScope,
): MilFunction {
  const operations = fn.operations.map((operation) => scope.specialize(operation));
  return assembleFunction({
    name: fn.name,
    opset: fn.opset,
    inputs,
    operations: [...constants, ...operations],
    outputs: fn.outputs.map((output) => [output.name, scope.value(output)]),
    attributes: new Map([...fn.attributes].filter(([name]) => name !== FLEXIBLE)),
  });
}

/** A `const` that gives a value's numbers. */
function constantOf(value: Value, { dataType, shape, data }: HostTensor): Operation {
  const literal = tensorLiteral(dataType, shape, data);
  const output: Value = Object.freeze({ ...value, type: literal.type, constant: literal });
  return constantOperation(output, literal);
}

/** What values have become so far. */
class SpecializedScope {
  readonly #replaced = new Map<Operand, Value>();
  /** Values that only depend on sizes. */
  readonly #sizes = new Set<Operand>();

  replace(old: Operand, value: Value): void {
    if (old === value) this.#replaced.delete(old);
    else this.#replaced.set(old, value);
  }

  /** A value whose numbers are known: what is computed from it alone is folded. */
  know(old: Operand, value: Value): void {
    this.#sizes.add(value);
    this.replace(old, value);
  }

  value(old: Value): Value {
    return this.#replaced.get(old) ?? old;
  }

  specialize(original: Operation): Operation {
    if (original.type === "const") return original;
    const inputs = mapInputs(original, (operand) => this.#replaced.get(operand) ?? operand);
    const blocks = this.#blocks({ ...original, inputs });
    const operation = { ...original, inputs, blocks };
    const row = opRow(operation.type);
    const types = row?.infer(new OpCall(operation, row));
    const outputs = original.outputs.map((output, index) => {
      const type = refined(types?.[index], output.type);
      return sameType(type, output.type) ? output : Object.freeze({ ...output, type });
    });
    const folded = this.#folded({ ...operation, outputs });
    const results = folded?.outputs ?? outputs;
    results.forEach((result, index) => {
      const old = original.outputs[index];
      if (old === undefined) return;
      if (folded !== undefined) this.#sizes.add(result);
      this.replace(old, result);
    });
    return folded ?? Object.freeze({ ...operation, outputs: Object.freeze(outputs) });
  }

  /** A `const` in place of an op whose result follows from sizes. */
  #folded(operation: Operation): Operation | undefined {
    const [output, ...rest] = operation.outputs;
    if (output?.type.kind !== "tensor" || rest.length > 0 || !isPure(operation)) return undefined;
    const tensor = this.#sizeTensor(operation, output.type);
    return tensor === undefined ? undefined : constantOf(output, tensor);
  }

  #sizeTensor(operation: Operation, type: TensorType): HostTensor | undefined {
    const operands = [...operandsOf(operation)];
    if (operation.type === "shape") {
      const [x] = operands;
      const sizes = x?.type.kind === "tensor" ? x.type.shape : ["?" as const];
      const known = sizes.filter((size) => size !== "?");
      if (known.length !== sizes.length) return undefined;
      return hostTensor(type.dataType, [known.length], Float64Array.from(known));
    }
    const known = type.shape.filter((size) => size !== "?");
    if (known.length === type.shape.length && elementCount(known) > FOLDED_ELEMENTS)
      return undefined;
    if (!operands.some((operand) => this.#sizes.has(operand))) return undefined;
    if (
      !operands.every((operand) => literalOf(operand)?.data.kind === "numbers" || isText(operand))
    )
      return undefined;
    return evaluateConstants(operation)[0];
  }

  #blocks(operation: Operation): readonly Block[] {
    if (operation.blocks.length === 0) return operation.blocks;
    if (operation.type !== "while_loop") return operation.blocks.map((block) => this.#block(block));
    const variables = operandsNamed(operation, "loop_vars");
    const closed = operation.blocks.map((block) =>
      this.#block(
        block,
        variables.map(({ type }) => type),
      ),
    );
    const body = closed[1];
    const keepsSizes =
      body?.outputs.every(({ type }, index) => {
        const variable = variables[index];
        return variable !== undefined && sameType(type, variable.type);
      }) ?? false;
    // A variable whose size changes from round to round stays as open as it was.
    return keepsSizes ? closed : operation.blocks.map((block) => this.#block(block));
  }

  #block(block: Block, types: readonly MilType[] = []): Block {
    const inputs = block.inputs.map((input, index) => {
      const type = types[index];
      const isSame = type === undefined || sameType(type, input.type);
      const value: Value = isSame ? input : Object.freeze({ ...input, type });
      this.replace(input, value);
      return value;
    });
    const operations = block.operations.map((operation) => this.specialize(operation));
    return Object.freeze({
      inputs: Object.freeze(inputs),
      operations: Object.freeze(operations),
      outputs: Object.freeze(block.outputs.map((output) => this.value(output))),
    });
  }
}

const isText = (operand: Operand): boolean =>
  operand.type.kind === "tensor" && operand.type.dataType === "string";

/** The inferred type, with what only the declared one knows. */
function refined(inferred: MilType | undefined, declared: MilType): MilType {
  if (inferred?.kind !== "tensor" || declared.kind !== "tensor") return inferred ?? declared;
  if (inferred.shape.length !== declared.shape.length) return inferred;
  return tensorType(
    inferred.dataType,
    inferred.shape.map((size, axis) => (size === "?" ? (declared.shape[axis] ?? size) : size)),
  );
}

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
