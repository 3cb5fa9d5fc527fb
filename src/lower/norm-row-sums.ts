import { elementCount } from "../mil/types.ts";
import type { MilFunction, Operand, Operation, Value } from "../mil/program.ts";
import { bothWays, knownShape, operandOf } from "../mil/match.ts";
import { rewritingOnce } from "../passes/rewrite.ts";
import type { Pass, RewriteContext } from "../passes/rewrite.ts";

/**
 * Row sums of a norm's gradient, sum(g w x) with a weight w a column, as products with the weight where g times the
 * normalized x is there for the weight's own gradient: with n = x s it is (g n) w / s. Two ops over all elements less,
 * and the sum is the array's, which is exact, instead of one in fp16.
 */
export const rowSumsOfNorms: Pass = (fn) =>
  rewritingOnce("row sums of norms", () => {
    const known = productsOf(fn);
    return (operation, context) => rowSum(operation, known, context);
  })(fn);

/** A row-wise multiple of a value: value times `scale`, or the value itself. */
interface Multiple {
  readonly value: Operand;
  readonly scale?: Operand;
}

interface Products {
  /** First and second operands of all products, by the names of both in either order. */
  readonly pairs: ReadonlyMap<string, readonly [Operand, Operand]>;
  readonly multiples: ReadonlyMap<Operand, readonly Multiple[]>;
}

function productsOf(fn: MilFunction): Products {
  const pairs = new Map<string, readonly [Operand, Operand]>();
  const multiples = new Map<Operand, Multiple[]>();
  for (const operation of fn.operations) {
    const [result] = operation.outputs;
    if (operation.type !== "mul" || result === undefined) continue;
    const [x, y] = [operandOf(operation, "x"), operandOf(operation, "y")];
    if (x?.kind !== "value" || y?.kind !== "value") continue;
    pairs.set(pairKey(x, y), [x, y]);
    pairs.set(pairKey(y, x), [x, y]);
    for (const [value, scale] of bothWays(operation)) {
      if (!isOneARow(scale, value)) continue;
      const others = multiples.get(value) ?? [];
      others.push({ value: result, scale });
      multiples.set(value, others);
    }
  }
  return { pairs, multiples };
}

function pairKey(x: Value, y: Value): string {
  return `${x.name} ${y.name}`;
}

/** [R, 1] beside [R, C] */
function isOneARow(scale: Operand, value: Operand): boolean {
  const [rows, one] = knownShape(scale) ?? [];
  const shape = knownShape(value);
  return shape?.length === 2 && rows === shape[0] && one === 1 && shape[1] !== 1;
}

function rowSum(
  operation: Operation,
  { pairs, multiples }: Products,
  context: RewriteContext,
): Value | undefined {
  const { emit, makerOf, isReadOnce } = context;
  const whole = operandOf(operation, "x");
  const shape = knownShape(whole);
  if (whole === undefined || shape?.length !== 2 || !isRowSum(operation, context)) return undefined;
  const total = makerOf(whole, "mul");
  if (total === undefined || !isReadOnce(whole)) return undefined;
  const [, columns = 1] = shape;
  for (const [weighted, value] of bothWays(total)) {
    for (const [gradient, weight] of bothWays(makerOf(weighted, "mul"))) {
      if (gradient.kind !== "value" || !isOneAColumn(weight, columns)) continue;
      for (const multiple of [{ value } as Multiple, ...(multiples.get(value) ?? [])]) {
        if (multiple.value.kind !== "value") continue;
        // Written once more in the same order, it is found to be the same.
        const pair = pairs.get(pairKey(gradient, multiple.value));
        if (pair === undefined) continue;
        const column = emit.op("reshape", { x: weight, shape: [columns, 1] });
        const products = emit.op("mul", { x: pair[0], y: pair[1] });
        const sum = emit.op("matmul", { x: products, y: column });
        const scaled =
          multiple.scale === undefined ? sum : emit.op("real_div", { x: sum, y: multiple.scale });
        return operation.type === "reduce_mean"
          ? emit.op("mul", { x: scaled, y: 1 / columns })
          : scaled;
      }
    }
  }
  return undefined;
}

/** A sum or a mean of each row, [R, C] to [R, 1]. */
function isRowSum({ type }: Operation, { call }: RewriteContext): boolean {
  if (type !== "reduce_sum" && type !== "reduce_mean") return false;
  return call.bool("keep_dims") && call.axes("axes", 2).join() === "1";
}

/** [C] or [1, C], of which every row has the same. */
function isOneAColumn(weight: Operand, columns: number): boolean {
  const shape = knownShape(weight);
  return shape !== undefined && shape.at(-1) === columns && elementCount(shape) === columns;
}
