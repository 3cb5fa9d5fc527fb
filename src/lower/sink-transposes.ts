import type { FunctionBuilder } from "../mil/builder.ts";
import { literalNumbers, tensorLiteral } from "../mil/literal.ts";
import { opRow } from "../mil/ops/index.ts";
import { literalOf } from "../mil/program.ts";
import type { Operand, Operation, Value } from "../mil/program.ts";
import { elementCount } from "../mil/types.ts";
import { knownShape, operandOf } from "../mil/match.ts";
import { permutationOf } from "../passes/merge-transposes.ts";
import { rewriting } from "../passes/rewrite.ts";
import type { RewriteContext } from "../passes/rewrite.ts";

/**
 * Moves the exchange of a matrix's axes, and reshapes that only add or drop sizes of 1, behind elementwise ops,
 * where they meet the next one and vanish: activations stay channels first from convolution to convolution.
 */
export const sinkTransposes = rewriting("sink transposes", (operation, context) => {
  const row = opRow(operation.type);
  if (row?.pointwise === true) return sinkUnary(operation, context);
  if (row?.broadcasts === true) return sinkBinary(operation, context);
  return undefined;
});

/** The same numbers in another form: `source`, and how the form is made of a value shaped like it. */
interface Form {
  readonly kind: string;
  readonly source: Value;
  readonly sourceShape: readonly number[];
  readonly shape: readonly number[];
  readonly apply: (emit: FunctionBuilder, value: Value) => Value;
}

function formOf(operand: Operand | undefined, context: RewriteContext): Form | undefined {
  if (operand?.kind !== "value" || context.isOutput(operand)) return undefined;
  const maker = context.makerOf(operand);
  const source = operandOf(maker, "x");
  const sourceShape = knownShape(source);
  const shape = knownShape(operand);
  if (source?.kind !== "value" || sourceShape === undefined || shape === undefined)
    return undefined;
  if (permutationOf(maker)?.join() === "1,0") {
    const apply = (emit: FunctionBuilder, x: Value): Value =>
      emit.op("transpose", { x, perm: [1, 0] });
    return { kind: "exchange", source, sourceShape, shape, apply };
  }
  if (maker?.type !== "reshape" || significant(sourceShape) !== significant(shape))
    return undefined;
  const apply = (emit: FunctionBuilder, x: Value): Value => emit.op("reshape", { x, shape });
  return { kind: `reshape ${sourceShape.join()}`, source, sourceShape, shape, apply };
}

function significant(shape: readonly number[]): string {
  return shape.filter((size) => size !== 1).join();
}

/** Whether the form disappears when this op no longer reads it. */
function isReadHereOnly(operand: Operand, operation: Operation, context: RewriteContext): boolean {
  const here = [...operation.inputs.values()].filter((argument) => argument === operand).length;
  return context.readCount(operand) === here;
}

function sinkUnary(operation: Operation, context: RewriteContext): Value | undefined {
  const x = operandOf(operation, "x");
  const form = formOf(x, context);
  if (x === undefined || form === undefined || !isReadHereOnly(x, operation, context))
    return undefined;
  const inputs = new Map(operation.inputs).set("x", form.source);
  const [value] = context.emit.append({ ...operation, inputs });
  return value === undefined ? undefined : form.apply(context.emit, value);
}

function sinkBinary(operation: Operation, context: RewriteContext): Value | undefined {
  const { emit } = context;
  const x = operandOf(operation, "x");
  const y = operandOf(operation, "y");
  if (x === undefined || y === undefined) return undefined;
  const left = formOf(x, context);
  const right = formOf(y, context);
  const form = left ?? right;
  if (form === undefined) return undefined;
  const readHere = [x, y].some(
    (operand) =>
      formOf(operand, context) !== undefined && isReadHereOnly(operand, operation, context),
  );
  if (!readHere) return undefined;
  const isPair =
    left !== undefined &&
    right !== undefined &&
    left.kind === right.kind &&
    left.shape.join() === right.shape.join();
  const other = left === undefined ? x : y;
  const constant = isPair ? undefined : constantFor(form, other, emit);
  if (!isPair && (constant === undefined || (left !== undefined && right !== undefined)))
    return undefined;
  const inputs = new Map(operation.inputs)
    .set("x", left?.source ?? constant ?? x)
    .set("y", right?.source ?? constant ?? y);
  const [value] = emit.append({ ...operation, inputs });
  if (value === undefined || knownShape(value)?.join() !== form.sourceShape.join())
    return undefined;
  return form.apply(emit, value);
}

/** A number, or a constant vector along the last axis, as it broadcasts to the form's source. */
function constantFor(form: Form, operand: Operand, emit: FunctionBuilder): Operand | undefined {
  const literal = literalOf(operand);
  const shape = knownShape(operand);
  if (literal?.data.kind !== "numbers" || literal.type.kind !== "tensor" || shape === undefined)
    return undefined;
  const count = elementCount(shape);
  const isShort = shape.length <= form.shape.length;
  if (count === 1 && isShort)
    return emit.constant(tensorLiteral(literal.type.dataType, [], literalNumbers(literal)));
  const columns = form.shape.at(-1);
  if (!isShort || count !== columns || shape.at(-1) !== columns || columns === 1) return undefined;
  const isExchange = form.kind === "exchange";
  if (!isExchange && form.sourceShape.at(-1) !== columns) return undefined;
  const placed = isExchange ? [columns, 1] : [columns];
  return emit.constant(tensorLiteral(literal.type.dataType, placed, literalNumbers(literal)));
}
