import type { Arithmetic } from "../../chip/arithmetic/arithmetic.ts";
import { float16Bits, float16Value } from "../../util/float16.ts";

/** Where a number halfway between two fp16 numbers goes. */
export type Ties = Arithmetic["elementwise.rounding"];

const CHUNK = 8192;
const scratch = new Float32Array(CHUNK);
const words = new Uint32Array(scratch.buffer);

/** The nearest fp16 number, ties away from zero, as bits; from 65520 on infinity. NaN becomes 0x7e00. */
export function float16BitsAway(value: number): number {
  const bits = float16Bits(value);
  const magnitude = Math.abs(value);
  if (!(magnitude < 65520)) return bits;
  // Both rules differ only where the even neighbour of a tie is the lower one.
  const lower = bits & 0x7fff;
  const half = float16Value(lower);
  const isTie = half < magnitude && magnitude - half === float16Value(lower + 1) - magnitude;
  return isTie ? bits + 1 : bits;
}

/** The nearest fp16 number by either rule. */
export function roundToHalfBy(value: number, ties: Ties): number {
  return float16Value(ties === "half-away" ? float16BitsAway(value) : float16Bits(value));
}

/**
 * Rounds every number to the nearest fp16 number in place; beyond 65504 comes infinity. Ties to even go through fp32,
 * which loses nothing: sums, products, quotients and roots of fp16 numbers round the same.
 */
export function roundToHalf(numbers: Float64Array, ties: Ties): void {
  if (ties === "half-away") {
    for (let i = 0; i < numbers.length; i++) {
      const value = numbers[i] ?? 0;
      const rounded = float16Value(float16BitsAway(value));
      numbers[i] = rounded === 0 && Object.is(value, -0) ? -0 : rounded;
    }
    return;
  }
  for (let start = 0; start < numbers.length; start += CHUNK) {
    const part = numbers.subarray(start, start + CHUNK);
    scratch.set(part);
    for (let i = 0; i < part.length; i++) {
      const word = words[i] ?? 0;
      const magnitude = word & 0x7fffffff;
      if (magnitude >= 0x38800000) {
        if (magnitude < 0x477ff000) words[i] = (word + 0xfff + ((word >>> 13) & 1)) & 0xffffe000;
        else if (magnitude < 0x7f800000) words[i] = (word & 0x80000000) | 0x7f800000;
      } else if (magnitude !== 0) {
        // Below 2^-14 fp16 counts in 2^-24: adding and taking away 0.75 rounds there in fp32.
        const value = scratch[i] ?? 0;
        const anchor = value < 0 ? -0.75 : 0.75;
        const rounded = Math.fround(value + anchor) - anchor;
        // A zero keeps the sign.
        scratch[i] = rounded === 0 && value < 0 ? -0 : rounded;
      }
    }
    part.set(part.length === CHUNK ? scratch : scratch.subarray(0, part.length));
  }
}

/** Rounds every number to fp32 in place. */
export function roundToSingle(numbers: Float64Array): void {
  for (let start = 0; start < numbers.length; start += CHUNK) {
    const part = numbers.subarray(start, start + CHUNK);
    scratch.set(part);
    part.set(part.length === CHUNK ? scratch : scratch.subarray(0, part.length));
  }
}
