import { binaryExponent, roundToFormat } from "../float-format.ts";
import type { FloatFormat } from "../float-format.ts";
import { CHARACTER } from "./scanner.ts";
import type { Scanner } from "./scanner.ts";
import type { MilSyntaxError } from "./syntax-error.ts";

/** 2^e for e from -1074 to 1023. */
const POWERS_OF_TWO = new Float64Array(1074 + 1024);
for (let e = -1074; e <= 1023; e++) POWERS_OF_TWO[e + 1074] = 2 ** e;
/** Powers of ten that a double holds exactly. */
const POWERS_OF_TEN = Float64Array.from({ length: 23 }, (_, power) => Number(`1e${power}`));

/** Exponents beyond this are zero or infinity in every type, whatever the digits are. */
const EXPONENT_LIMIT = 1e9;

const LETTER_E = 0x65;
const LETTER_P = 0x70;
const LETTER_X = 0x78;

/**
 * Reads one floating-point number at the position (blanks are already skipped) and rounds it once, ties to even,
 * to `format`: C99 hexadecimal, decimal, `inf`, `infinity` or `nan`, each with a sign if need be.
 */
export function scanFloat(scanner: Scanner, format: FloatFormat): number {
  const { bytes } = scanner;
  const start = scanner.position;
  let position = start;
  const first = bytes[position];
  const negative = first === CHARACTER.minus;
  if (negative || first === CHARACTER.plus) position++;
  const lead = bytes[position] ?? 0;
  let value: number;
  if (lead === CHARACTER.zero && ((bytes[position + 1] ?? 0) | 32) === LETTER_X) {
    scanner.position = position + 2;
    value = scanHexadecimal(scanner, format);
  } else if ((lead >= CHARACTER.zero && lead <= CHARACTER.nine) || lead === CHARACTER.dot) {
    scanner.position = position;
    value = scanDecimal(scanner, format);
  } else {
    scanner.position = position;
    const word = scanner.peekName()?.toLowerCase();
    if (word === "inf" || word === "infinity") value = Infinity;
    else if (word === "nan") value = NaN;
    else {
      scanner.position = start;
      throw scanner.expected("a number");
    }
    scanner.position = position + word.length;
    if (value === Infinity && !format.hasInfinity) throw beyondLargest(scanner, start, format);
    return negative ? -value : value;
  }
  if (scanner.isNamePart(scanner.position)) {
    throw scanner.expected("the end of the number");
  }
  if (!format.hasInfinity && !Number.isFinite(value)) throw beyondLargest(scanner, start, format);
  return negative ? -value : value;
}

function beyondLargest(scanner: Scanner, start: number, format: FloatFormat): MilSyntaxError {
  return scanner.error(start, `this number is beyond the type's largest, ${format.maximum}`);
}

function scanHexadecimal(scanner: Scanner, format: FloatFormat): number {
  const { bytes } = scanner;
  const start = scanner.position;
  let position = start;
  let mantissa = 0;
  let exponent = 0;
  let digitCount = 0;
  let inFraction = false;
  let isLong = false;
  for (; ; position++) {
    const byte = bytes[position] ?? 0;
    if (byte === CHARACTER.dot && !inFraction) {
      inFraction = true;
      continue;
    }
    const digit = hexDigit(byte);
    if (digit < 0) break;
    digitCount++;
    // Up to 2^53 every whole number is a double.
    if (mantissa < 2 ** 49) mantissa = mantissa * 16 + digit;
    else isLong = true;
    if (inFraction) exponent -= 4;
  }
  if (digitCount === 0) throw scanner.expected("hexadecimal digits");
  const digitsEnd = position;
  if (((bytes[position] ?? 0) | 32) === LETTER_P) {
    scanner.position = position + 1;
    exponent += scanExponent(scanner);
  } else scanner.position = position;
  if (isLong) {
    const digits = scanner.bytes.toString("latin1", start, digitsEnd).replace(".", "");
    return roundBigFloat(BigInt(`0x${digits}`), exponent, format);
  }
  if (mantissa === 0) return 0;
  if (exponent > 1023) return roundToFormat(Infinity, format);
  if (exponent < -1074) return roundBigFloat(BigInt(mantissa), exponent, format);
  // A multiple of 2^-1074 with at most 53 digits is a double, so the product is exact and rounded only once.
  return roundToFormat(mantissa * (POWERS_OF_TWO[exponent + 1074] ?? 0), format);
}

function scanDecimal(scanner: Scanner, format: FloatFormat): number {
  const { bytes } = scanner;
  const start = scanner.position;
  let position = start;
  let mantissa = 0;
  let exponent = 0;
  let digitCount = 0;
  let inFraction = false;
  for (; ; position++) {
    const byte = bytes[position] ?? 0;
    if (byte === CHARACTER.dot && !inFraction) {
      inFraction = true;
      continue;
    }
    const digit = byte - CHARACTER.zero;
    if (digit < 0 || digit > 9) break;
    digitCount++;
    mantissa = mantissa * 10 + digit;
    if (inFraction) exponent--;
  }
  if (digitCount === 0) throw scanner.expected("digits");
  if (((bytes[position] ?? 0) | 32) === LETTER_E) {
    scanner.position = position + 1;
    exponent += scanExponent(scanner);
  } else scanner.position = position;
  let value: number;
  // A whole number below 2^53 times or over an exact power of ten is rounded once, by the operation itself.
  if (mantissa <= Number.MAX_SAFE_INTEGER && exponent >= -22 && exponent <= 22) {
    value =
      exponent < 0
        ? mantissa / (POWERS_OF_TEN[-exponent] ?? 1)
        : mantissa * (POWERS_OF_TEN[exponent] ?? 1);
    if (exponent === 0) return roundToFormat(value, format);
  } else value = Number(bytes.toString("latin1", start, scanner.position));
  return roundDecimal(value, format, () => bytes.toString("latin1", start, scanner.position));
}

/** A signed whole number after `p` or `e`. */
function scanExponent(scanner: Scanner): number {
  const { bytes } = scanner;
  const negative = bytes[scanner.position] === CHARACTER.minus;
  if (negative || bytes[scanner.position] === CHARACTER.plus) scanner.position++;
  const start = scanner.position;
  let exponent = 0;
  for (;;) {
    const digit = (bytes[scanner.position] ?? 0) - CHARACTER.zero;
    if (digit < 0 || digit > 9) break;
    exponent = Math.min(exponent * 10 + digit, EXPONENT_LIMIT);
    scanner.position++;
  }
  if (scanner.position === start) throw scanner.expected("the digits of an exponent");
  return negative ? -exponent : exponent;
}

function hexDigit(byte: number): number {
  if (byte >= CHARACTER.zero && byte <= CHARACTER.nine) return byte - CHARACTER.zero;
  const letter = byte | 32;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

/** mantissa * 2^exponent, rounded once to the format. */
function roundBigFloat(mantissa: bigint, exponent: number, format: FloatFormat): number {
  if (mantissa === 0n) return 0;
  const digits = mantissa.toString(16);
  const leading = 32 - Math.clz32(Number.parseInt(digits.charAt(0), 16));
  const top = exponent + (digits.length - 1) * 4 + leading - 1;
  if (top > 1100) return roundToFormat(Infinity, format);
  if (top < -1200) return 0;
  const quantum = Math.max(top, format.minimumExponent) - format.precision + 1;
  const shift = quantum - exponent;
  let quanta: bigint;
  if (shift <= 0) quanta = mantissa << BigInt(-shift);
  else {
    quanta = mantissa >> BigInt(shift);
    const rest = mantissa - (quanta << BigInt(shift));
    const half = 1n << BigInt(shift - 1);
    if (rest > half || (rest === half && (quanta & 1n) === 1n)) quanta++;
  }
  // At most 53 digits times a power of two: exact, or beyond the largest number.
  const low = Math.max(quantum, -1074);
  return roundToFormat(Number(quanta) * 2 ** Math.floor(low / 2) * 2 ** Math.ceil(low / 2), format);
}

/**
 * Rounds a decimal to the format. `nearest` is the double next to it, which decides unless it lies just between
 * two numbers of the format: then the digits do.
 */
function roundDecimal(nearest: number, format: FloatFormat, digits: () => string): number {
  const rounded = roundToFormat(nearest, format);
  if (format.precision === 53 || rounded === nearest || !Number.isFinite(nearest)) return rounded;
  let other: number;
  if (Number.isFinite(rounded)) {
    other = 2 * nearest - rounded;
    if (Math.abs(other) <= format.maximum && roundToFormat(other, format) !== other) return rounded;
    const limit = format.maximum + 2 ** (binaryExponent(format.maximum) - format.precision);
    if (Math.abs(other) > format.maximum && Math.abs(nearest) !== limit) return rounded;
  } else {
    const exponent = binaryExponent(format.maximum);
    if (nearest !== format.maximum + 2 ** (exponent - format.precision)) return rounded;
    other = format.maximum;
  }
  const order = compareDecimal(digits(), nearest);
  if (order === 0) return rounded;
  const [lower, upper] = rounded < other ? [rounded, other] : [other, rounded];
  if (order < 0) return lower;
  return upper > format.maximum ? roundToFormat(Infinity, format) : upper;
}

/** Sign of (the positive decimal minus the positive finite double), exactly. */
function compareDecimal(text: string, value: number): number {
  const [number = "", power = "0"] = text.toLowerCase().split("e");
  const [whole = "", fraction = ""] = number.split(".");
  const all = (whole + fraction).replace(/^0+/, "");
  let exponent = Number(power) - fraction.length;
  // Digits beyond the 800th can only tell "more than", never reach the next double.
  const kept = all.slice(0, 800);
  exponent += all.length - kept.length;
  let left = BigInt(kept === "" ? 0 : kept);
  if (/[1-9]/.test(all.slice(800))) {
    left = left * 10n + 1n;
    exponent--;
  }
  const shift = binaryExponent(value) - 52;
  let right = BigInt(value * 2 ** Math.min(-shift, 1000) * 2 ** Math.max(-shift - 1000, 0));
  if (shift < 0) left <<= BigInt(-shift);
  else right <<= BigInt(shift);
  if (exponent < 0) right *= 10n ** BigInt(-exponent);
  else left *= 10n ** BigInt(exponent);
  return left < right ? -1 : left > right ? 1 : 0;
}

/** Reads one whole number within the limits, exact up to 2^53. */
export function scanInteger(scanner: Scanner, minimum: number, maximum: number): number {
  const start = scanner.position;
  const value = Number(scanBigInteger(scanner));
  if (value < minimum || value > maximum) {
    throw scanner.error(start, `this number is outside the type's range, ${minimum} to ${maximum}`);
  }
  return value;
}

/** Reads one whole number: a double where that is exact, else a BigInt. */
export function scanBigInteger(scanner: Scanner): number | bigint {
  const { bytes } = scanner;
  const start = scanner.position;
  const first = bytes[start];
  const negative = first === CHARACTER.minus;
  let position = negative || first === CHARACTER.plus ? start + 1 : start;
  const digitsStart = position;
  if (
    bytes[position] === CHARACTER.zero &&
    ((bytes[position + 1] ?? 0) | 32) === LETTER_X &&
    hexDigit(bytes[position + 2] ?? 0) >= 0
  ) {
    position += 2;
    while (hexDigit(bytes[position] ?? 0) >= 0) position++;
    return finishInteger(scanner, digitsStart, position, negative);
  }
  let value = 0;
  for (;;) {
    const digit = (bytes[position] ?? 0) - CHARACTER.zero;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
    position++;
  }
  if (position === digitsStart) throw scanner.expected("a whole number");
  if (value > Number.MAX_SAFE_INTEGER) {
    return finishInteger(scanner, digitsStart, position, negative);
  }
  scanner.position = position;
  if (scanner.isNamePart(position) || bytes[position] === CHARACTER.dot) {
    scanner.position = start;
    throw scanner.expected("a whole number");
  }
  return negative ? -value : value;
}

/** Digits of a BigInt that are read; none of the language's types holds more than 20. */
const INTEGER_DIGIT_LIMIT = 64;

function finishInteger(
  scanner: Scanner,
  start: number,
  end: number,
  negative: boolean,
): number | bigint {
  if (end - start > INTEGER_DIGIT_LIMIT) throw scanner.error(start, "this number is too long");
  if (scanner.isNamePart(end)) throw scanner.expected("a whole number");
  scanner.position = end;
  const value = BigInt(scanner.bytes.toString("latin1", start, end));
  return negative ? -value : value;
}
