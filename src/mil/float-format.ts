import type { DataType } from "./types.ts";

/** How a floating-point type rounds: `precision` counts the hidden bit, `minimumExponent` is that of normal numbers. */
export interface FloatFormat {
  readonly precision: number;
  readonly minimumExponent: number;
  readonly maximum: number;
  readonly hasInfinity: boolean;
  /** Decimal digits that tell any two numbers of the type apart. */
  readonly decimalDigits: number;
}

/** A format with as many exponents above 1 as below it, as IEEE has them. */
function ieee(precision: number, minimumExponent: number): FloatFormat {
  return {
    precision,
    minimumExponent,
    maximum: (2 - 2 ** (1 - precision)) * 2 ** (1 - minimumExponent),
    hasInfinity: true,
    decimalDigits: Math.ceil(1 + precision * Math.log10(2)),
  };
}

export const FLOAT_FORMATS = {
  fp16: ieee(11, -14),
  bf16: ieee(8, -126),
  fp32: ieee(24, -126),
  fp64: ieee(53, -1022),
  fp8e4m3fn: { ...ieee(4, -6), maximum: 448, hasInfinity: false },
  fp8e5m2: ieee(3, -14),
} as const satisfies Partial<Record<DataType, FloatFormat>>;

/** The format of a floating-point type; nothing for the other types. */
export function floatFormat(dataType: DataType): FloatFormat | undefined {
  const formats: Partial<Record<DataType, FloatFormat>> = FLOAT_FORMATS;
  return formats[dataType];
}

const scratch = new DataView(new ArrayBuffer(8));

/** The binary exponent of a finite number other than zero: 2^e <= |value| < 2^(e+1). */
export function binaryExponent(value: number): number {
  scratch.setFloat64(0, value);
  const biased = (scratch.getUint32(0) >>> 20) & 0x7ff;
  if (biased !== 0) return biased - 1023;
  scratch.setFloat64(0, value * 2 ** 54);
  return ((scratch.getUint32(0) >>> 20) & 0x7ff) - 1023 - 54;
}

/** The nearest number of the format, ties to even; beyond the largest one, an infinity (NaN where there is none). */
export function roundToFormat(value: number, format: FloatFormat): number {
  if (format.precision === 53 || value === 0 || Number.isNaN(value)) return value;
  const beyond = format.hasInfinity ? Math.sign(value) * Infinity : NaN;
  if (Math.abs(value) >= 2 * format.maximum) return beyond;
  const exponent = Math.max(binaryExponent(value), format.minimumExponent);
  // Adding 1.5 * 2^52 quanta leaves no room for fractions of a quantum, so the sum itself rounds to even.
  const magic = 1.5 * 2 ** 52 * 2 ** (exponent - format.precision + 1);
  const rounded = value + magic - magic;
  if (Math.abs(rounded) > format.maximum) return beyond;
  return rounded === 0 && value < 0 ? -0 : rounded;
}

const HEX_DIGITS = "0123456789abcdef";

/** A C99 hexadecimal float with the fewest digits, subnormal numbers normalised: `-0x1.5p-17`, `0x0p+0`, `inf`, `nan`. */
export function formatHexFloat(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (value === Infinity) return "inf";
  if (value === -Infinity) return "-inf";
  scratch.setFloat64(0, value);
  let high = scratch.getUint32(0);
  let shift = 0;
  const sign = high >>> 31 === 0 ? "" : "-";
  if ((high & 0x7fffffff) === 0 && scratch.getUint32(4) === 0) return `${sign}0x0p+0`;
  if (((high >>> 20) & 0x7ff) === 0) {
    scratch.setFloat64(0, value * 2 ** 54);
    high = scratch.getUint32(0);
    shift = 54;
  }
  const exponent = ((high >>> 20) & 0x7ff) - 1023 - shift;
  let digits = "";
  let top = high & 0xfffff;
  let low = scratch.getUint32(4);
  while (top !== 0 || low !== 0) {
    digits += HEX_DIGITS.charAt(top >>> 16);
    top = ((top << 4) | (low >>> 28)) & 0xfffff;
    low = (low << 4) >>> 0;
  }
  const power = exponent < 0 ? `${exponent}` : `+${exponent}`;
  return digits === "" ? `${sign}0x1p${power}` : `${sign}0x1.${digits}p${power}`;
}

/** A decimal as C's `%.{digits}g` writes it: `0.0026214400000000001`, `4.0960000000000001e-05`, `0`. */
export function formatDecimalFloat(value: number, digits: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value < 0 ? "-inf" : "inf";
  if (value === 0) return Object.is(value, -0) ? "-0" : "0";
  const [mantissa = "", power = "0"] = Math.abs(value)
    .toExponential(digits - 1)
    .split("e");
  const exponent = Number(power);
  const sign = value < 0 ? "-" : "";
  const significant = mantissa.replace(".", "").replace(/0+$/, "");
  if (exponent < -4 || exponent >= digits) {
    const fraction = significant.length > 1 ? `.${significant.slice(1)}` : "";
    const two = String(Math.abs(exponent)).padStart(2, "0");
    return `${sign}${significant.charAt(0)}${fraction}e${exponent < 0 ? "-" : "+"}${two}`;
  }
  if (exponent < 0) return `${sign}0.${"0".repeat(-exponent - 1)}${significant}`;
  const whole = significant.slice(0, exponent + 1).padEnd(exponent + 1, "0");
  const rest = significant.slice(exponent + 1);
  return rest === "" ? `${sign}${whole}` : `${sign}${whole}.${rest}`;
}
