import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { halfBytes, readHalves, writeHalves } from "../../src/cluster/mpi/wire.ts";
import { ScaledHalves } from "../../src/engine/host/scaled-halves.ts";
import { roundToFloat16 } from "../../src/util/float16.ts";

const HALVES = new ScaledHalves();

describe("fp16 on the wire", () => {
  it("is the nearest half to numbers times a power of two, and what is lost is the rest of them", () => {
    const number = fc
      .tuple(fc.double({ noNaN: true, min: -1, max: 1 }), fc.integer({ min: -30, max: 0 }))
      .map(([value, power]) => value * 2 ** power);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(number, number), { maxLength: 70 }),
        fc.nat({ max: 70 }),
        fc.integer({ min: -100, max: 100 }),
        (pairs, cut, power) => {
          const unit = 2 ** power;
          const given = Float32Array.from(pairs, ([value]) => value * unit);
          const before = Float32Array.from(pairs, ([, rest]) => rest * unit);
          const numbers = given.slice();
          const lost = before.slice();
          const target = new Uint8Array(halfBytes(given.length));
          if (given.length === 0) return;
          // In two parts, one of which keeps nothing.
          const at = Math.min(cut, given.length);
          const parts = [
            { numbers: numbers.subarray(0, at), lost: lost.subarray(0, at) },
            { numbers: numbers.subarray(at), lost: undefined },
          ];
          writeHalves(HALVES, parts, target);
          const read = new Float32Array(given.length);
          readHalves(HALVES, target, read);
          expect(read).toEqual(numbers);
          const whole = given.map((value, i) => (i < at ? value + (before[i] ?? 0) : value));
          const largest = whole.reduce((size, value) => Math.max(size, Math.abs(value)), 0);
          const exponent = largest > 0 ? Math.floor(Math.log2(largest)) : 14;
          const scale = 2 ** Math.max(-126, Math.min(126, 14 - exponent));
          whole.forEach((value, i) => {
            expect(read[i]).toBe(Math.fround(roundToFloat16(value * scale) / scale));
            if (i < at) expect(lost[i]).toBe(Math.fround(value - (read[i] ?? 0)));
            else expect(lost[i]).toBe(before[i]);
          });
        },
      ),
      { numRuns: 300 },
    );
  });

  it("carries what is not finite as such, and then nothing is kept", () => {
    for (const bad of [Infinity, -Infinity, NaN]) {
      const numbers = new Float32Array(20_000).fill(0.1);
      numbers[12_345] = bad;
      const lost = new Float32Array(20_000).fill(1e-5);
      const target = new Uint8Array(halfBytes(numbers.length));
      writeHalves(HALVES, [{ numbers, lost }], target);
      const read = new Float32Array(20_000);
      readHalves(HALVES, target, read);
      expect(read[12_345]).toBe(bad);
      expect(lost.every((value) => value === 0)).toBe(true);
    }
  });
});
