import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { literalNumbers, tensorLiteral } from "../../src/mil/literal.ts";
import type { Literal } from "../../src/mil/program.ts";
import { parseProgram, printLiteral } from "../../src/mil/text/index.ts";
import { scalarType } from "../../src/mil/types.ts";
import type { DataType } from "../../src/mil/types.ts";
import { float16Value } from "../../src/util/float16.ts";

function parseLiteral(text: string): Literal {
  const literal = parseProgram(`program(1.3)\n[a = ${text}]\n{\n}`).attributes.get("a");
  if (literal === undefined) throw new Error("no attribute");
  return literal;
}

function number(dataType: DataType, text: string): number {
  return literalNumbers(parseLiteral(`${dataType}(${text})`))[0] ?? NaN;
}

function printed(dataType: DataType, value: number): string {
  const numbers = dataType === "fp64" ? Float64Array.of(value) : Float32Array.of(value);
  return printLiteral({
    kind: "literal",
    type: scalarType(dataType),
    data: { kind: "numbers", numbers },
  });
}

/** The nearest of all fp16 numbers to mantissa * 2^exponent, ties to the even one, by comparing whole numbers. */
function nearestFloat16(mantissa: bigint, exponent: number): number {
  const scaled = mantissa << BigInt(exponent + 400);
  const quantum = (bits: number): bigint =>
    BigInt(float16Value(bits) * 2 ** 24) << BigInt(400 - 24);
  if (scaled >= ((quantum(0x7bff) << 1n) + (16n << 401n)) >> 1n) return Infinity;
  let low = 0;
  let high = 0x7bff;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (quantum(middle) <= scaled) low = middle;
    else high = middle - 1;
  }
  if (low === 0x7bff) return float16Value(low);
  const below = scaled - quantum(low);
  const above = quantum(low + 1) - scaled;
  if (below === above) return float16Value(low % 2 === 0 ? low : low + 1);
  return float16Value(below < above ? low : low + 1);
}

describe("numbers in MIL text", () => {
  it("every fp16 number is printed and read back, subnormal ones normalised", () => {
    const numbers = Float32Array.from({ length: 0x10000 }, (_, bits) => float16Value(bits));
    const literal = tensorLiteral("fp16", [0x10000], numbers);
    const back = parseLiteral(printLiteral(literal)).data;
    if (back.kind !== "numbers") throw new Error("numbers are needed");
    expect(back.numbers.every((value, index) => Object.is(value, numbers[index]))).toBe(true);
    expect(printed("fp16", 2 ** -24)).toBe("fp16(0x1p-24)");
    expect(printed("fp16", -0)).toBe("fp16(-0x0p+0)");
  });

  it("fp32 and fp64 numbers of any bits are printed and read back", () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true }), fc.double({ noNaN: true }), (single, double) => {
        expect(number("fp32", printed("fp32", single).slice(5, -1))).toBe(single);
        expect(number("fp64", printed("fp64", double).slice(5, -1))).toBe(double);
      }),
      { numRuns: 500 },
    );
    for (const value of [5e-324, 2.2250738585072014e-308, Number.MAX_VALUE, -0]) {
      expect(number("fp64", printed("fp64", value).slice(5, -1))).toBe(value);
    }
  });

  it("hexadecimal digits beyond a type's precision are rounded once, ties to even", () => {
    fc.assert(
      fc.property(
        fc.bigInt(1n, 2n ** 80n),
        fc.integer({ min: -140, max: 40 }),
        (mantissa, exponent) => {
          const text = `0x${mantissa.toString(16)}p${exponent}`;
          expect(number("fp16", text)).toBe(nearestFloat16(mantissa, exponent));
          // Converting a BigInt rounds once, and so does scaling by a power of two in this range.
          expect(number("fp64", text)).toBe(Number(mantissa) * 2 ** exponent);
        },
      ),
      { numRuns: 500 },
    );
    // A double between two fp32 numbers, by one bit beyond the double's precision.
    expect(number("fp32", "0x1.0000010000000p+0")).toBe(1);
    expect(number("fp32", "0x1.00000100000000000001p+0")).toBe(1 + 2 ** -23);
    expect(number("fp32", "0x1.000003p+0")).toBe(1 + 2 ** -22);
    expect(number("fp64", "0x1.8p-1074")).toBe(2 ** -1073);
    expect(number("fp64", "0x0.8p-1074")).toBe(0);
    expect(number("fp64", "0x0.80000000000000000001p-1074")).toBe(2 ** -1074);
    expect(number("fp32", "0x1.ffffffp+127")).toBe(Infinity);
    expect(number("fp32", "0x1.fffffefp+127")).toBe((2 - 2 ** -23) * 2 ** 127);
    expect(number("bf16", "0x1.01p+0")).toBe(1);
    expect(number("bf16", "0x1.03p+0")).toBe(1 + 2 ** -6);
  });

  it("decimals next to the middle of two numbers are rounded by all their digits", () => {
    // 1 + 2^-11 lies between two fp16 numbers.
    expect(number("fp16", "1.00048828125")).toBe(1);
    expect(number("fp16", "1.000488281250000000000000000001")).toBe(1 + 2 ** -10);
    expect(number("fp16", "1.00048828124999999999999999999")).toBe(1);
    expect(number("fp16", "65519.99999999999999999999")).toBe(65504);
    expect(number("fp16", "65520")).toBe(Infinity);
    // 1 + 2^-24 between two fp32 numbers.
    expect(number("fp32", "1.000000059604644775390625")).toBe(1);
    expect(number("fp32", "1.00000005960464477539062500000000000001")).toBe(1 + 2 ** -23);
    expect(number("fp16", "0.00001")).toBe(1.3125 * 2 ** -17);
  });

  it("reads the spellings of infinity and of numbers that are nothing", () => {
    expect(number("fp32", "inf")).toBe(Infinity);
    expect(number("fp32", "-infinity")).toBe(-Infinity);
    expect(number("fp16", "nan")).toBeNaN();
    expect(number("fp8e4m3fn", "nan")).toBeNaN();
    expect(number("fp32", "1e300")).toBe(Infinity);
    expect(number("bf16", "-0x1p+1000")).toBe(-Infinity);
    expect(() => number("fp8e4m3fn", "inf")).toThrow("beyond the type's largest, 448");
    expect(() => number("fp8e4m3fn", "465")).toThrow("beyond the type's largest, 448");
    expect(number("fp8e4m3fn", "464")).toBe(448);
    expect(number("fp8e5m2", "61439")).toBe(57344);
  });

  it("holds whole numbers to the range of their type", () => {
    const limits: readonly (readonly [DataType, bigint, bigint])[] = [
      ["int4", -8n, 7n],
      ["int8", -128n, 127n],
      ["int16", -32768n, 32767n],
      ["int32", -(2n ** 31n), 2n ** 31n - 1n],
      ["int64", -(2n ** 63n), 2n ** 63n - 1n],
      ["uint1", 0n, 1n],
      ["uint2", 0n, 3n],
      ["uint3", 0n, 7n],
      ["uint4", 0n, 15n],
      ["uint6", 0n, 63n],
      ["uint8", 0n, 255n],
      ["uint16", 0n, 65535n],
      ["uint32", 0n, 2n ** 32n - 1n],
      ["uint64", 0n, 2n ** 64n - 1n],
    ];
    for (const [dataType, minimum, maximum] of limits) {
      for (const value of [minimum, maximum]) {
        expect(printLiteral(parseLiteral(`${dataType}(${value})`))).toBe(`${dataType}(${value})`);
      }
      for (const value of [minimum - 1n, maximum + 1n]) {
        expect(() => parseLiteral(`${dataType}(${value})`)).toThrow(
          `outside the type's range, ${minimum} to ${maximum}`,
        );
      }
    }
    expect(() => number("int32", "1.5")).toThrow("expected a whole number");
  });

  it("writes doubles in containers as C does with 17 digits", () => {
    for (const text of [
      "0.0026214400000000001",
      "4.0960000000000001e-05",
      "476.80945305249844",
      "0",
      "1.0000000000000001e+300",
      "100000",
      "inf",
    ]) {
      const literal = `list<fp64, 1>([${text}])`;
      expect(printLiteral(parseLiteral(literal))).toBe(literal);
    }
  });
});
