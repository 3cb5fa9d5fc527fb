import { numericLiteral } from "../mil/literal.ts";
import { isValue, literalOf } from "../mil/program.ts";
import type { MilFunction, Operand, Operation, Value } from "../mil/program.ts";
import { makersOf, readersOf } from "../mil/traverse.ts";
import { elementCount } from "../mil/types.ts";
import { bothWays, knownShape, operandOf, scalarConstant } from "../mil/match.ts";
import { rewriting, rewritingOnce } from "../passes/rewrite.ts";
import type { Pass, RewriteContext } from "../passes/rewrite.ts";

/** What exponentials are raised by: e^4, so that their products with weights lie where the engine rounds well. */
const RAISED = 4;
/** Their sum is lowered by this power of two, so that it stays as small as it was. */
const LOWERED = 2 ** -6;

/** The exponentials of rows whose largest number was taken away, [R, C] each, and all that is made of them. */
interface Shares {
  /** A row's largest number [R, 1]. */
  readonly largest: Value;
  /** What shares are made of exponentials with [R, 1]: one over their sum, times a row's gradient. */
  readonly factor: Value;
  readonly differences: ReadonlySet<Value>;
  readonly exponentials: ReadonlySet<Value>;
  /** Exponentials times the factor: read by products alone. */
  readonly shares: ReadonlySet<Value>;
  /** Products of exponentials with ones. */
  readonly sums: ReadonlySet<Value>;
  /** The last addition of a row's logarithm of its sum: of the power of two that the sum was divided by. */
  readonly logarithms: ReadonlySet<Value>;
}

/**
 * Products with shares of a softmax are made with its exponentials, and their result, of fewer columns, or the other
 * operand is multiplied with one over the row's sum: (e * r) W is (e W) * r, (e * r)^T x is e^T (x * r). Two ops less
 * over all columns: exponentials raised by e^4 lie where the engine's products lose nothing, and need no scale of their
 * own. What they are raised by cancels: the sum is of the same numbers.
 */
export function sharesBehindProducts(fn: MilFunction): MilFunction {
  const shares = findShares(fn);
  return shares === undefined ? fn : rowFactorsLast(rewritten(shares)(fn));
}

function rewritten({
  largest,
  factor,
  differences,
  exponentials,
  shares,
  sums,
  logarithms,
}: Shares): Pass {
  return rewritingOnce("shares behind products", () => {
    const made = new Map<string, Value>();
    const once = (key: string, make: () => Value): Value => {
      const known = made.get(key) ?? make();
      made.set(key, known);
      return known;
    };
    return (operation, { emit, makerOf }) => {
      const [result] = operation.outputs;
      if (result === undefined) return undefined;
      if (differences.has(result)) {
        const lowered = once("largest", () => emit.op("sub", { x: largest, y: RAISED }));
        return only(emit.append({ ...operation, inputs: changed(operation, "y", lowered) }));
      }
      if (sums.has(result)) {
        const ones = operandOf(operation, "y");
        if (ones?.type.kind !== "tensor") return undefined;
        const { type } = ones;
        const numbers = new Float32Array(elementCount(knownShape(ones) ?? [])).fill(LOWERED);
        const lowered = once(`ones ${numbers.length}`, () =>
          emit.constant(numericLiteral(type, numbers), "lowered"),
        );
        return only(emit.append({ ...operation, inputs: changed(operation, "y", lowered) }));
      }
      if (logarithms.has(result)) {
        const x = operandOf(operation, "x");
        const exponent = powerOfTwo(scalarConstant(operandOf(operation, "y")));
        if (x === undefined || exponent === undefined) return undefined;
        return emit.op("add", { x, y: (exponent - Math.log2(LOWERED)) * Math.LN2 - RAISED });
      }
      const share = operandOf(operation, "x");
      if (share?.kind !== "value" || !shares.has(share)) return undefined;
      const exponential = [...bothWays(makerOf(share))].find(
        ([e]) => e.kind === "value" && exponentials.has(e),
      )?.[0];
      const other = operandOf(operation, "y");
      if (exponential === undefined || other === undefined) return undefined;
      const inputs = changed(operation, "x", exponential);
      if (!isTransposed(operation)) {
        const product = only(emit.append({ ...operation, inputs }));
        return (
          product && emit.op("mul", { x: emit.op("mul", { x: product, y: LOWERED }), y: factor })
        );
      }
      const key = other.kind === "value" ? other.name : "";
      const times = once(`rows ${key}`, () =>
        emit.op("mul", { x: emit.op("mul", { x: other, y: factor }), y: LOWERED }),
      );
      return only(emit.append({ ...operation, inputs: inputs.set("y", times) }));
    };
  });
}

function changed(operation: Operation, name: string, operand: Operand): Map<string, Operand> {
  return new Map(operation.inputs as ReadonlyMap<string, Operand>).set(name, operand);
}

function only(results: readonly Value[]): Value | undefined {
  return results[0];
}

/** a * r + b * r is (a + b) * r: once over a sum's result instead of over each of its parts. */
const rowFactorsLast: Pass = rewriting("row factors last", (operation, context) => {
  if (operation.type !== "add") return undefined;
  const [a, b] = [operandOf(operation, "x"), operandOf(operation, "y")];
  if (a === undefined || b === undefined) return undefined;
  const common = commonFactor(a, b, context);
  if (common === undefined) return undefined;
  const { emit } = context;
  return emit.op("mul", { x: emit.op("add", { x: common.a, y: common.b }), y: common.factor });
});

function commonFactor(
  a: Operand,
  b: Operand,
  { makerOf, isReadOnce }: RewriteContext,
): { readonly a: Operand; readonly b: Operand; readonly factor: Operand } | undefined {
  if (!isReadOnce(a) || !isReadOnce(b)) return undefined;
  const left = makerOf(a, "mul");
  const right = makerOf(b, "mul");
  const factor = operandOf(left, "y");
  const other = operandOf(right, "y");
  const [x, y] = [operandOf(left, "x"), operandOf(right, "x")];
  if (factor === undefined || other === undefined || x === undefined || y === undefined)
    return undefined;
  const columns = knownShape(x)?.at(-1) ?? 1;
  const isRow = factor === other && knownShape(factor)?.at(-1) === 1;
  const isLowered = [factor, other].every((operand) => scalarConstant(operand) === LOWERED);
  const isSmaller = columns > 1 && (isRow || isLowered);
  return isSmaller && knownShape(x)?.join() === knownShape(y)?.join()
    ? { a: x, b: y, factor }
    : undefined;
}

/** Nothing where something else reads what would change. */
function findShares(fn: MilFunction): Shares | undefined {
  const makers = makersOf(fn);
  const readers = readersOf(fn);
  const outputs = new Set<Value>(fn.outputs);
  const readersInside = (value: Value): readonly Operation[] =>
    outputs.has(value) ? [] : (readers.get(value) ?? []);
  const makerOf = (operand: Operand | undefined, type: string): Operation | undefined => {
    const maker = operand !== undefined && isValue(operand) ? makers.get(operand) : undefined;
    return maker?.type === type ? maker : undefined;
  };
  for (const operation of fn.operations) {
    const found = sharesOf(operation, makerOf, readersInside);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** All shares beside those that one `mul` makes: the parts of one softmax have its largest number and its factor in common. */
function sharesOf(
  share: Operation,
  makerOf: (operand: Operand | undefined, type: string) => Operation | undefined,
  readersInside: (value: Value) => readonly Operation[],
): Shares | undefined {
  if (share.type !== "mul") return undefined;
  const [pair] = [...bothWays(share)].filter(([e]) => makerOf(e, "exp") !== undefined);
  const factor = pair?.[1];
  const difference = makerOf(operandOf(makerOf(pair?.[0], "exp"), "x"), "sub");
  const largest = operandOf(difference, "y");
  if (factor?.kind !== "value" || largest?.kind !== "value") return undefined;
  // Of a whole row, or of the largest of its parts.
  const maximumMaker = makerOf(largest, "reduce_max") ?? makerOf(largest, "maximum");
  if (maximumMaker === undefined || knownShape(largest)?.at(-1) !== 1) return undefined;
  if (knownShape(factor)?.join() !== knownShape(largest)?.join()) return undefined;
  const found = {
    ...{ largest, factor },
    differences: new Set<Value>(),
    exponentials: new Set<Value>(),
    shares: new Set<Value>(),
    sums: new Set<Value>(),
    logarithms: new Set<Value>(),
  };
  for (const reader of readersInside(largest)) {
    const [result] = reader.outputs;
    if (result === undefined) return undefined;
    if (reader.type === "sub" && operandOf(reader, "y") === largest) found.differences.add(result);
    else if (reader.type === "add" && isLogarithm(reader, makerOf)) {
      const [last, ...others] = readersInside(result);
      if (others.length > 0 || last?.type !== "add") return undefined;
      if (powerOfTwo(scalarConstant(operandOf(last, "y"))) === undefined) return undefined;
      for (const output of last.outputs) found.logarithms.add(output);
    } else return undefined;
  }
  for (const value of found.differences) {
    const [reader, ...others] = readersInside(value);
    if (others.length > 0 || reader?.type !== "exp") return undefined;
    for (const output of reader.outputs) found.exponentials.add(output);
  }
  for (const value of found.exponentials) {
    for (const reader of readersInside(value)) {
      const [result] = reader.outputs;
      if (result === undefined) return undefined;
      const isShare = [...bothWays(reader)].some(([e, other]) => e === value && other === factor);
      if (reader.type === "mul" && isShare) found.shares.add(result);
      else if (reader.type === "matmul" && isSum(reader, value)) found.sums.add(result);
      else return undefined;
    }
  }
  const areProducts = [...found.shares].every((value) => {
    const all = readersInside(value);
    return all.length > 0 && all.every((reader) => isProduct(reader, value));
  });
  const isWhole = found.sums.size === found.exponentials.size && found.logarithms.size > 0;
  return areProducts && isWhole ? found : undefined;
}

function isLogarithm(
  add: Operation,
  makerOf: (operand: Operand | undefined, type: string) => Operation | undefined,
): boolean {
  return makerOf(operandOf(add, "x"), "log") !== undefined;
}

/** A product with ones, one column of them. */
function isSum(matmul: Operation, exponential: Value): boolean {
  const ones = operandOf(matmul, "y");
  return (
    operandOf(matmul, "x") === exponential &&
    !isTransposed(matmul) &&
    areOnes(ones) &&
    knownShape(ones)?.at(-1) === 1
  );
}

/** A product whose rows, or whose terms, are the rows of shares. */
function isProduct(matmul: Operation, share: Value): boolean {
  const other = operandOf(matmul, "y");
  return (
    matmul.type === "matmul" &&
    operandOf(matmul, "x") === share &&
    other !== share &&
    other !== undefined &&
    knownShape(share)?.length === 2 &&
    knownShape(other)?.length === 2 &&
    (!isTransposed(matmul) || (isValue(other) && !isTransposed(matmul, "transpose_y")))
  );
}

function isTransposed(matmul: Operation, name = "transpose_x"): boolean {
  return scalarConstant(operandOf(matmul, name)) === 1;
}

/** The exponent of the power of two whose logarithm a constant is, rounded to fp16. */
function powerOfTwo(logarithm: number | undefined): number | undefined {
  if (logarithm === undefined) return undefined;
  const exponent = Math.round(logarithm / Math.LN2);
  return Math.abs(logarithm - exponent * Math.LN2) < 0.01 ? exponent : undefined;
}

function areOnes(operand: Operand | undefined): boolean {
  const literal = operand === undefined ? undefined : literalOf(operand);
  return literal?.data.kind === "numbers" && literal.data.numbers.every((number) => number === 1);
}
