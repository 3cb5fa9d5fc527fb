import type { OpCall } from "../mil/op-call.ts";
import type { Operand, Operation } from "../mil/program.ts";
import { operandsOf } from "../mil/program.ts";
import { opRow } from "../mil/ops/index.ts";
import { elementCount } from "../mil/types.ts";
import { knownShape } from "../passes/match.ts";
import type { Bounds } from "./writer.ts";

type BoundsRule = (x: Bounds, y: Bounds) => Bounds;

function product([a, b]: Bounds, [c, d]: Bounds): Bounds {
  const corners = [a * c, a * d, b * c, b * d];
  return [Math.min(...corners), Math.max(...corners)];
}

const OF_TWO: Readonly<Record<string, BoundsRule>> = {
  add: ([a, b], [c, d]) => [a + c, b + d],
  sub: ([a, b], [c, d]) => [a - d, b - c],
  mul: product,
  maximum: ([a, b], [c, d]) => [Math.max(a, c), Math.max(b, d)],
  minimum: ([a, b], [c, d]) => [Math.min(a, c), Math.min(b, d)],
};

/** Ops whose results are whole numbers, or refused, where their operands are. */
const RULED: ReadonlySet<string> = new Set([
  ...["add", "sub", "mul", "maximum", "minimum", "abs", "sign", "cast", "reduce_sum"],
  ...["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"],
  ...["logical_and", "logical_or", "logical_xor", "logical_not"],
]);

/** Whether integers and bools of the engine stay exact in an op, or its rule sees to it that they do. */
export function isExactForIntegers(type: string): boolean {
  return RULED.has(type) || choosesNumbers(type);
}

/** Ops whose results are among the numbers of their operands. */
function choosesNumbers(type: string): boolean {
  return type === "cast" || opRow(type)?.numbersOf !== undefined;
}

/** Bounds of an op's results from those of its operands; nothing where an operand has none or the op is unknown. */
export function integerBounds(
  of: (operand: Operand) => Bounds | undefined,
  call: OpCall,
  { type }: Operation,
): Bounds | undefined {
  const rule = Object.hasOwn(OF_TWO, type) ? OF_TWO[type] : undefined;
  if (rule !== undefined) {
    const x = of(call.operand("x"));
    const y = of(call.operand("y"));
    return x === undefined || y === undefined ? undefined : rule(x, y);
  }
  if (type === "reduce_sum") {
    const x = of(call.operand("x"));
    const shape = knownShape(call.operand("x")) ?? [];
    const terms = elementCount(call.axes("axes", shape.length).map((axis) => shape[axis] ?? 1));
    return x === undefined ? undefined : [Math.min(0, x[0] * terms), Math.max(0, x[1] * terms)];
  }
  if (type === "sign") return [-1, 1];
  if (type === "abs") {
    const x = of(call.operand("x"));
    return x === undefined ? undefined : [0, Math.max(Math.abs(x[0]), Math.abs(x[1]))];
  }
  return choosesNumbers(type) ? hull(dataOf(call, type).map(of)) : undefined;
}

/** The operands that an op chooses its results from. */
function dataOf(call: OpCall, type: string): readonly Operand[] {
  const row = opRow(type);
  if (row?.numbersOf !== "operands") return [call.operand("x")];
  const names = Object.entries(row.parameters).filter(
    ([name, { kind }]) => ["tensor", "tensors", "float"].includes(kind) && call.has(name),
  );
  return names.flatMap(([name]) => (name === "cond" ? [] : call.operands(name)));
}

function hull(all: readonly (Bounds | undefined)[]): Bounds | undefined {
  let [lowest, highest] = [Infinity, -Infinity];
  for (const bounds of all) {
    if (bounds === undefined) return undefined;
    lowest = Math.min(lowest, bounds[0]);
    highest = Math.max(highest, bounds[1]);
  }
  return [lowest, highest];
}

/** Whether all that an op computes with are whole numbers, so that its results are. */
export function keepsWhole(operation: Operation, areWhole: (operand: Operand) => boolean): boolean {
  const { type } = operation;
  const keeps = choosesNumbers(type) || Object.hasOwn(OF_TWO, type) || type === "reduce_sum";
  if (!keeps) return false;
  return [...operandsOf(operation)].every(
    (operand) =>
      operand.type.kind !== "tensor" || operand.type.dataType === "string" || areWhole(operand),
  );
}
