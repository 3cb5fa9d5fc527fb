import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { roomAround, ticksBetween } from "../../src/util/plot/scale.ts";
import { downSample, lowerBound, smoothed } from "../../src/util/plot/down-sample.ts";

const curve = fc
  .array(fc.double({ noNaN: true, min: -1e6, max: 1e6 }), { minLength: 1, maxLength: 3000 })
  .map((y) => ({ x: y.map((_, index) => index * 3), y }));

describe("a curve sampled down", () => {
  it("is itself where it has few points", () => {
    expect(downSample([1, 2, 3], [4, 5, 6], { limit: 10 })).toEqual({ x: [1, 2, 3], y: [4, 5, 6] });
  });

  it("keeps the least and the greatest number, the ends, and the order, within its limit", () => {
    fc.assert(
      fc.property(curve, fc.integer({ min: 10, max: 400 }), ({ x, y }, limit) => {
        const sampled = downSample(x, y, { limit });
        const numbers = sampled.y.map(Number);
        expect(numbers.length).toBeLessThanOrEqual(Math.max(limit, 4));
        expect(Math.max(...numbers)).toBe(Math.max(...y));
        expect(Math.min(...numbers)).toBe(Math.min(...y));
        expect([sampled.x[0], sampled.x.at(-1)]).toEqual([x[0], x.at(-1)]);
        for (const [index, place] of sampled.x.entries()) {
          expect(sampled.y[index]).toBe(y[place / 3]);
          if (index > 0) expect(place).toBeGreaterThan(sampled.x[index - 1] ?? 0);
        }
      }),
      { numRuns: 60 },
    );
  });

  it("holds a part and the neighbours on both sides of it", () => {
    const x = Array.from({ length: 100 }, (_, index) => index);
    const { x: places } = downSample(x, x, { from: 10.5, to: 20, limit: 50 });
    expect(places).toEqual(Array.from({ length: 12 }, (_, index) => index + 10));
  });

  it("breaks where numbers are missing", () => {
    expect(downSample([1, 2, 3], [1, Number.NaN, 3], { limit: 10 }).y).toEqual([1, null, 3]);
    const y = Array.from({ length: 1000 }, (_, index) => (index === 500 ? Number.NaN : 1));
    const x = y.map((_, index) => index);
    expect(downSample(x, y, { limit: 50 }).y).toContain(null);
  });
});

describe("smoothing", () => {
  it("leaves a constant as it is, from its first point on", () => {
    expect(smoothed([2, 2, null, 2], 0.9).map((value) => value && Math.fround(value))).toEqual([
      2,
      2,
      null,
      2,
    ]);
  });

  it("does nothing at weight 0", () => {
    expect(smoothed([1, 5], 0)).toEqual([1, 5]);
  });
});

it("a number's place in a growing list is found", () => {
  expect([0, 1, 2, 5].map((value) => lowerBound([1, 2, 2, 4], value))).toEqual([0, 0, 1, 4]);
});

describe("an axis", () => {
  it("ends for any two numbers, those that differ by rounding alone included", () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.nat(3), (low, ulps) => {
        const high = low + ulps * Math.abs(low) * Number.EPSILON;
        const [from, to] = roomAround(Math.min(low, high), Math.max(low, high));
        expect(ticksBetween(from, to).length).toBeLessThanOrEqual(40);
        expect(ticksBetween(low, high).length).toBeLessThanOrEqual(40);
      }),
    );
  });

  it("has round numbers", () => {
    expect(ticksBetween(0.9, 5.3)).toEqual([1, 2, 3, 4, 5]);
    expect(ticksBetween(0, 0.0011)).toEqual([0, 0.0002, 0.0004, 0.0006, 0.0008, 0.001]);
  });
});
