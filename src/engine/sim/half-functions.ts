import { float16Value } from "../../util/float16.ts";
import { roundToHalf } from "./rounding.ts";

/** Takes an array of fp16 numbers to the function's results, rounded to fp16. */
export type HalfFunction = (numbers: Float64Array) => Float64Array;

const CHUNK = 4096;
const scratch = new Float32Array(CHUNK);
const words = new Uint32Array(scratch.buffer);

/** A function of one fp16 number: its 65536 results are computed when first used and looked up from then on. */
export function halfFunction(compute: (x: number) => number): HalfFunction {
  let results: Float32Array | undefined;
  return (numbers) => {
    results ??= tabulateHalves(compute);
    const data = new Float64Array(numbers.length);
    for (let start = 0; start < numbers.length; start += CHUNK) {
      const part = numbers.subarray(start, start + CHUNK);
      scratch.set(part);
      for (let i = 0; i < part.length; i++) {
        const word = words[i] ?? 0;
        const magnitude = word & 0x7fffffff;
        let bits = (word >>> 16) & 0x8000;
        if (magnitude >= 0x7f800000) bits |= magnitude === 0x7f800000 ? 0x7c00 : 0x7e00;
        else if (magnitude >= 0x38800000) bits |= (magnitude - 0x38000000) >>> 13;
        // Below 2^-14 fp16 counts in 2^-24.
        else bits |= Math.abs(scratch[i] ?? 0) * 2 ** 24;
        data[start + i] = results[bits] ?? NaN;
      }
    }
    return data;
  };
}

function tabulateHalves(compute: (x: number) => number): Float32Array {
  const results = new Float64Array(65536);
  for (let bits = 0; bits < results.length; bits++) results[bits] = compute(float16Value(bits));
  roundToHalf(results);
  return Float32Array.from(results);
}
