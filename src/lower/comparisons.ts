import type { OpCall } from "../mil/op-call.ts";
import { scalarLiteral } from "../mil/literal.ts";
import { literalOf } from "../mil/program.ts";
import type { Literal, Operand, Value } from "../mil/program.ts";
import { isFloat, staticShape } from "../mil/types.ts";
import { isLostInHalf, LARGEST_HALF, numbersOf } from "./half-constants.ts";
import { declaredShape } from "./declared.ts";
import { applyBinary } from "./elementwise.ts";
import type { Lowered } from "./lowered-value.ts";
import type { Lowering } from "./lowering.ts";
import type { LoweringRule } from "./rule.ts";

type Comparison = "greater" | "greater_equal" | "less" | "less_equal" | "equal" | "not_equal";

/** The comparison with its sides exchanged. */
const EXCHANGED: Readonly<Record<Comparison, Comparison>> = {
  greater: "less",
  greater_equal: "less_equal",
  less: "greater",
  less_equal: "greater_equal",
  equal: "equal",
  not_equal: "not_equal",
};

/** What a comparison of an fp16 number with one constant comes to. */
type Verdict =
  | { readonly kind: "compare"; readonly type: Comparison; readonly bound: number }
  /** The same for every number. */
  | { readonly kind: "always"; readonly holds: boolean };

/**
 * The comparison of x with a number that fp16 does not hold, as one with a number that it does. Exact for every
 * fp16 number, infinity included.
 */
function verdictFor(type: Comparison, number: number): Verdict {
  if (type === "equal" || type === "not_equal")
    return { kind: "always", holds: type === "not_equal" };
  const side = type === "less" || type === "less_equal" ? "less" : "greater";
  // No fp16 number lies between the bound and `number`: x > 1e5 where x > 65504, x < 1e5 where x <= 65504.
  const includesBound = number > 0 === (side === "less");
  const compared = includesBound ? (`${side}_equal` as const) : side;
  const bound = Math.abs(number) > LARGEST_HALF ? Math.sign(number) * LARGEST_HALF : 0;
  return { kind: "compare", type: compared, bound };
}

/** Comparisons, whose results are bools; where a constant is none of fp16's numbers, so that the answer stays. */
export const comparison: LoweringRule = (lowering, call, operation) => {
  const shape = declaredShape(operation);
  const type = operation.type as Comparison;
  requireComparable(lowering, call);
  const detour = aroundHalf(lowering, call, type, shape);
  if (detour !== undefined) return detour;
  const x = lowering.lookup(call, "x");
  const y = lowering.lookup(call, "y");
  return applyBinary(lowering, type, x, y, shape, operation.outputs[0]?.name);
};

/** Integers that the host has to hand over are not exact beyond 2048, and a comparison shows it. */
function requireComparable(lowering: Lowering, call: OpCall): void {
  for (const name of ["x", "y"]) {
    const operand = call.operand(name);
    const isInteger = operand.type.kind === "tensor" && !isFloat(operand.type.dataType);
    if (!isInteger || literalOf(operand) !== undefined) continue;
    lowering.wholeNumbers.requireHalf(lowering.lookup(call, name), operand, call.type);
  }
}

function aroundHalf(
  lowering: Lowering,
  call: OpCall,
  type: Comparison,
  shape: readonly number[],
): Lowered | undefined {
  for (const [name, other, asWritten] of [
    ["y", "x", type],
    ["x", "y", EXCHANGED[type]],
  ] as const) {
    const literal = literalOf(call.operand(name));
    const verdict = literal === undefined ? undefined : verdictOf(lowering, literal, asWritten);
    if (verdict === undefined || literal === undefined) continue;
    const x = lowering.lookup(call, other);
    if (verdict.kind === "always") return constantAnswer(lowering, x, verdict.holds, shape);
    const bound = boundOf(lowering, literal, verdict.bound);
    return applyBinary(lowering, verdict.type, x, bound, shape);
  }
  return undefined;
}

/** Nothing for constants that are fp16 numbers, or round to one. Throws where the elements want different ops. */
function verdictOf(lowering: Lowering, literal: Literal, type: Comparison): Verdict | undefined {
  if (literal.type.kind !== "tensor" || !isFloat(literal.type.dataType)) return undefined;
  const numbers = numbersOf(literal) ?? [];
  let found: Verdict | undefined;
  let ordinary = false;
  for (let i = 0; i < numbers.length; i++) {
    const number = Number(numbers[i]);
    if (!Number.isFinite(number)) {
      throw lowering.refuse(
        `${type} with ${number}: the engine reads infinities and NaN as ordinary numbers`,
      );
    }
    if (Math.abs(number) <= LARGEST_HALF && !isLostInHalf(number)) {
      ordinary = true;
      continue;
    }
    const verdict = verdictFor(type, number);
    if (found !== undefined && JSON.stringify(found) !== JSON.stringify(verdict)) ordinary = true;
    found = verdict;
  }
  if (found !== undefined && ordinary) {
    throw lowering.refuse(
      `${type} with several constants, some of which fp16 does not hold; compare with each by itself`,
    );
  }
  return found;
}

function boundOf(lowering: Lowering, literal: Literal, bound: number): Lowered {
  const value = lowering.builder.constant(scalarLiteral("fp16", bound));
  const shape = literal.type.kind === "tensor" ? staticShape(literal.type) : [];
  return { kind: "plain", value, shape: shape.map(() => 1) };
}

/** |x| < 0 holds for no number, NaN included. */
function constantAnswer(
  lowering: Lowering,
  x: Lowered,
  holds: boolean,
  shape: readonly number[],
): Lowered {
  const { builder } = lowering;
  const never = builder.op("less", {
    x: builder.op("abs", { x: lowering.whole(x) }),
    y: 0,
  });
  const answer: Value = holds ? builder.op("logical_not", { x: never }) : never;
  return lowering.plain(answer, shape);
}

/** Whether an operand of the plan's function is an integer or a bool. */
export function isWholeType({ type }: Operand): boolean {
  return type.kind === "tensor" && !isFloat(type.dataType);
}
