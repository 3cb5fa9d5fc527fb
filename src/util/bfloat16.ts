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

/** fp32 to bf16 bits, nearest-even, over whole arrays of equal length; NaN stays NaN. */
export function float32ToBfloat16(source: Float32Array, target: Uint16Array): void {
  const words = new Uint32Array(source.buffer, source.byteOffset, source.length);
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? 0;
    target[i] =
      (word & 0x7fffffff) > 0x7f800000
        ? (word >>> 16) | 0x40
        : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
}

/** bf16 bits to fp32 over whole arrays of equal length. */
export function bfloat16ToFloat32(source: Uint16Array, target: Float32Array): void {
  const words = new Uint32Array(target.buffer, target.byteOffset, target.length);
  for (let i = 0; i < source.length; i++) words[i] = (source[i] ?? 0) << 16;
}
