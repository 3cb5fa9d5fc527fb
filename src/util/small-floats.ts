/** How a float of at most 16 bits is made. */
export interface SmallFloat {
  readonly exponentBits: number;
  readonly mantissaBits: number;
  readonly bias: number;
  /** What the largest exponent holds: infinities as in IEEE, NaN in its last pattern alone, or numbers. */
  readonly top: "ieee" | "last is NaN" | "numbers";
  /** There is no -0: its pattern is NaN. */
  readonly unsignedZero: boolean;
  readonly isSigned: boolean;
}

/** Bits of exponent and mantissa, and what the exponent is counted from. */
export function smallFloat(
  exponentBits: number,
  mantissaBits: number,
  bias: number,
  top: SmallFloat["top"],
  unsignedZero = false,
): SmallFloat {
  return { exponentBits, mantissaBits, bias, top, unsignedZero, isSigned: true };
}

/** Every value of a format by its bit pattern. */
export function smallFloats(format: SmallFloat): Float32Array {
  const { exponentBits, mantissaBits, isSigned } = format;
  const count = 2 ** (exponentBits + mantissaBits + Number(isSigned));
  return Float32Array.from({ length: count }, (_, bits) => valueOf(format, bits));
}

function valueOf(format: SmallFloat, bits: number): number {
  const { exponentBits, mantissaBits, bias, top, unsignedZero, isSigned } = format;
  const magnitudeBits = exponentBits + mantissaBits;
  const sign = isSigned && bits >>> magnitudeBits === 1 ? -1 : 1;
  const magnitude = bits & (2 ** magnitudeBits - 1);
  if (unsignedZero && sign === -1 && magnitude === 0) return NaN;
  const exponent = magnitude >>> mantissaBits;
  const mantissa = magnitude & (2 ** mantissaBits - 1);
  if (top === "last is NaN" && magnitude === 2 ** magnitudeBits - 1) return NaN;
  if (top === "ieee" && exponent === 2 ** exponentBits - 1)
    return mantissa === 0 ? sign * Infinity : NaN;
  // E8M0 has neither zero nor subnormal numbers: pattern 0 is 2^-127.
  if (exponent === 0 && isSigned) return sign * mantissa * 2 ** (1 - bias - mantissaBits);
  return sign * (1 + mantissa / 2 ** mantissaBits) * 2 ** (exponent - bias);
}
