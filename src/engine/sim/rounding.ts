const CHUNK = 8192;
const scratch = new Float32Array(CHUNK);
const words = new Uint32Array(scratch.buffer);

/**
 * Rounds every number to the nearest fp16 number, ties to even, in place; beyond 65504 comes infinity. On the
 * way through fp32 nothing is lost: sums, products, quotients and roots of fp16 numbers round the same.
 */
export function roundToHalf(numbers: Float64Array): void {
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
