import { byteIn, choice, literal, NOTHING, repeat, sequence } from "./grammar.ts";
import type { Grammar } from "./grammar.ts";
import { MOST_DIGITS } from "./json-grammar.ts";

/** Bounds of a number; absent ones do not bound. */
export interface Bounds {
  readonly minimum?: number | undefined;
  readonly maximum?: number | undefined;
  readonly exclusiveMinimum?: number | undefined;
  readonly exclusiveMaximum?: number | undefined;
}

/** Digits behind the point that numbers within bounds are written with, where the bounds have fewer. */
const FRACTION_DIGITS = 4;
const MOST_FRACTION_DIGITS = 12;

/** Whole numbers within bounds. */
export function integersWithin(bounds: Bounds): Grammar {
  const [low, high] = scaledBounds(bounds, 0);
  return scaledNumbers(low, high, 0);
}

/** Numbers within bounds, without an exponent, in as many digits behind the point as the bounds need, or four. */
export function numbersWithin(bounds: Bounds): Grammar {
  const given = [
    bounds.minimum,
    bounds.maximum,
    bounds.exclusiveMinimum,
    bounds.exclusiveMaximum,
  ].filter((bound) => bound !== undefined);
  const needed = Math.max(0, ...given.map((bound) => -decimalOf(bound).exponent));
  const most = Math.min(MOST_FRACTION_DIGITS, Math.max(FRACTION_DIGITS, needed + 1));
  return choice(
    Array.from({ length: most + 1 }, (_, digits) => {
      const [low, high] = scaledBounds(bounds, digits);
      return scaledNumbers(low, high, digits);
    }),
  );
}

/** A number as a whole number times a power of ten. */
function decimalOf(value: number): { readonly digits: bigint; readonly exponent: number } {
  const [, sign = "", whole = "0", fraction = "", exponent = "0"] =
    /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?$/.exec(String(value)) ?? [];
  return {
    digits: BigInt(`${sign}${whole}${fraction}`),
    exponent: Number(exponent) - fraction.length,
  };
}

/** `value` times 10^`digits`, and whether that is no whole number but the next one below. */
function scaled(
  value: number,
  digits: number,
): { readonly floor: bigint; readonly isExact: boolean } {
  const decimal = decimalOf(value);
  const power = decimal.exponent + digits;
  if (power >= 0) return { floor: decimal.digits * 10n ** BigInt(power), isExact: true };
  const divisor = 10n ** BigInt(-power);
  const quotient = decimal.digits / divisor;
  const isExact = quotient * divisor === decimal.digits;
  return { floor: isExact || decimal.digits >= 0n ? quotient : quotient - 1n, isExact };
}

/** The least and the greatest whole number that is within the bounds times 10^`digits`. */
function scaledBounds(
  { minimum, maximum, exclusiveMinimum, exclusiveMaximum }: Bounds,
  digits: number,
): readonly [low: bigint, high: bigint] {
  const limit = 10n ** BigInt(MOST_DIGITS + digits) - 1n;
  let low = -limit;
  let high = limit;
  const raise = (to: bigint): void => void (low = to > low ? to : low);
  const lower = (to: bigint): void => void (high = to < high ? to : high);
  if (minimum !== undefined) {
    const { floor, isExact } = scaled(minimum, digits);
    raise(isExact ? floor : floor + 1n);
  }
  if (exclusiveMinimum !== undefined) raise(scaled(exclusiveMinimum, digits).floor + 1n);
  if (maximum !== undefined) lower(scaled(maximum, digits).floor);
  if (exclusiveMaximum !== undefined) {
    const { floor, isExact } = scaled(exclusiveMaximum, digits);
    lower(isExact ? floor - 1n : floor);
  }
  return [low, high];
}

/** Whole numbers from `low` to `high`, written with a point before their last `digits` digits. */
function scaledNumbers(low: bigint, high: bigint, digits: number): Grammar {
  if (low > high) return NOTHING;
  const options: Grammar[] = [];
  // Minus nothing is nothing: only numbers below it have a sign.
  if (low < 0n) {
    const least = high < 0n ? -high : 1n;
    options.push(sequence(literal("-"), positives(least, -low, digits)));
  }
  if (high >= 0n) options.push(positives(low > 0n ? low : 0n, high, digits));
  return choice(options);
}

/** As `scaledNumbers`, of numbers that are not negative. */
function positives(low: bigint, high: bigint, digits: number): Grammar {
  const options: Grammar[] = [];
  const longest = Math.max(high.toString().length, digits + 1);
  for (let length = digits + 1; length <= longest; length++) {
    // A first zero stands only alone before the point.
    const least = length === digits + 1 ? 0n : 10n ** BigInt(length - 1);
    const most = 10n ** BigInt(length) - 1n;
    const from = low > least ? low : least;
    const to = high < most ? high : most;
    if (from > to) continue;
    const pad = (value: bigint): string => value.toString().padStart(length, "0");
    options.push(digitRange(pad(from), pad(to), length - digits));
  }
  return choice(options);
}

/** Strings of digits of one length from `low` to `high`, with a point behind the first `point` of them. */
function digitRange(low: string, high: string, point: number): Grammar {
  if (low === "") return sequence();
  const withPoint = (rest: Grammar): Grammar =>
    point === 1 && low.length > 1 ? sequence(literal("."), rest) : rest;
  const digits = (from: number, to: number, rest: Grammar): Grammar =>
    sequence(byteIn([0x30 + from, 0x30 + to]), withPoint(rest));
  const [a, b] = [Number(low[0]), Number(high[0])];
  const [lowRest, highRest] = [low.slice(1), high.slice(1)];
  const next = point - 1;
  if (isAll(low, "0") && isAll(high, "9")) return anyDigits(low.length, point);
  if (a === b) return digits(a, a, digitRange(lowRest, highRest, next));
  const zeros = "0".repeat(lowRest.length);
  const nines = "9".repeat(lowRest.length);
  const lowIsWhole = isAll(lowRest, "0");
  const highIsWhole = isAll(highRest, "9");
  const from = lowIsWhole ? a : a + 1;
  const to = highIsWhole ? b : b - 1;
  return choice([
    ...(lowIsWhole ? [] : [digits(a, a, digitRange(lowRest, nines, next))]),
    ...(from > to ? [] : [digits(from, to, digitRange(zeros, nines, next))]),
    ...(highIsWhole ? [] : [digits(b, b, digitRange(zeros, highRest, next))]),
  ]);
}

function isAll(digits: string, digit: string): boolean {
  return digits === digit.repeat(digits.length);
}

function anyDigits(length: number, point: number): Grammar {
  const digit = byteIn([0x30, 0x39]);
  if (point <= 0 || point >= length) return repeat(digit, length, length);
  return sequence(
    repeat(digit, point, point),
    literal("."),
    repeat(digit, length - point, length - point),
  );
}
