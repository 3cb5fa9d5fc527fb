/** How a float of at most 8 bits is made. */
interface SmallFloat {
  readonly exponentBits: number;
  readonly mantissaBits: number;
  readonly bias: number;
  /** What the largest exponent holds: infinities as in IEEE, NaN in its last pattern alone, or numbers. */
  readonly top: "ieee" | "last is NaN" | "numbers";
  /** There is no -0: its pattern is NaN. */
  readonly unsignedZero: boolean;
  readonly isSigned: boolean;
}

/** By ONNX's code of the element type. Source: onnx.ai/onnx/technical/float8.html and float4.html. */
const SMALL_FLOATS: Readonly<Record<number, SmallFloat>> = {
  17: smallFloat(4, 3, 7, "last is NaN", false),
  18: smallFloat(4, 3, 8, "numbers", true),
  19: smallFloat(5, 2, 15, "ieee", false),
  20: smallFloat(5, 2, 16, "numbers", true),
  23: smallFloat(2, 1, 1, "numbers", false),
  24: { ...smallFloat(8, 0, 127, "last is NaN", false), isSigned: false },
};

function smallFloat(
  exponentBits: number,
  mantissaBits: number,
  bias: number,
  top: SmallFloat["top"],
  unsignedZero: boolean,
): SmallFloat {
  return { exponentBits, mantissaBits, bias, top, unsignedZero, isSigned: true };
}

const TABLES = new Map<number, Float32Array>();

/** Every value of a float type of at most 8 bits by its bit pattern; nothing for other types. */
export function smallFloatTable(code: number): Float32Array | undefined {
  const known = TABLES.get(code);
  if (known !== undefined) return known;
  const format = SMALL_FLOATS[code];
  if (format === undefined) return undefined;
  const { exponentBits, mantissaBits, isSigned } = format;
  const count = 2 ** (exponentBits + mantissaBits + Number(isSigned));
  const table = Float32Array.from({ length: count }, (_, bits) => valueOf(format, bits));
  TABLES.set(code, table);
  return table;
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
