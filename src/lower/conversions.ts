import type { OpCall } from "../mil/op-call.ts";
import { literalOf } from "../mil/program.ts";
import type { Operand, Value } from "../mil/program.ts";
import { DATA_TYPE_BITS, isFloat } from "../mil/types.ts";
import type { DataType } from "../mil/types.ts";
import { declaredShape, declaredType } from "./declared.ts";
import { applyBinary, written } from "./elementwise.ts";
import type { Lowered } from "./lowered-value.ts";
import type { Lowering } from "./lowering.ts";
import type { LoweringRule } from "./rule.ts";
import type { Bounds } from "./writer.ts";

/** Types whose numbers fp16 stands for. */
const FLOATS: ReadonlySet<DataType> = new Set(["fp16", "fp32", "fp64"]);

/**
 * All numbers are fp16 on the engine: floats stay, bools become 0 and 1, floats lose their fraction on the way to
 * integers, and become bools by a comparison with 0. Types with fewer digits or less range are refused, since they
 * would round or wrap around.
 */
export const cast: LoweringRule = (lowering, call, operation) => {
  const from = call.dataType("x");
  const to = declaredType(operation);
  const x = lowering.lookup(call, "x");
  if (to === undefined) return undefined;
  if (isFloat(to)) {
    if (FLOATS.has(to)) return isFloat(from) ? x : asNumbers(lowering, x);
    throw lowering.refuse(`cast to ${to}, which has fewer digits than fp16`);
  }
  if (to === "bool") return from === "bool" ? x : notZero(lowering, x, declaredShape(operation));
  if (isFloat(from) && !isWide(to)) {
    throw lowering.refuse(`cast of floats to ${to}, where numbers outside its range wrap around`);
  }
  if (!isFloat(from)) requireRange(lowering, lowering.wholeNumbers.boundsOf(call.operand("x")), to);
  return isFloat(from) ? cutOff(lowering, x) : asNumbers(lowering, x);
};

/** fp16 numbers never reach the end of such a type. */
function isWide(to: DataType): boolean {
  return to === "int32" || to === "int64";
}

function requireRange(lowering: Lowering, bounds: Bounds | undefined, to: DataType): void {
  if (isWide(to)) return;
  const isSigned = to.startsWith("int");
  const bits = DATA_TYPE_BITS[to];
  const [lowest, highest] = isSigned
    ? [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1]
    : [0, 2 ** bits - 1];
  if (bounds !== undefined && bounds[0] >= lowest && bounds[1] <= highest) return;
  throw lowering.refuse(`cast of integers to ${to}, where numbers outside its range wrap around`);
}

/** Bools as 0 and 1; other numbers as they are. */
function asNumbers(lowering: Lowering, x: Lowered): Lowered {
  return written(lowering, x, (value) => lowering.wholeNumbers.asHalf(value));
}

function notZero(lowering: Lowering, x: Lowered, shape: readonly number[]): Lowered {
  return applyBinary(lowering, "not_equal", x, lowering.zero(), shape);
}

/** The whole number next to it in the direction of 0: one of the two terms is 0. */
function cutOff(lowering: Lowering, x: Lowered): Lowered {
  const { builder } = lowering;
  return written(lowering, x, (value: Value) =>
    builder.op("add", {
      x: builder.op("floor", { x: builder.op("relu", { x: value }) }),
      y: builder.op("ceil", { x: builder.op("minimum", { x: value, y: 0 }) }),
    }),
  );
}

/** Takes `a` where the condition holds: bools of the engine, or 0 and 1 of the host. */
export const select: LoweringRule = (lowering, call, operation) => {
  const shape = declaredShape(operation);
  const [a, b] = [lowering.lookup(call, "a"), lowering.lookup(call, "b")];
  if (shape.length > 5) return undefined;
  const value = lowering.builder.op(
    "select",
    {
      cond: conditionOf(lowering, call.operand("cond")),
      a: lowering.broadcastable(a),
      b: lowering.broadcastable(b),
    },
    { name: operation.outputs[0]?.name ?? "select" },
  );
  return lowering.plain(value, shape);
};

function conditionOf(lowering: Lowering, operand: Operand): Operand {
  return literalOf(operand) ?? lowering.wholeNumbers.asFlag(lowering.get(operand));
}

/** Bools are 0 and 1 where ops on them are missing: a product, the larger one, the distance. */
export const logical =
  (type: "and" | "or" | "xor" | "not"): LoweringRule =>
  (lowering, call: OpCall, operation) => {
    const shape = declaredShape(operation);
    const x = truth(lowering, call, "x", shape);
    if (type === "not") return applyBinary(lowering, "sub", lowering.one(), x, shape);
    const y = truth(lowering, call, "y", shape);
    if (type === "and") return applyBinary(lowering, "mul", x, y, shape);
    if (type === "or") return applyBinary(lowering, "maximum", x, y, shape);
    const difference = applyBinary(lowering, "sub", x, y, shape);
    return written(lowering, difference, (value) => lowering.builder.op("abs", { x: value }));
  };

/** An operand of a logical op as 0 and 1. */
function truth(lowering: Lowering, call: OpCall, name: string, shape: readonly number[]): Lowered {
  const x = lowering.lookup(call, name);
  if (call.dataType(name) === "bool") return asNumbers(lowering, x);
  return asNumbers(lowering, notZero(lowering, x, shape));
}
