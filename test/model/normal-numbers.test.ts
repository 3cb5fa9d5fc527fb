import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { drawNormals } from "../../src/model/draw-weights.ts";
import { initialiseAll } from "../../src/model/initialise.ts";
import { NormalNumbers, normalModule } from "../../src/model/normal-numbers.ts";
import { tensorType } from "../../src/mil/types.ts";
import { Random } from "../../src/util/random.ts";

/** The same numbers one at a time, as the language's own `Math.log` gives them. */
function plainNormals(random: Random, standardDeviation: number, count: number): Float32Array {
  const numbers = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    let x = 0;
    let y = 0;
    let square = 0;
    do {
      x = random.uint32() / 2147483648 - 1;
      y = random.uint32() / 2147483648 - 1;
      square = x * x + y * y;
    } while (square >= 1 || square === 0);
    const scale = standardDeviation * Math.sqrt((-2 * Math.log(square)) / square);
    numbers[i] = x * scale;
    if (i + 1 < count) numbers[i + 1] = y * scale;
  }
  return numbers;
}

const shared = (length: number): Float32Array =>
  new Float32Array(new SharedArrayBuffer(4 * length));

describe("fresh weights", () => {
  it("are those of the polar method bit for bit, for any seed, length and deviation", () => {
    const numbers = new NormalNumbers(normalModule());
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        fc.integer({ min: 1, max: 20_000 }),
        fc.double({ min: 1e-3, max: 10, noNaN: true }),
        (seed, length, deviation) => {
          const target = new Float32Array(length);
          numbers.fill(new Random(seed).state, deviation, target);
          expect(target).toEqual(plainNormals(new Random(seed), deviation, length));
        },
      ),
      { numRuns: 40 },
    );
  });

  it("keep their bits over ten million numbers, where logarithms next to powers of two come up", () => {
    const target = new Float32Array(10_000_001);
    new NormalNumbers(normalModule()).fill(new Random(7).state, 0.02, target);
    const plain = plainNormals(new Random(7), 0.02, target.length);
    expect(Buffer.from(target.buffer).equals(Buffer.from(plain.buffer))).toBe(true);
  });

  it("are the same for one thread and for three, in shared memory and outside it", () => {
    const weights = [3_000_000, 5_000_001, 7, 4_000_000].map((length, index) => ({
      name: `w${index}`,
      type: tensorType("fp32", [length]),
      length,
      initialisation: { kind: "normal", standardDeviation: 0.02 } as const,
    }));
    const drawn = [1, 3].map((threads) => {
      const fresh = weights.map(({ length, ...weight }) => ({
        weight: { ...weight, decays: true, borrowed: false, parameter: weight.name },
        seed: 11,
        target: shared(length),
      }));
      initialiseAll(fresh, threads);
      return fresh.map(({ target }) => target);
    });
    const bytes = drawn.map((arrays) =>
      arrays.map(({ buffer, byteLength }) => Buffer.from(buffer, 0, byteLength)),
    );
    const [one = [], three = []] = bytes;
    expect(one.map((array, index) => array.equals(three[index] ?? Buffer.alloc(0)))).toEqual([
      ...[true, true, true, true],
    ]);
    expect(drawn[1]?.[3]?.at(-1)).not.toBe(0);
    const outside = new Float32Array(7);
    const { state } = new Random(3);
    drawNormals([{ state, standardDeviation: 1, target: outside }], 3);
    expect(outside).toEqual(plainNormals(new Random(3), 1, 7));
  });
});
