import type { Operand } from "../../mil/program.ts";
import { isFloat } from "../../mil/types.ts";
import type { ImportSite } from "./site.ts";

/** A float format that MIL has no type for: its numbers stand in fp32. */
interface FloatFormat {
  /** Digits after the leading one. */
  readonly mantissaBits: number;
  /** Exponent of the smallest normal number; smaller ones have its step. */
  readonly minimumExponent: number;
  readonly maximumExponent: number;
  readonly largest: number;
  /** What a number beyond the largest becomes where the cast does not saturate. */
  readonly overflow: number;
  /** What an infinity becomes where the cast saturates. */
  readonly saturatesInfinity: boolean;
}

/** By ONNX's code. Source: onnx.ai/onnx/technical/float8.html, float4.html; the operator Cast. */
const FLOATS: Readonly<Record<number, FloatFormat>> = {
  16: format(7, -126, 127, 3.3895313892515355e38, Infinity, false),
  17: format(3, -6, 8, 448, NaN, true),
  18: format(3, -7, 7, 240, NaN, true),
  19: format(2, -14, 15, 57344, Infinity, true),
  20: format(2, -15, 15, 57344, NaN, true),
  23: format(1, 0, 2, 6, 6, true),
};
const E8M0 = 24;

function format(
  mantissaBits: number,
  minimumExponent: number,
  maximumExponent: number,
  largest: number,
  overflow: number,
  saturatesInfinity: boolean,
): FloatFormat {
  return {
    mantissaBits,
    minimumExponent,
    maximumExponent,
    largest,
    overflow,
    saturatesInfinity,
  };
}

/** Whole numbers of so many bits that stand in a wider MIL type. */
const INTEGERS: Readonly<Record<number, { readonly bits: number; readonly isSigned: boolean }>> = {
  21: { bits: 4, isSigned: false },
  22: { bits: 4, isSigned: true },
  25: { bits: 2, isSigned: false },
  26: { bits: 2, isSigned: true },
};

/** The range of an integer type, by ONNX's code. */
export function integerRange(code: number): readonly [number, number] | undefined {
  const bits = INTEGERS[code]?.bits ?? WIDTHS[code];
  if (bits === undefined) return undefined;
  const isSigned = INTEGERS[code]?.isSigned ?? SIGNED.has(code);
  return isSigned ? [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] : [0, 2 ** bits - 1];
}

const WIDTHS: Readonly<Record<number, number>> = { 2: 8, 3: 8, 4: 16, 5: 16, 6: 32 };
const SIGNED: ReadonlySet<number> = new Set([3, 5, 6]);

/** Whether values of an element type stand in a wider MIL type, so that casts have to round or wrap. */
export function isHeldWider(code: number): boolean {
  return code in FLOATS || code in INTEGERS || code === E8M0;
}

export interface RoundingOptions {
  /** Numbers beyond the largest become it. Default true. */
  readonly saturates?: boolean;
  /** For FLOAT8E8M0: "up" (default), "down" or "nearest". */
  readonly mode?: string;
}

/** Numbers as the element type would hold them, in fp32 or a wider integer type. */
export function heldAs(
  site: ImportSite,
  x: Operand,
  code: number,
  options: RoundingOptions = {},
): Operand {
  const integer = INTEGERS[code];
  if (integer !== undefined) return wrapped(site, x, integer.bits, integer.isSigned);
  const wide = isFloat(site.typeOf(x)) && site.typeOf(x) === "fp32" ? x : site.cast(x, "fp32");
  if (code === E8M0) return powerOfTwo(site, wide, options);
  const float = FLOATS[code];
  return float === undefined ? wide : rounded(site, wide, float, options.saturates ?? true);
}

/** Whole numbers modulo 2^bits. */
function wrapped(site: ImportSite, x: Operand, bits: number, isSigned: boolean): Operand {
  const whole = site.cast(x, "int32");
  const size = 2 ** bits;
  if (!isSigned) return site.cast(site.binary("mod", whole, size), "uint8");
  const shifted = site.binary("mod", site.add(whole, size / 2), size);
  return site.cast(site.sub(shifted, size / 2), "int8");
}

interface Steps {
  readonly finite: Operand;
  /** int32 place of a number's exponent in a table that starts at the smallest. */
  readonly place: Operand;
}

/**
 * The exponents of magnitudes within [low, high]: a logarithm, put right where it is off by one. Numbers that are not
 * finite count as 1.
 */
function exponentPlaces(site: ImportSite, magnitude: Operand, low: number, high: number): Steps {
  const isFinite = site.binary("less_equal", magnitude, 3.4028234663852886e38);
  const finite = site.select(isFinite, magnitude, 1);
  const logarithm = site.mul(
    site.op("log", { x: site.binary("maximum", finite, 2 ** Math.max(low, -126)), epsilon: 0 }),
    Math.LOG2E,
  );
  const guess = site.cast(
    site.op("clip", { x: site.op("floor", { x: logarithm }), alpha: low, beta: high }),
    "int32",
  );
  const first = site.sub(guess, low);
  const power = tableAt(site, powers(low, high), first);
  const isAbove = site.binary("greater_equal", finite, site.mul(power, 2));
  const isBelow = site.binary("less", finite, power);
  const corrected = site.sub(
    site.add(first, site.cast(isAbove, "int32")),
    site.cast(isBelow, "int32"),
  );
  const place = site.binary("minimum", site.binary("maximum", corrected, 0), high - low);
  return { finite, place };
}

const powers = (low: number, high: number, shift = 0): readonly number[] =>
  Array.from({ length: high - low + 1 }, (_, index) => 2 ** (low + index + shift));

function tableAt(site: ImportSite, table: readonly number[], places: Operand): Operand {
  return site.op("gather", {
    x: site.constant("fp32", [table.length], table),
    indices: places,
    axis: 0,
  });
}

/** Nearest numbers of a format, ties to even. */
function rounded(
  site: ImportSite,
  x: Operand,
  { mantissaBits, minimumExponent, maximumExponent, ...limits }: FloatFormat,
  saturates: boolean,
): Operand {
  const magnitude = site.op("abs", { x });
  const { finite, place } = exponentPlaces(site, magnitude, minimumExponent, maximumExponent);
  const step = tableAt(site, powers(minimumExponent, maximumExponent, -mantissaBits), place);
  const nearest = site.mul(site.op("round", { x: site.binary("real_div", finite, step) }), step);
  const beyond = saturates && limits.saturatesInfinity ? limits.largest : limits.overflow;
  const isBeyond = site.binary("greater", nearest, limits.largest);
  const held = site.select(isBeyond, beyond, nearest);
  const isInfinite = site.binary("greater", magnitude, 3.4028234663852886e38);
  const withInfinities = site.select(isInfinite, beyond, held);
  const isNegative = site.binary("less", x, 0);
  const signed = site.select(isNegative, site.mul(withInfinities, -1), withInfinities);
  const isNumber = site.binary("equal", x, x);
  // Four bits hold no NaN: ONNX's own reference makes it 0.
  return site.select(isNumber, signed, limits.largest === 6 ? 0 : NaN);
}

/** FLOAT8E8M0 holds powers of two from 2^-127 to 2^127 and NaN. */
function powerOfTwo(
  site: ImportSite,
  x: Operand,
  { saturates = true, mode = "up" }: RoundingOptions,
): Operand {
  const [low, high] = [-127, 127];
  const magnitude = site.op("abs", { x });
  const { finite, place } = exponentPlaces(site, magnitude, low, high);
  const power = tableAt(site, powers(low, high), place);
  const threshold = mode === "up" ? power : mode === "nearest" ? site.mul(power, 1.5) : undefined;
  const goesUp =
    threshold === undefined
      ? undefined
      : site.op(mode === "up" ? "greater" : "greater_equal", { x: finite, y: threshold });
  const raised = goesUp === undefined ? place : site.add(place, site.cast(goesUp, "int32"));
  const limited = site.binary("minimum", raised, high - low);
  const isBeyond = site.binary("greater", raised, limited);
  const held = tableAt(site, powers(low, high), limited);
  const isInfinite = site.binary("greater", magnitude, 3.4028234663852886e38);
  const top = saturates ? 2 ** high : NaN;
  const result = site.select(isInfinite, top, site.select(isBeyond, top, held));
  return site.select(site.binary("equal", x, x), result, NaN);
}
