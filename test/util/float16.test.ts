import { describe, expect, it } from "vitest";
import {
  float16Bits,
  float16ToFloat32,
  float16Value,
  float32ToFloat16,
  roundToFloat16,
} from "../../src/util/float16.ts";

describe("fp16", () => {
  it("gives every one of the 65,536 bit patterns back, by function and by table", () => {
    const bits = Uint16Array.from({ length: 65536 }, (_, index) => index);
    const wide = new Float32Array(65536);
    const back = new Uint16Array(65536);
    float16ToFloat32(bits, wide);
    float32ToFloat16(wide, back);
    for (let index = 0; index < 65536; index++) {
      const value = float16Value(index);
      if (Number.isNaN(value)) continue;
      if (float16Bits(value) !== index)
        expect.fail(`pattern ${index} came back as ${float16Bits(value)}`);
      if (back[index] !== index)
        expect.fail(`pattern ${index} came back from the table as ${back[index]}`);
    }
  });

  it("rounds midpoints between neighbours to even and anything beyond to the nearer one", () => {
    for (let index = 0; index < 0x7bff; index++) {
      const low = float16Value(index);
      const high = float16Value(index + 1);
      const middle = (low + high) / 2;
      const even = index % 2 === 0 ? low : high;
      if (roundToFloat16(middle) !== even) expect.fail(`midpoint after ${low}`);
      const probes = new Float32Array([
        middle,
        Math.fround(middle + (high - low) / 8),
        Math.fround(middle - (high - low) / 8),
      ]);
      const bits = new Uint16Array(3);
      float32ToFloat16(probes, bits);
      if (
        float16Value(bits[0] ?? 0) !== even ||
        float16Value(bits[1] ?? 0) !== high ||
        float16Value(bits[2] ?? 0) !== low
      )
        expect.fail(`table rounding after ${low}`);
    }
  });

  it("overflows to infinity from 65520 on and keeps NaN", () => {
    expect(roundToFloat16(65519.9)).toBe(65504);
    expect(roundToFloat16(65520)).toBe(Infinity);
    expect(roundToFloat16(-1e9)).toBe(-Infinity);
    expect(roundToFloat16(NaN)).toBeNaN();
  });
});
