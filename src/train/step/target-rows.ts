import { FunctionBuilder } from "../../mil/builder.ts";
import { tensorLiteral } from "../../mil/literal.ts";
import { OpCall } from "../../mil/op-call.ts";
import { opRow } from "../../mil/ops/index.ts";
import { namedValue } from "../../mil/program.ts";
import type { MilFunction, Operand, Operation } from "../../mil/program.ts";
import { staticShape, tensorType } from "../../mil/types.ts";
import { operandOf } from "../../mil/match.ts";
import { rewritingOnce } from "../../passes/rewrite.ts";

/** A head's input: rows of its matrix that stand for the targets, [R, C]. */
export const TARGET_ROWS = "target_rows";

/** A head that is given the rows of its matrix for the targets, and does not look for their logits among all. */
export interface HeadByRows {
  readonly function: MilFunction;
  /** The parameter whose rows they are, [V, C]. */
  readonly matrix: string;
}

/**
 * A head whose targets' logits are products of rows with rows: x * W^T at [row, target] is x[row] * W[target], and the
 * host looks up rows where a Neural Engine would have to compare every column of the vocabulary with the target.
 * Nothing for heads that do something to their logits first.
 */
export function headByTargetRows(fn: MilFunction): HeadByRows | undefined {
  const makers = new Map<Operand, Operation>(
    fn.operations.flatMap((operation) =>
      operation.outputs.map((output) => [output, operation] as const),
    ),
  );
  const chosen = fn.operations.filter(({ type }) => type === "gather_along_axis");
  const [pick, ...others] = chosen;
  const logits = operandOf(pick, "x");
  const product = logits === undefined ? undefined : makers.get(logits);
  const hidden = operandOf(product, "x");
  const matrix = operandOf(product, "y");
  if (others.length > 0 || product?.type !== "matmul" || hidden === undefined) return undefined;
  const row = opRow(product.type);
  if (row === undefined) return undefined;
  const call = new OpCall(product, row);
  if (!call.bool("transpose_y") || call.bool("transpose_x")) return undefined;
  const input = fn.inputs.find((value) => value === matrix);
  const type = hidden.kind === "value" ? hidden.type : undefined;
  if (input === undefined || type?.kind !== "tensor" || type.shape.length !== 2) return undefined;
  const rows = namedValue(TARGET_ROWS, type);
  const [, channelCount = 1] = staticShape(type);
  const ones = tensorLiteral(
    type.dataType,
    [channelCount, 1],
    Array.from({ length: channelCount }, () => 1),
  );
  const rewritten = rewritingOnce("targets by rows", () => (operation, { emit }) => {
    if (operation !== pick) return undefined;
    // A product with ones is summed wide everywhere.
    return emit.op("matmul", { x: emit.op("mul", { x: hidden, y: rows }), y: ones });
  })({ ...fn, inputs: [...fn.inputs, rows] });
  return { function: rewritten, matrix: input.name };
}

/**
 * The host's part: targets int32 [R] to indices int32 [R], where ignored targets are row 0, and those rows of the table
 * [V, C] as target_rows [R, C].
 */
export function targetRows(
  vocabularySize: number,
  channelCount: number,
  rowCount: number,
): MilFunction {
  const f = new FunctionBuilder("target_rows");
  const table = f.input("table", tensorType("fp32", [vocabularySize, channelCount]));
  const targets = f.input("targets", tensorType("int32", [rowCount]));
  const indices = f.op("maximum", { x: targets, y: 0 });
  return f.finish({ target_rows: f.op("gather", { x: table, indices, axis: 0 }), indices });
}
