const word = new Uint32Array(1);
const float = new Float32Array(word.buffer);

/** The number that 16 bits of bf16 stand for: the upper half of an fp32 number. */
export function bfloat16Value(bits: number): number {
  word[0] = (bits & 0xffff) << 16;
  return float[0] ?? Number.NaN;
}

/** The 16 bits of a number that bf16 holds (round it first: `roundTo("bf16", value)`). */
export function bfloat16Bits(value: number): number {
  float[0] = value;
  return (word[0] ?? 0) >>> 16;
}
