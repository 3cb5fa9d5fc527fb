import { float16Value } from "../../util/float16.ts";
import { erf, sigmoid } from "./fitted-tables.ts";
import { float16BitsAway } from "./rounding.ts";

/**
 * The engine's function tables as they were read from programs compiled for M6 (chip/arithmetic/rules.ts): 33 fp16
 * values, straight lines between them, results rounded to fp16 half away from zero. Where a range is said to be
 * scaled, the scaling's own steps are rounded as well.
 */
const away = (value: number): number => float16Value(float16BitsAway(value));

const LINES = 32;

/** Straight lines between 33 fp16 values over [low, high]. */
function lines(values: ArrayLike<number>, low: number, high: number): (x: number) => number {
  const knots = Float64Array.from({ length: LINES + 1 }, (_, i) => away(values[i] ?? NaN));
  const spacing = (high - low) / LINES;
  return (x) => {
    const position = (x - low) / spacing;
    const knot = Math.min(LINES - 1, Math.max(0, Math.floor(position)));
    const start = knots[knot] ?? NaN;
    return start + ((knots[knot + 1] ?? NaN) - start) * (position - knot);
  };
}

function linesOf(exact: (x: number) => number, low: number, high: number): (x: number) => number {
  const spacing = (high - low) / LINES;
  return lines(
    Array.from({ length: LINES + 1 }, (_, i) => exact(low + i * spacing)),
    low,
    high,
  );
}

/** Saturates beyond the table: 0 below and 1 above is inferred from the outputs at -9 and beyond. */
const sigmoidLines = linesOf(sigmoid, -8, 8);
export function gridSigmoid(x: number): number {
  if (Number.isNaN(x)) return NaN;
  return x < -8 ? 0 : x > 8 ? 1 : sigmoidLines(x);
}

function odd(half: (x: number) => number, limit: number, beyond: number): (x: number) => number {
  return (x) => {
    if (Number.isNaN(x)) return NaN;
    const magnitude = Math.abs(x);
    return Math.sign(x) * (magnitude > limit ? beyond : half(magnitude));
  };
}

/** Measured maximum 1.613e-3 where this gives 1.636e-3: not exact. */
export const gridTanh = odd(linesOf(Math.tanh, 0, 4), 4, 1);
const erfLines = linesOf(erf, 0, 2);
/** Beyond 2 nobody explained the outputs; they are off by no more than within it, so the exact function is assumed. */
export function gridErf(x: number): number {
  return Math.abs(x) > 2 ? erf(x) : Math.sign(x) * erfLines(Math.abs(x));
}

const LOG2_E = away(Math.LOG2E);
const LN_2 = away(Math.LN2);
const powers = linesOf((x) => 2 ** x, 0, 1);

export function gridExp(x: number): number {
  const t = away(x * LOG2_E);
  if (Number.isNaN(t)) return NaN;
  if (!Number.isFinite(t)) return t < 0 ? 0 : Infinity;
  const whole = Math.floor(t);
  return powers(t - whole) * 2 ** whole;
}

/** x = mantissa * 2^exponent with the mantissa in [0.5, 1). */
function split(x: number): readonly [mantissa: number, exponent: number] {
  let exponent = Math.floor(Math.log2(x)) + 1;
  if (x / 2 ** exponent >= 1) exponent++;
  if (x / 2 ** exponent < 0.5) exponent--;
  return [x / 2 ** exponent, exponent];
}

const logarithms = linesOf(Math.log2, 0.5, 1);

export function gridLog(x: number): number {
  if (!(x > 0) || !Number.isFinite(x)) return Math.log(x);
  const [mantissa, exponent] = split(x);
  // What the lines give is rounded before the exponent is added: the published output at 1.004 tells.
  return away(away(logarithms(mantissa)) + exponent) * LN_2;
}

/** Roots take an even power of two out: the mantissa stands in [0.5, 2), which has 24 lines of 1/16. */
function rootLines(root: (x: number) => number): (x: number) => number {
  const knots = Float64Array.from({ length: 25 }, (_, i) => away(root(0.5 + i / 16)));
  return (mantissa) => {
    const position = (mantissa - 0.5) * 16;
    const knot = Math.min(23, Math.floor(position));
    const start = knots[knot] ?? NaN;
    return start + ((knots[knot + 1] ?? NaN) - start) * (position - knot);
  };
}

function evenSplit(x: number): readonly [mantissa: number, exponent: number] {
  const [mantissa, exponent] = split(x);
  return exponent % 2 === 0 ? [mantissa, exponent] : [2 * mantissa, exponent - 1];
}

const roots = rootLines(Math.sqrt);
const reciprocalRoots = rootLines((x) => 1 / Math.sqrt(x));

export function gridSqrt(x: number): number {
  if (!(x > 0) || !Number.isFinite(x)) return Math.sqrt(x);
  const [mantissa, exponent] = evenSplit(x);
  return roots(mantissa) * 2 ** (exponent / 2);
}

export function gridRsqrt(x: number): number {
  if (!(x > 0) || !Number.isFinite(x)) return 1 / Math.sqrt(x);
  const [mantissa, exponent] = evenSplit(x);
  return reciprocalRoots(mantissa) / 2 ** (exponent / 2);
}

const reciprocals = linesOf((x) => 1 / x, 0.5, 1);

export function gridInverse(x: number): number {
  if (x === 0 || !Number.isFinite(x)) return 1 / x;
  const [mantissa, exponent] = split(Math.abs(x));
  return (Math.sign(x) * reciprocals(mantissa)) / 2 ** exponent;
}

/**
 * Fitted values: published are the one at 0, the first beside it, and the largest errors. Least squares on one interval
 * after the other from 0 outwards give the published first values and errors, so the others come from that. Both
 * functions are f(-x) = f(x) - x, and so are their values: only then is silu's largest error the published one.
 */
function fittedLines(
  exact: (x: number) => number,
  spacing: number,
  published: { readonly atZero: number; readonly first: number },
): (x: number) => number {
  const limit = (LINES / 2) * spacing;
  const values = [0];
  for (let i = 0; i < LINES / 2; i++) {
    const before = values[i] ?? 0;
    let products = 0;
    let squares = 0;
    for (let step = 0; step <= 256; step++) {
      const t = step / 256;
      products += (exact(spacing * (i + t)) - before * (1 - t)) * t;
      squares += t * t;
    }
    values.push(products / squares);
  }
  values[1] = published.first;
  const above = values.slice(1);
  const below = above.map((value, i) => away(value) - spacing * (i + 1)).toReversed();
  const inside = lines([...below, published.atZero, ...above], -limit, limit);
  return (x) => {
    if (Number.isNaN(x)) return NaN;
    return x < -limit ? 0 : x > limit ? x : inside(x);
  };
}

const GELU_FIRST = 0.1436;
const SILU_FIRST = 0.2964;

/** One table for both modes, EXACT and TANH_APPROXIMATION. */
export const gridGelu = fittedLines((x) => 0.5 * x * (1 + erf(x / Math.SQRT2)), 0.25, {
  // The published error beside 0, 12,632 units, leaves one fp16 number for it.
  atZero: -1581 * 2 ** -21,
  first: GELU_FIRST,
});

export const gridSilu = fittedLines((x) => x * sigmoid(x), 0.5, {
  // So do 28,560 units.
  atZero: -1787 * 2 ** -20,
  first: SILU_FIRST,
});
