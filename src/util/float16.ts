const scratch = new DataView(new ArrayBuffer(4));
/** 2^-14, the smallest normal number, to 2^16. */
const powers = Float64Array.from({ length: 31 }, (_, index) => 2 ** (index - 14));

/** The largest fp16 number. */
export const LARGEST_FLOAT16 = 65_504;

/** Rounds to the nearest fp16 number, ties to even, and returns its 16 bits. NaN becomes 0x7e00. */
export function float16Bits(value: number): number {
  scratch.setFloat32(0, value);
  const bits32 = scratch.getUint32(0);
  const sign = (bits32 >>> 16) & 0x8000;
  if (Number.isNaN(value)) return sign | 0x7e00;
  const magnitude = Math.abs(value);
  if (magnitude >= 65520) return sign | 0x7c00;
  // Doubles hold value * 2^24 exactly, so one rounding happens here and not two (via fp32).
  if (magnitude < 2 ** -14) return sign | roundHalfEven(magnitude * 2 ** 24);
  // fp32 may have rounded the number up to the next power of two.
  const rounded = ((bits32 >>> 23) & 0xff) - 127;
  const fixed = magnitude < (powers[rounded + 14] ?? NaN) ? rounded - 1 : rounded;
  const mantissa = roundHalfEven((magnitude / (powers[fixed + 14] ?? NaN)) * 1024);
  return sign | (((fixed + 15) << 10) + mantissa - 1024);
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest > 0.5 || (rest === 0.5 && floor % 2 === 1)) return floor + 1;
  return floor;
}

const values = new Float32Array(65536);
for (let bits = 0; bits < 65536; bits++) {
  const exponent = (bits >>> 10) & 31;
  const mantissa = bits & 1023;
  const magnitude =
    exponent === 0
      ? mantissa * 2 ** -24
      : exponent === 31
        ? mantissa === 0
          ? Infinity
          : NaN
        : (1 + mantissa / 1024) * 2 ** (exponent - 15);
  values[bits] = bits & 0x8000 ? -magnitude : magnitude;
}

/** The number that 16 bits of fp16 stand for. */
export function float16Value(bits: number): number {
  return values[bits & 0xffff] ?? NaN;
}

/** The nearest fp16 number to `value`, ties to even. */
export function roundToFloat16(value: number): number {
  return float16Value(float16Bits(value));
}

// fp32 -> fp16 by table over sign and exponent: the base bits and the shift of the 23-bit mantissa.
const baseBits = new Uint16Array(512);
const shiftBits = new Uint8Array(512);
for (let index = 0; index < 256; index++) {
  const exponent = index - 127;
  let base: number;
  let shift: number;
  if (exponent < -25) [base, shift] = [0, 31];
  else if (exponent < -14) [base, shift] = [0, -exponent - 1];
  else if (exponent <= 15) [base, shift] = [(exponent + 14) << 10, 13];
  else [base, shift] = [0x7c00, 31];
  baseBits[index] = base;
  baseBits[index | 256] = base | 0x8000;
  shiftBits[index] = shift;
  shiftBits[index | 256] = shift;
}

/** Converts fp32 to fp16 bits, nearest-even, over whole arrays of equal length. */
export function float32ToFloat16(source: Float32Array, target: Uint16Array): void {
  const words = new Uint32Array(source.buffer, source.byteOffset, source.length);
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? 0;
    const index = word >>> 23;
    const shift = shiftBits[index] ?? 31;
    const base = baseBits[index] ?? 0;
    if (shift === 31) {
      target[i] = (word & 0x7fffffff) > 0x7f800000 ? (base & 0x8000) | 0x7e00 : base;
      continue;
    }
    const mantissa = (word & 0x7fffff) | 0x800000;
    const kept = mantissa >>> shift;
    const rest = mantissa & ((1 << shift) - 1);
    const half = 1 << (shift - 1);
    target[i] = base + kept + (rest > half || (rest === half && (kept & 1) === 1) ? 1 : 0);
  }
}

/** Converts fp16 bits to fp32 over whole arrays of equal length. */
export function float16ToFloat32(source: Uint16Array, target: Float32Array): void {
  for (let i = 0; i < source.length; i++) target[i] = values[source[i] ?? 0] ?? NaN;
}
