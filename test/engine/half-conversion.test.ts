import { describe, expect, it } from "vitest";
import { HalfConverter } from "../../src/engine/host/half-converter.ts";
import { float16ToFloat32, float32ToFloat16 } from "../../src/util/float16.ts";
import { Random } from "../../src/util/random.ts";

describe("fp16 conversion by vectors", () => {
  const converter = new HalfConverter();

  it("rounds every kind of number as the scalar conversion does", () => {
    const random = new Random(3);
    const words = new Uint32Array(400_003);
    for (let i = 0; i < words.length; i++) words[i] = random.uint32();
    // Every boundary: each fp16 number, and its neighbours half a unit away, in fp32.
    const halves = Uint16Array.from({ length: 65536 }, (_, index) => index);
    const exact = new Float32Array(65536);
    float16ToFloat32(halves, exact);
    const bits = new Uint32Array(exact.buffer);
    for (let i = 0; i < 65536; i++) {
      words[i] = bits[i] ?? 0;
      words[65536 + i] = (bits[i] ?? 0) + 0x1000;
      words[131072 + i] = (bits[i] ?? 0) + 0x0fff;
      words[196608 + i] = (bits[i] ?? 0) + 0x1001;
    }
    const wanted = new Uint16Array(words.length);
    float32ToFloat16(new Float32Array(words.buffer), wanted);
    const got = new Uint16Array(words.length);
    converter.toHalves(new Float32Array(words.buffer), got);
    // Payloads of NaN are nobody's business; that it is NaN, and its sign, is.
    const plain = (half: number): number =>
      (half & 0x7fff) > 0x7c00 ? (half & 0x8000) | 0x7e00 : half;
    const differing = Array.from(got.keys()).filter(
      (index) => plain(got[index] ?? 0) !== plain(wanted[index] ?? 0),
    );
    expect(
      differing
        .slice(0, 5)
        .map((index) => [(words[index] ?? 0).toString(16), got[index], wanted[index]]),
    ).toEqual([]);
  });

  it("gives back every fp16 number exactly", () => {
    const halves = Uint16Array.from({ length: 65536 }, (_, index) => index);
    const [got, wanted] = [new Float32Array(65536), new Float32Array(65536)];
    converter.toSingles(halves, got);
    float16ToFloat32(halves, wanted);
    expect(got).toEqual(wanted);
  });
});
