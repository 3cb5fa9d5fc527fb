import type { FunctionBuilder } from "../mil/builder.ts";
import type { Operand, Operation, Value } from "../mil/program.ts";
import { elementCount } from "../mil/types.ts";
import { roundToFloat16 } from "../util/float16.ts";
import { apartFromZero } from "./half-constants.ts";
import { knownShape, operandOf, scalarConstant } from "../mil/match.ts";
import { rewriting } from "../passes/rewrite.ts";
import type { Pass, RewriteContext } from "../passes/rewrite.ts";

/**
 * A row's largest element counts as at least this. Its square and the reciprocal of its square are ordinary
 * fp16 numbers.
 */
const SMALLEST = 2 ** -7;

/** Rows of so many elements, of which none is above 1, have a sum of squares that is an ordinary fp16 number. */
const LONGEST_SUM = 2 ** 14;

/** The mean of squares over one axis that is kept, and what is squared. */
interface MeanSquare {
  readonly x: Operand;
  readonly axes: readonly number[];
}

function axesOf(operation: Operation, context: RewriteContext): readonly number[] | undefined {
  const axes = operandOf(operation, "axes");
  const literal = axes === undefined || axes.kind === "value" ? axes?.constant : axes;
  if (literal?.data.kind !== "numbers") return undefined;
  return context.makerOf(axes) === undefined ? [...literal.data.numbers].map(Number) : undefined;
}

function keepsAxes(operation: Operation): boolean {
  const x = knownShape(operandOf(operation, "x"));
  const result = knownShape(operation.outputs[0]);
  return x !== undefined && result?.length === x.length;
}

/** reduce_mean(x * x), or reduce_sum_square(x) * 1/n. */
function meanSquare(operand: Operand, context: RewriteContext): MeanSquare | undefined {
  const mean = context.makerOf(operand, "reduce_mean");
  if (mean !== undefined && keepsAxes(mean)) {
    const square = context.makerOf(operandOf(mean, "x"));
    const x = operandOf(square, "x");
    const isSquare =
      square?.type === "square" || (square?.type === "mul" && x === operandOf(square, "y"));
    const axes = axesOf(mean, context);
    return x !== undefined && isSquare && axes !== undefined ? { x, axes } : undefined;
  }
  const scaled = context.makerOf(operand, "mul");
  const squares = context.makerOf(operandOf(scaled, "x"), "reduce_sum_square");
  const share = scalarConstant(operandOf(scaled, "y"));
  const x = operandOf(squares, "x");
  if (squares === undefined || x === undefined || share === undefined || !keepsAxes(squares))
    return undefined;
  const shape = knownShape(x) ?? [];
  const axes = axesOf(squares, context);
  const count = axes?.reduce((product, axis) => product * (shape.at(axis) ?? 1), 1) ?? 0;
  return axes !== undefined && Math.abs(share * count - 1) < 1e-2 ? { x, axes } : undefined;
}

/**
 * 1 / sqrt(mean(x^2) + e) of rows whose sum of squares may be beyond fp16: 160 channels of 20 are 64,000, and a
 * norm of such a row would be 0. Rows are divided by their largest element before they are squared:
 * with u = x / m it is (1 / m) / sqrt(mean(u^2) + e / m^2), and no sum exceeds the number of channels.
 * `inOneOp`: the squares are made and summed by one op.
 */
export function scaleRowSquares(inOneOp: boolean): Pass {
  return rewriting("scale row squares", (operation, context) => {
    const operand = operandOf(operation, "x");
    if (operation.type !== "rsqrt" || operand === undefined) return undefined;
    const found = meanSquare(operand, context);
    if (found === undefined || isScaled(found.x, context)) return undefined;
    const { emit, call } = context;
    const { x, axes } = found;
    const over = { axes, keep_dims: true } as const;
    const largest = emit.op("reduce_max", { x: emit.op("abs", { x }), ...over });
    const divisor = emit.op("maximum", { x: largest, y: SMALLEST });
    const inverse = emit.op("real_div", { x: 1, y: divisor });
    const u: Value = emit.op("mul", { x, y: inverse });
    const mean = meanOfSquares(u, axes, inOneOp, emit);
    // As the engine holds it: it only keeps the root of nothing finite.
    const added = roundToFloat16(apartFromZero(call.float("epsilon")));
    const epsilon = emit.op("mul", {
      x: emit.op("mul", { x: inverse, y: added }),
      y: inverse,
    });
    const root = emit.op("rsqrt", { x: emit.op("add", { x: mean, y: epsilon }), epsilon: 0 });
    return emit.op("mul", { x: root, y: inverse });
  });
}

/**
 * Of elements between -1 and 1. The op that squares and adds reads them once and writes a number a row, where a product
 * and a mean read and write them all. It was measured through e5rt alone (5.4e-4, a mean 8e-4).
 */
function meanOfSquares(
  u: Value,
  axes: readonly number[],
  inOneOp: boolean,
  emit: FunctionBuilder,
): Value {
  const over = { axes, keep_dims: true } as const;
  const count = elementCount(axes.map((axis) => knownShape(u)?.at(axis) ?? Infinity));
  if (!inOneOp || count > LONGEST_SUM)
    return emit.op("reduce_mean", { x: emit.op("mul", { x: u, y: u }), ...over });
  return emit.op("mul", { x: emit.op("reduce_sum_square", { x: u, ...over }), y: 1 / count });
}

/** Rows that have been divided already. */
function isScaled(x: Operand, context: RewriteContext): boolean {
  return context.makerOf(operandOf(context.makerOf(x, "mul"), "y"), "real_div") !== undefined;
}
