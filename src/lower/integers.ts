import type { OpCall } from "../mil/op-call.ts";
import type { Operand, Operation } from "../mil/program.ts";
import { operandsOf } from "../mil/program.ts";
import { opRow } from "../mil/ops/index.ts";
import { elementCount } from "../mil/types.ts";
import { knownShape } from "../mil/match.ts";
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

/** Results of ops of one operand from its bounds; sums also from how many terms they have. */
const OF_ONE: Readonly<Record<string, (x: Bounds, terms: () => number) => Bounds>> = {
  abs: ([lowest, highest]) => [0, Math.max(Math.abs(lowest), Math.abs(highest))],
  sign: () => [-1, 1],
  reduce_sum: ([lowest, highest], terms) => [
    Math.min(0, lowest * terms()),
    Math.max(0, highest * terms()),
  ],
};

function termCount(call: OpCall): number {
  const shape = knownShape(call.operand("x")) ?? [];
  return elementCount(call.axes("axes", shape.length).map((axis) => shape[axis] ?? 1));
}

/** Whether integers and bools of the engine stay exact in an op, or its rule sees to it that they do. */
export function isExactForIntegers({ type, outputs }: Operation): boolean {
  const [result] = outputs;
  const isQuestion = result?.type.kind === "tensor" && result.type.dataType === "bool";
  // Eight bits are exact in fp16, and the engine scales them itself.
  const isScaled = type === "dequantize";
  return (
    isQuestion ||
    isScaled ||
    choosesNumbers(type) ||
    Object.hasOwn(OF_TWO, type) ||
    Object.hasOwn(OF_ONE, type)
  );
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
  const single = Object.hasOwn(OF_ONE, type) ? OF_ONE[type] : undefined;
  if (single !== undefined) {
    const x = of(call.operand("x"));
    return x === undefined ? undefined : single(x, () => termCount(call));
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
  const keeps = choosesNumbers(type) || Object.hasOwn(OF_TWO, type) || Object.hasOwn(OF_ONE, type);
  if (!keeps) return false;
  return [...operandsOf(operation)].every(
    (operand) =>
      operand.type.kind !== "tensor" || operand.type.dataType === "string" || areWhole(operand),
  );
}
