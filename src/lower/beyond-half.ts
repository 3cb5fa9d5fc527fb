import { scalarLiteral } from "../mil/literal.ts";
import type { OpCall } from "../mil/op-call.ts";
import { literalOf } from "../mil/program.ts";
import type { Literal, Operation } from "../mil/program.ts";
import { isFloat, staticShape } from "../mil/types.ts";
import { roundToFloat16 } from "../util/float16.ts";
import {
  halfFactors,
  halfLiteral,
  isBeyondHalf,
  LARGEST_HALF,
  mappedHalf,
  numbersOf,
  SMALLEST_NORMAL_HALF,
  someNumber,
} from "./half-constants.ts";
import type { Lowered } from "./lowered-value.ts";
import type { Lowering } from "./lowering.ts";
import { FAR_BELOW } from "./masks.ts";

/** Another way to write an elementwise op of two operands: an op, and what follows it. */
export interface Detour {
  readonly type: string;
  readonly x: Lowered;
  readonly y: Lowered;
  readonly after: readonly { readonly type: string; readonly y: Lowered }[];
}

/** The two sides of an op of which one is a constant. */
interface Sides {
  readonly literal: Literal;
  readonly other: () => Lowered;
  readonly isLeft: boolean;
}

/** Sums with larger numbers leave fp16 whatever is added to them. */
const LARGEST_ADDEND = 2 * LARGEST_HALF;

/**
 * An op with a constant that fp16 does not hold, written so that the result is what it would be: products in steps,
 * sums in halves, bounds at the end of the range. Nothing for other ops; throws `NotLowered` where there is no way.
 */
export function writeAroundHalf(
  lowering: Lowering,
  call: OpCall,
  operation: Operation,
): Detour | undefined {
  const sides = constantSide(lowering, call);
  if (sides === undefined) return undefined;
  const { literal } = sides;
  const isWide = someNumber(literal, isBeyondHalf);
  switch (operation.type) {
    case "mul":
    case "real_div":
      return isWide || isCoarse(literal) ? inSteps(lowering, call, operation, sides) : undefined;
    case "add":
    case "sub":
      return isWide ? inHalves(lowering, operation.type, sides) : undefined;
    case "maximum":
    case "minimum":
      return isWide ? atTheEnd(lowering, operation.type, sides) : undefined;
    default:
      return undefined;
  }
}

function constantSide(lowering: Lowering, call: OpCall): Sides | undefined {
  for (const [name, otherName] of [
    ["y", "x"],
    ["x", "y"],
  ] as const) {
    const literal = literalOf(call.operand(name));
    if (numbersOf(literal) === undefined || literal?.type.kind !== "tensor") continue;
    if (!isFloat(literal.type.dataType)) continue;
    return { literal, other: () => lowering.lookup(call, otherName), isLeft: name === "x" };
  }
  return undefined;
}

/** One factor of which fp16 would keep fewer than three decimal digits. */
function isCoarse(literal: Literal): boolean {
  const numbers = numbersOf(literal);
  if (numbers?.length !== 1) return false;
  const number = Math.abs(Number(numbers[0]));
  if (number === 0 || number >= SMALLEST_NORMAL_HALF) return false;
  return Math.abs(roundToFloat16(number) / number - 1) > 2 ** -9;
}

function constant(lowering: Lowering, literal: Literal): Lowered {
  const shape = literal.type.kind === "tensor" ? staticShape(literal.type) : [];
  const half = halfLiteral(lowering, literal);
  return { kind: "plain", value: lowering.builder.constant(half), shape };
}

function number(lowering: Lowering, value: number): Lowered {
  return constant(lowering, scalarLiteral("fp16", value));
}

function inSteps(
  lowering: Lowering,
  call: OpCall,
  operation: Operation,
  { literal, other, isLeft }: Sides,
): Detour {
  const isQuotient = operation.type === "real_div";
  const isReciprocal = isQuotient && !isLeft;
  const change = (value: number): number => (isReciprocal ? 1 / value : value);
  // A constant that is divided stays large, so that the quotient is no tiny number on the way.
  const factors = halfFactors(literal, change, isQuotient && isLeft ? 15 : 0);
  const isMask = operation.type === "mul" && lowering.masks.absorb(operation) && isBelow(literal);
  if (factors === undefined && !(isMask && isWholeOf(lowering, call, isLeft)))
    throw lowering.refuse(
      `${operation.type} with constants beyond fp16, or too far apart for one scale; scale them in the program`,
    );
  // All that reads it absorbs what is far below, and a whole number times -30000 is 0 or far below.
  if (isMask && isWholeOf(lowering, call, isLeft)) {
    const half = mappedHalf(literal, (value) => (isBeyondHalf(value) ? FAR_BELOW : value));
    const side = constant(lowering, half);
    return { type: "mul", x: isLeft ? side : other(), y: isLeft ? other() : side, after: [] };
  }
  const { scaled, rest } = factors ?? { scaled: literal, rest: [] };
  const side = constant(lowering, scaled);
  const after = rest.map((step) => ({ type: "mul", y: number(lowering, step) }));
  if (isMask) after.push({ type: "maximum", y: number(lowering, FAR_BELOW) });
  const isDivision = isQuotient && isLeft;
  return {
    type: isDivision ? "real_div" : "mul",
    x: isLeft ? side : other(),
    y: isLeft ? other() : side,
    after,
  };
}

function isBelow(literal: Literal): boolean {
  return !someNumber(literal, (value) => value > 0);
}

function isWholeOf(lowering: Lowering, call: OpCall, isLeft: boolean): boolean {
  return lowering.wholeNumbers.areWhole(call.operand(isLeft ? "y" : "x"));
}

/** x + c as (x + c/2) + c/2: it leaves fp16 on the way only where it does in the end. */
function inHalves(
  lowering: Lowering,
  type: "add" | "sub",
  { literal, other, isLeft }: Sides,
): Detour {
  const tooLarge = someNumber(literal, (value) => Math.abs(value) >= LARGEST_ADDEND);
  if (tooLarge) {
    throw lowering.refuse(
      `${type} with a constant beyond twice fp16's range, whose result is no fp16 number; only what a softmax, an exponential or the like reads may be so far below`,
    );
  }
  const half = constant(
    lowering,
    mappedHalf(literal, (value) => value / 2),
  );
  const isDifference = type === "sub" && isLeft;
  return {
    type,
    x: isLeft ? half : other(),
    y: isLeft ? other() : half,
    after: [{ type: isDifference ? "add" : type, y: half }],
  };
}

/** A bound that no fp16 number passes is the end of the range; one that all of them pass is the result itself. */
function atTheEnd(
  lowering: Lowering,
  type: "maximum" | "minimum",
  { literal, other, isLeft }: Sides,
): Detour {
  const sign = type === "maximum" ? 1 : -1;
  if (someNumber(literal, (value) => isBeyondHalf(value) && value * sign > 0)) {
    throw lowering.refuse(`${type} with a constant beyond fp16, which is the result`);
  }
  const bound = mappedHalf(literal, (value) =>
    isBeyondHalf(value) ? Math.sign(value) * LARGEST_HALF : value,
  );
  const side = constant(lowering, bound);
  return { type, x: isLeft ? side : other(), y: isLeft ? other() : side, after: [] };
}
