/**
 * Functions the engine takes from tables, as they were modelled until August 2026, when only errors were published:
 * relative L2 against exact results (ANEForge's sweep, M5). Each function here is a straight line between knots, with
 * the spacing at which that error comes out for inputs spread evenly over [-3, 3], rounding to fp16 included. The
 * grids that were read since stand in grid-tables.ts.
 */
export interface FunctionTable {
  readonly exact: (x: number) => number;
  /** What the table holds where the result is x times it; near 0 the relative error then stays small. */
  readonly factor?: (x: number) => number;
  /** Distance between knots, and where the table ends on both sides. */
  readonly spacing: number;
  readonly limit: number;
  /** Published relative error. */
  readonly error: number;
}

export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const normalShare = (x: number): number => 0.5 * (1 + erf(x / Math.SQRT2));

/** The share of x that a gelu lets through, by mode. */
export const GELU_SHARES: Readonly<Record<string, (x: number) => number>> = {
  EXACT: normalShare,
  TANH_APPROXIMATION: (x) =>
    0.5 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  SIGMOID_APPROXIMATION: (x) => sigmoid(1.702 * x),
};

export const GELU_TABLE: FunctionTable = {
  exact: (x) => x * normalShare(x),
  factor: normalShare,
  spacing: 0.41,
  limit: 16,
  error: 2.4e-3,
};

export const FUNCTION_TABLES: Readonly<Record<string, FunctionTable>> = {
  sigmoid: { exact: sigmoid, spacing: 0.58, limit: 12, error: 3.8e-3 },
  silu: { exact: (x) => x * sigmoid(x), factor: sigmoid, spacing: 1, limit: 16, error: 1e-2 },
  tanh: { exact: Math.tanh, spacing: 0.165, limit: 8, error: 1.3e-3 },
  erf: { exact: erf, spacing: 0.11, limit: 6, error: 7e-4 },
  gelu: GELU_TABLE,
};

/** Errors of functions whose tables run over the mantissa: the same relative error everywhere. */
export const MANTISSA_SEGMENTS = {
  /** Published 4.7e-4. */
  exp: 10,
  /** Published 8e-4; softmax, which uses exp and a reciprocal, 1.05e-3. */
  log: 6,
  /** Published 1.0e-3. */
  rsqrt: 8,
} as const;

/** A table function ready for many numbers. */
export function tabulate({ exact, factor, spacing, limit }: FunctionTable): (x: number) => number {
  const held = factor ?? exact;
  // 0 is a knot.
  const side = Math.ceil(limit / spacing);
  const knots = Float64Array.from({ length: 2 * side + 2 }, (_, i) => held((i - side) * spacing));
  return (x) => {
    if (Number.isNaN(x)) return NaN;
    if (Math.abs(x) > limit) return exact(x);
    const position = x / spacing + side;
    const knot = Math.floor(position);
    const low = knots[knot] ?? 0;
    const value = low + ((knots[knot + 1] ?? low) - low) * (position - knot);
    return factor === undefined ? value : x * value;
  };
}

/** 2^(i / segments), one more than the segments' ends. */
export const EXPONENTIAL_KNOTS = Float64Array.from(
  { length: MANTISSA_SEGMENTS.exp + 2 },
  (_, knot) => 2 ** (knot / MANTISSA_SEGMENTS.exp),
);
const LEAST_POWER = -1080;
const POWERS = Float64Array.from({ length: 2110 }, (_, i) => 2 ** (i + LEAST_POWER));

/** exp by a table of straight lines over the fraction of x * log2(e); the exponent is exact. */
export function tableExp(x: number): number {
  const scaled = x * Math.LOG2E;
  if (!(scaled > LEAST_POWER && scaled < 1024)) return Math.exp(x);
  const whole = Math.floor(scaled);
  const position = (scaled - whole) * MANTISSA_SEGMENTS.exp;
  const knot = Math.floor(position);
  const low = EXPONENTIAL_KNOTS[knot] ?? 1;
  const high = EXPONENTIAL_KNOTS[knot + 1] ?? low;
  return (low + (high - low) * (position - knot)) * (POWERS[whole - LEAST_POWER] ?? 0);
}

/** log and rsqrt: straight lines over the mantissa in [1, 2) or [1, 4). */
export function tableLog(x: number): number {
  if (!(x > 0) || !Number.isFinite(x)) return Math.log(x);
  const exponent = Math.floor(Math.log2(x));
  const mantissa = x / 2 ** exponent;
  return exponent * Math.LN2 + linear(mantissa, 1 / MANTISSA_SEGMENTS.log, Math.log);
}

export function tableRsqrt(x: number): number {
  if (!(x > 0) || !Number.isFinite(x)) return 1 / Math.sqrt(x);
  const exponent = 2 * Math.floor(Math.log2(x) / 2);
  const mantissa = x / 2 ** exponent;
  const spacing = 3 / (2 * MANTISSA_SEGMENTS.rsqrt);
  return linear(mantissa, spacing, (m) => 1 / Math.sqrt(m)) / 2 ** (exponent / 2);
}

/** By straight lines between knots of a function, the first at 1. */
function linear(x: number, spacing: number, exact: (x: number) => number): number {
  const position = (x - 1) / spacing;
  const knot = Math.floor(position);
  const low = exact(1 + knot * spacing);
  const high = exact(1 + (knot + 1) * spacing);
  return low + (high - low) * (position - knot);
}

/** Abramowitz and Stegun 7.1.26 is too coarse here; the series and the continued fraction are not. */
export function erf(x: number): number {
  const magnitude = Math.abs(x);
  if (magnitude > 6) return Math.sign(x);
  if (magnitude < 2.5) {
    let term = magnitude;
    let sum = magnitude;
    for (let n = 1; n < 60 && Math.abs(term) > 1e-17; n++) {
      term *= -(magnitude * magnitude) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 40; n > 0; n--) fraction = n / 2 / (magnitude + fraction);
  const tail = Math.exp(-magnitude * magnitude) / (magnitude + fraction) / Math.sqrt(Math.PI);
  return Math.sign(x) * (1 - tail);
}
