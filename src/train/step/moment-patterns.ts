import type { FunctionBuilder } from "../../mil/builder.ts";
import type { Value } from "../../mil/program.ts";

/** Numbers that 16 bits stand apart by: the upper half of an fp32 pattern is its bf16 pattern. */
const HALF = 65536;
const INFINITE = 0x7f80;
const NOT_A_NUMBER = 0x7fc0;
const SIGN = 0x8000;
const SMALLEST_NORMAL = 2 ** -126;
/** Exponents are found bit by bit: from the largest power of two on. */
const EXPONENT_STEPS = [64, 32, 16, 8, 4, 2, 1] as const;

/** An fp32 pattern without its sign, as two whole numbers below 65536. Exact for finite numbers, undefined for others. */
interface Pattern {
  readonly upper: Value;
  readonly lower: Value;
}

/**
 * Rounding by chance that is not drawn: what the pattern's lower half adds up to with 16 bits that are as good as random
 * decides whether its upper half goes up by one. The bits are the lower half of the weight's own pattern before the
 * update (0 where it is not finite): the mean over many updates is exact, no state is kept, and neither threads nor
 * processes nor the order of elements matter.
 */
export function ditherOf(f: FunctionBuilder, weight: Value): Value {
  const { lower } = patternOf(f, weight);
  return f.op("select", { cond: isFinite(f, weight), a: lower, b: 0 });
}

/** Numbers fp32 as bf16 patterns uint16, rounded up where `dither` carries; NaN is 0x7fc0. */
export function momentPatterns(f: FunctionBuilder, numbers: Value, dither: Value): Value {
  const { upper, lower } = patternOf(f, numbers);
  const sum = f.op("add", { x: lower, y: dither });
  const carries = f.op("cast", { x: f.op("greater_equal", { x: sum, y: HALF }), dtype: "fp32" });
  const finite = f.op("add", { x: upper, y: carries });
  const signed = f.op("add", {
    x: f.op("select", { cond: isFinite(f, numbers), a: finite, b: INFINITE }),
    y: f.op("mul", { x: signOf(f, numbers), y: SIGN }),
  });
  const isNumber = f.op("equal", { x: numbers, y: numbers });
  const patterns = f.op("select", { cond: isNumber, a: signed, b: NOT_A_NUMBER });
  return f.op("cast", { x: patterns, dtype: "uint16" });
}

/** Every step is exact: products with powers of two, differences of whole numbers below 2^24. */
function patternOf(f: FunctionBuilder, x: Value): Pattern {
  const size = f.op("abs", { x });
  const isSmall = f.op("less", { x: size, y: 1 });
  const raised = f.op("mul", { x: size, y: 2 ** 126 });
  let y = f.op("select", { cond: isSmall, a: raised, b: size });
  let exponent = f.op("mul", { x: f.op("cast", { x: isSmall, dtype: "fp32" }), y: -126 });
  for (const step of EXPONENT_STEPS) {
    const isAbove = f.op("greater_equal", { x: y, y: 2 ** step });
    const lowered = f.op("mul", { x: y, y: 2 ** -step });
    y = f.op("select", { cond: isAbove, a: lowered, b: y });
    const passed = f.op("mul", { x: f.op("cast", { x: isAbove, dtype: "fp32" }), y: step });
    exponent = f.op("add", { x: exponent, y: passed });
  }
  // Below the smallest normal number patterns count multiples of 2^-149; above, the exponent stands before 23 bits.
  const isTiny = f.op("less", { x: size, y: SMALLEST_NORMAL });
  const tiny = f.op("mul", { x: raised, y: 2 ** 23 });
  const digits = f.op("select", {
    cond: isTiny,
    a: tiny,
    b: f.op("mul", { x: y, y: 2 ** 23 }),
  });
  const field = f.op("add", { x: exponent, y: 126 });
  const base = f.op("select", {
    cond: isTiny,
    a: 0,
    b: f.op("mul", { x: field, y: 128 }),
  });
  const above = f.op("floor", { x: f.op("mul", { x: digits, y: 1 / HALF }) });
  const lower = f.op("sub", { x: digits, y: f.op("mul", { x: above, y: HALF }) });
  return { upper: f.op("add", { x: base, y: above }), lower };
}

function isFinite(f: FunctionBuilder, x: Value): Value {
  return f.op("less", { x: f.op("abs", { x }), y: Infinity });
}

/** 1 for numbers below 0 and for -0, else 0. */
function signOf(f: FunctionBuilder, x: Value): Value {
  const isBelow = f.op("less", { x, y: 0 });
  const isInverseBelow = f.op("less", { x: f.op("real_div", { x: 1, y: x }), y: 0 });
  return f.op("cast", { x: f.op("logical_or", { x: isBelow, y: isInverseBelow }), dtype: "fp32" });
}
