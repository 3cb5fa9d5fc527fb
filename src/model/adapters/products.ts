import { FunctionBuilder } from "../../mil/builder.ts";
import { literalOf } from "../../mil/program.ts";
import type { Argument, MilFunction, Operand, Operation, Value } from "../../mil/program.ts";
import { replaceOperands } from "../../mil/traverse.ts";
import { staticShape, tensorType } from "../../mil/types.ts";
import { ModelError } from "../errors.ts";

/** A product `x W` or `x W^T` of a stage function with a weight that is its input. */
export interface LinearProduct {
  /** Size of the last axis of x, and of the result. */
  readonly inputSize: number;
  readonly outputSize: number;
  /** The weight stands as [out, in]. */
  readonly isTransposed: boolean;
}

/** The linear products of a function by the parameter they multiply with. A weight used twice counts once. */
export function linearProducts(fn: MilFunction): ReadonlyMap<string, LinearProduct> {
  const inputs = new Set(fn.inputs);
  const products = new Map<string, LinearProduct>();
  for (const operation of fn.operations) {
    const weight = weightOf(operation, inputs);
    if (weight === undefined) continue;
    const [rows = 0, columns = 0] = shapeOf(weight);
    const isTransposed = flag(operation, "transpose_y");
    products.set(weight.name, {
      inputSize: isTransposed ? columns : rows,
      outputSize: isTransposed ? rows : columns,
      isTransposed,
    });
  }
  return products;
}

/** A low-rank correction of one product: its two matrices are new inputs of the function. */
export interface Correction {
  /** The weight's parameter. */
  readonly parameter: string;
  /** Parameter of A [rank, in] and of B [out, rank]. */
  readonly a: string;
  readonly b: string;
  readonly rank: number;
  /** Parameters of the trained lengths and of one over the matrix's, both [out]; the product is multiplied by both. */
  readonly lengths?: { readonly magnitude: string; readonly inverseNorm: string };
}

/** Beginning of the names of inputs that hold dropout masks [N, in]: 0, or one over the share that is kept. */
export const DROPOUT_MASK = "dropout_mask_";

/**
 * The function with `(x A^T) B^T scale` added to each chosen product, and the sum multiplied by its lengths where it has
 * some; all of them are inputs after all others, so a derivative treats the matrix's own lengths as given. With
 * `dropsOut` the corrections see x times a mask, an input for each x that several may share. MIL in, MIL
 * out: it knows nothing of the model. Throws `ModelError` for a parameter that the function multiplies nothing with.
 */
export function withCorrections(
  fn: MilFunction,
  corrections: readonly Correction[],
  scale: number,
  dropsOut = false,
): MilFunction {
  const products = linearProducts(fn);
  const builder = new FunctionBuilder(fn.name);
  const values = new Map<Operand, Operand>();
  for (const input of fn.inputs) values.set(input, builder.input(input.name, input.type));
  const byParameter = new Map<string, (x: Value, product: Value) => Value>();
  const dropped = new Map<Value, Value>();
  for (const { parameter, a, b, rank, lengths } of corrections) {
    const product = products.get(parameter);
    const weight = fn.inputs.find(({ name }) => name === parameter);
    if (product === undefined || weight?.type.kind !== "tensor") {
      throw new ModelError(
        "model.adapter.product",
        `"${fn.name}" multiplies nothing with "${parameter}", so no adapter can stand beside it`,
      );
    }
    const { dataType } = weight.type;
    const A = builder.input(a, tensorType(dataType, [rank, product.inputSize]));
    const B = builder.input(b, tensorType(dataType, [product.outputSize, rank]));
    const vector = (name: string): Value =>
      builder.input(name, tensorType(dataType, [product.outputSize]));
    const factors = lengths && [vector(lengths.magnitude), vector(lengths.inverseNorm)];
    byParameter.set(parameter, (given, whole) => {
      const x = dropsOut ? droppedOut(builder, given, dropped) : given;
      const thin = builder.op("matmul", { x, y: A, transpose_y: true }, { name: `${a}_thin` });
      const scaled =
        scale === 1 ? thin : builder.op("mul", { x: thin, y: scale }, { name: `${a}_scaled` });
      const y = builder.op("matmul", { x: scaled, y: B, transpose_y: true }, { name: `${b}_part` });
      const sum = builder.op("add", { x: whole, y }, { name: `${whole.name}_adapted` });
      const [magnitude, inverseNorm] = factors ?? [];
      if (magnitude === undefined || inverseNorm === undefined) return sum;
      const factor = builder.op("mul", { x: magnitude, y: inverseNorm }, { name: `${b}_lengths` });
      return builder.op("mul", { x: sum, y: factor }, { name: `${whole.name}_directed` });
    });
  }
  const inputs = new Set(fn.inputs);
  for (const operation of fn.operations) {
    const results = copied(builder, operation, values);
    const correct = byParameter.get(weightOf(operation, inputs)?.name ?? "");
    const [result] = results;
    const x = operation.inputs.get("x");
    operation.outputs.forEach((output, index) => {
      const same = results[index];
      if (same !== undefined) values.set(output, same);
    });
    const [output] = operation.outputs;
    if (correct === undefined || result === undefined || output === undefined) continue;
    values.set(output, correct(valueOf(values, x), result));
  }
  return builder.finish(
    Object.fromEntries(fn.outputs.map((output) => [output.name, valueOf(values, output)])),
    fn.attributes,
  );
}

/** x times its mask, once for all products that read x. */
function droppedOut(builder: FunctionBuilder, x: Value, known: Map<Value, Value>): Value {
  const before = known.get(x);
  if (before !== undefined) return before;
  if (x.type.kind !== "tensor")
    throw new ModelError("model.adapter.product", "a product's left side must be a tensor");
  const name = `${DROPOUT_MASK}${known.size}`;
  const mask = builder.input(name, tensorType(x.type.dataType, staticShape(x.type)));
  const masked = builder.op("mul", { x, y: mask }, { name: `${name}_applied` });
  known.set(x, masked);
  return masked;
}

function copied(
  builder: FunctionBuilder,
  operation: Operation,
  values: ReadonlyMap<Operand, Operand>,
): readonly Value[] {
  const [output] = operation.outputs;
  const literal = operation.type === "const" ? output?.constant : undefined;
  if (literal !== undefined) return [builder.constant(literal, output?.name)];
  const moved = replaceOperands(operation, (operand) => values.get(operand) ?? operand);
  const name = operation.outputs.length === 1 ? output?.name : operation.type;
  return builder.append(
    moved,
    name,
    operation.outputs.map(({ type }) => type),
  );
}

/** The weight that a plain product multiplies with: an input of the function, of two axes, on the right. */
function weightOf(operation: Operation, inputs: ReadonlySet<Value>): Value | undefined {
  if (operation.type !== "matmul" || flag(operation, "transpose_x")) return undefined;
  const y = operation.inputs.get("y");
  const weight = [...inputs].find((input) => input === y);
  return weight !== undefined && shapeOf(weight).length === 2 ? weight : undefined;
}

function flag(operation: Operation, name: string): boolean {
  const argument = operation.inputs.get(name);
  if (argument === undefined || Array.isArray(argument)) return false;
  const literal = literalOf(argument as Operand);
  return literal?.data.kind === "numbers" && literal.data.numbers[0] === 1;
}

function shapeOf({ type }: Value): readonly number[] {
  return type.kind === "tensor" ? staticShape(type) : [];
}

function valueOf(values: ReadonlyMap<Operand, Operand>, argument: Argument | undefined): Value {
  const found =
    argument === undefined || !("kind" in argument)
      ? undefined
      : (values.get(argument) ?? argument);
  if (found?.kind === "value") return found;
  throw new ModelError("model.adapter.product", "a product's left side must be a value");
}
