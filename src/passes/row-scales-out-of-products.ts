import type { Operand } from "../mil/program.ts";
import { tensorLiteral } from "../mil/literal.ts";
import { bothWays, isFloatTensor, knownShape, operandOf, uniformConstant } from "../mil/match.ts";
import { rewriting } from "./rewrite.ts";
import type { RewriteContext } from "./rewrite.ts";

/** A factor for each row and what it multiplies: [N, 1] and [N, K]. */
interface ScaledRows {
  readonly scale: Operand;
  readonly rows: Operand;
}

/** A product of a column [N, 1] and a matrix [N, K] of several columns. */
function scaledRows(operand: Operand | undefined, context: RewriteContext): ScaledRows | undefined {
  const made = context.makerOf(operand, "mul");
  for (const [scale, rows] of bothWays(made)) {
    const [column, matrix] = [knownShape(scale), knownShape(rows)];
    if (column?.length !== 2 || matrix?.length !== 2 || !isFloatTensor(rows)) continue;
    if (column[1] === 1 && column[0] === matrix[0] && (matrix[1] ?? 0) > 1) return { scale, rows };
  }
  return undefined;
}

/** The number c of an operand r c; 1 for r itself. */
function multipleOf(operand: Operand | undefined, scale: Operand, context: RewriteContext) {
  if (operand === scale) return 1;
  for (const [x, y] of bothWays(context.makerOf(operand, "mul")))
    if (x === scale) return uniformConstant(y);
  return undefined;
}

/** Adding r c at places of r P is r times adding c at places of P. */
function outOfScatter(
  operation: Parameters<Parameters<typeof rewriting>[1]>[0],
  context: RewriteContext,
) {
  const { emit, call } = context;
  const data = operandOf(operation, "data");
  const updates = operandOf(operation, "updates");
  const scaled = scaledRows(data, context);
  const shape = knownShape(updates);
  if (data === undefined || scaled === undefined || shape === undefined) return undefined;
  if (!context.isReadOnce(data) || call.string("mode") !== "add") return undefined;
  const multiple = multipleOf(updates, scaled.scale, context);
  const isColumn = shape.length === 2 && shape[1] === 1 && call.int("axis") % 2 !== 0;
  if (multiple === undefined || !isColumn || updates?.type.kind !== "tensor") return undefined;
  const numbers = new Float32Array(shape[0] ?? 0).fill(multiple);
  const { dataType } = updates.type;
  if (dataType !== "fp32") return undefined;
  const [scattered] = emit.append({
    ...operation,
    inputs: new Map([
      ...operation.inputs,
      ["data", scaled.rows],
      ["updates", emit.constant(tensorLiteral(dataType, shape, numbers))],
    ]),
  });
  if (scattered === undefined) return undefined;
  return emit.op("mul", { x: scaled.scale, y: scattered });
}

/**
 * Factors of rows leave products over many columns for where fewer numbers are multiplied: (r P) W = r (P W), and
 * (r P)' H = P' (r H). In a head's gradient P has a column for each token of the vocabulary. What comes out differs in the
 * order of roundings, and in the size of what is multiplied, so this is for arithmetic with a wide range of exponents.
 */
export const rowScalesOutOfProducts = rewriting(
  "row scales out of products",
  (operation, context) => {
    const { emit, call } = context;
    if (operation.type === "scatter_along_axis") return outOfScatter(operation, context);
    if (operation.type !== "matmul") return undefined;
    const scaled = scaledRows(operandOf(operation, "x"), context);
    const y = operandOf(operation, "y");
    const [result] = operation.outputs;
    const [columns, other, outcome] = [knownShape(scaled?.rows), knownShape(y), knownShape(result)];
    if (scaled === undefined || y === undefined) return undefined;
    if (columns === undefined || other?.length !== 2 || outcome?.length !== 2) return undefined;
    const { scale, rows } = scaled;
    const transpose_y = call.bool("transpose_y");
    if (!call.bool("transpose_x")) {
      if ((outcome[1] ?? 0) >= (columns[1] ?? 0)) return undefined;
      return emit.op("mul", { x: scale, y: emit.op("matmul", { x: rows, y, transpose_y }) });
    }
    if (transpose_y || (other[1] ?? 0) >= (columns[1] ?? 0)) return undefined;
    return emit.op("matmul", { x: rows, y: emit.op("mul", { x: scale, y }), transpose_x: true });
  },
);
