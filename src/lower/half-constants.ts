import { numericLiteral } from "../mil/literal.ts";
import type { Literal } from "../mil/program.ts";
import { isFloat, tensorType } from "../mil/types.ts";
import { LARGEST_FLOAT16, roundToFloat16 } from "../util/float16.ts";
import type { Writer } from "./writer.ts";

/** The largest fp16 number. */
export const LARGEST_HALF = LARGEST_FLOAT16;
/** The smallest fp16 number above 0. */
export const SMALLEST_HALF = 2 ** -24;
/** From here on numbers have all of fp16's digits. */
export const SMALLEST_NORMAL_HALF = 2 ** -14;
/** Numbers from here on round to infinity. */
const BEYOND = 65520;
/** Digits of fp16: every whole number up to this is exact. */
export const EXACT_INTEGERS = 2048;
/** Settings and tables up to this length keep tiny numbers apart from 0, as Apple's converter does. */
const KEPT_APART = 400;

export function isBeyondHalf(number: number): boolean {
  return Math.abs(number) >= BEYOND;
}

/** Not 0, but 0 as fp16. */
export function isLostInHalf(number: number): boolean {
  return number !== 0 && roundToFloat16(number) === 0;
}

/** The numbers of a literal that has an fp16 form, float or not; nothing for strings, files and containers. */
export function numbersOf(literal: Literal | undefined): ArrayLike<number | bigint> | undefined {
  if (literal?.type.kind !== "tensor" || literal.data.kind !== "numbers") return undefined;
  return literal.data.numbers;
}

export function someNumber(literal: Literal, test: (number: number) => boolean): boolean {
  const numbers = numbersOf(literal) ?? [];
  for (let i = 0; i < numbers.length; i++) if (test(Number(numbers[i]))) return true;
  return false;
}

/** A literal of the same shape as fp16, each number through `change`, then rounded. */
export function mappedHalf(literal: Literal, change: (number: number) => number): Literal {
  const given = numbersOf(literal);
  if (given === undefined || literal.type.kind !== "tensor") return literal;
  const numbers = new Float32Array(given.length);
  // Masks are runs of one number.
  let last: number | undefined;
  let rounded = 0;
  for (let i = 0; i < numbers.length; i++) {
    const number = Number(given[i]);
    if (!Object.is(number, last)) {
      last = number;
      rounded = roundToFloat16(change(number));
    }
    numbers[i] = rounded;
  }
  return numericLiteral(tensorType("fp16", literal.type.shape), numbers);
}

/**
 * A constant as fp16. Few numbers keep their distance from 0: an epsilon of 1e-12 is 2^-24. Throws `refuse` where
 * a number has no fp16 form: beyond its range, or an integer that is not exact.
 */
export function halfLiteral(writer: Pick<Writer, "refuse">, literal: Literal): Literal {
  const given = numbersOf(literal);
  if (given === undefined || literal.type.kind !== "tensor") return literal;
  const known = halves.get(literal);
  if (known !== undefined) return known;
  const isFloating = isFloat(literal.type.dataType);
  const keepsApart = isFloating && given.length <= KEPT_APART;
  const half = mappedHalf(literal, (number) => {
    if (isBeyondHalf(number) && isFloating) {
      throw writer.refuse(
        `the constant ${number} is beyond fp16, which ends at ${LARGEST_HALF}; scale it in the program`,
      );
    }
    if (!isFloating && roundToFloat16(number) !== number) {
      throw writer.refuse(
        `the integer ${number} is no fp16 number; whole numbers are exact up to ${EXACT_INTEGERS}`,
      );
    }
    return keepsApart ? apartFromZero(number) : number;
  });
  halves.set(literal, half);
  return half;
}

/** Tables are read by every function of a model: they are rounded once. */
const halves = new WeakMap<Literal, Literal>();

/** A number that would round to 0, as the smallest fp16 number of its sign. */
export function apartFromZero(number: number): number {
  return isLostInHalf(number) ? Math.sign(number) * SMALLEST_HALF : number;
}

/** A number as a product of ordinary fp16 numbers, the first below 1, so that no product on the way leaves fp16. */
export function halfSteps(number: number): readonly number[] {
  const magnitude = Math.abs(number);
  const isOrdinary = !isBeyondHalf(number) && magnitude >= SMALLEST_NORMAL_HALF;
  if (isOrdinary || number === 0 || roundToFloat16(number) === number) return [number];
  if (!Number.isFinite(number)) return [number];
  const exponent = Math.floor(Math.log2(magnitude)) + 1;
  return [number / 2 ** exponent, ...powerSteps(exponent)];
}

/** 2^exponent as a product of powers of two in fp16's range. */
function powerSteps(exponent: number): readonly number[] {
  const steps: number[] = [];
  for (let rest = exponent; rest !== 0;) {
    const step = Math.max(-14, Math.min(15, rest));
    steps.push(2 ** step);
    rest -= step;
  }
  return steps;
}

/**
 * Factors whose numbers are beyond fp16, or too small for all of its digits, as ordinary ones whose largest is below
 * 2^`top`, and the powers of two that are left. Nothing where they are too far apart for one scale.
 */
export function halfFactors(
  literal: Literal,
  change: (number: number) => number,
  top: number,
): { readonly scaled: Literal; readonly rest: readonly number[] } | undefined {
  let smallest = Infinity;
  let largest = 0;
  const numbers = numbersOf(literal) ?? [];
  for (let i = 0; i < numbers.length; i++) {
    const magnitude = Math.abs(change(Number(numbers[i])));
    if (!Number.isFinite(magnitude)) return undefined;
    if (magnitude === 0) continue;
    smallest = Math.min(smallest, magnitude);
    largest = Math.max(largest, magnitude);
  }
  if (largest === 0) return { scaled: mappedHalf(literal, change), rest: [] };
  const exponent = Math.floor(Math.log2(largest)) + 1 - top;
  const scale = 2 ** -exponent;
  if (smallest * scale < SMALLEST_NORMAL_HALF) return undefined;
  const scaled = mappedHalf(literal, (number) => change(number) * scale);
  return { scaled, rest: powerSteps(exponent) };
}
