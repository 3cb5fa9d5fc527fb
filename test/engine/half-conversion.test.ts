import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { convertToFloat16, convertToFloat32 } from "../../src/engine/cpu/half-conversion.ts";
import { KernelPool } from "../../src/engine/host/kernel-pool.ts";
import { SharedMemory } from "../../src/engine/host/memory.ts";
import { float16ToFloat32, float32ToFloat16 } from "../../src/util/float16.ts";
import { Random } from "../../src/util/random.ts";

describe("fp16 conversion on all threads", () => {
  let pool: KernelPool;
  beforeAll(() => {
    pool = new KernelPool(3);
  });
  afterAll(async () => {
    await pool.close();
  });

  function convert(words: Uint32Array): Uint16Array {
    const memory = new SharedMemory(64 + 6 * words.length);
    const target = 64 + 4 * words.length;
    new Uint32Array(memory.shared, 64, words.length).set(words);
    convertToFloat16(
      pool,
      { memory, byteOffset: 64 },
      { memory, byteOffset: target },
      words.length,
    );
    return new Uint16Array(memory.shared, target, words.length).slice();
  }

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
    const got = convert(words);
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
    const count = 65536;
    const memory = new SharedMemory(64 + 6 * count);
    const halves = new Uint16Array(memory.shared, 64 + 4 * count, count);
    for (let i = 0; i < count; i++) halves[i] = i;
    convertToFloat32(
      pool,
      { memory, byteOffset: 64 + 4 * count },
      { memory, byteOffset: 64 },
      count,
    );
    const wanted = new Float32Array(count);
    float16ToFloat32(halves.slice(), wanted);
    expect(Float32Array.from(new Float32Array(memory.shared, 64, count))).toEqual(wanted);
  });
});
