import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SCHEDULES, learningRateAt, resolveWarmupSteps } from "../../src/train/step/schedule.ts";

const NANOGPT = {
  kind: "cosine",
  learningRate: 1e-3,
  minimumLearningRate: 1e-4,
  warmupSteps: 100,
  maxSteps: 2000,
} as const;

describe("the learning rate", () => {
  it("is nanoGPT's: a linear climb, then a cosine down to the minimum", () => {
    expect(learningRateAt(NANOGPT, 0)).toBeCloseTo(1e-3 / 101, 12);
    expect(learningRateAt(NANOGPT, 99)).toBeCloseTo(1e-3 * (100 / 101), 12);
    expect(learningRateAt(NANOGPT, 100)).toBeCloseTo(1e-3, 12);
    expect(learningRateAt(NANOGPT, 1050)).toBeCloseTo(5.5e-4, 12);
    expect(learningRateAt(NANOGPT, 2000)).toBeCloseTo(1e-4, 12);
    expect(learningRateAt(NANOGPT, 9999)).toBeCloseTo(1e-4, 12);
  });

  it("never leaves the range from 0 to the peak and never rises after warm-up", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...SCHEDULES),
        fc.integer({ min: 0, max: 50 }),
        fc.integer({ min: 1, max: 200 }),
        (kind, warmupSteps, maxSteps) => {
          const schedule = { ...NANOGPT, kind, warmupSteps, maxSteps };
          let last = Infinity;
          for (let step = 0; step < maxSteps; step++) {
            const rate = learningRateAt(schedule, step);
            expect(rate).toBeGreaterThan(0);
            expect(rate).toBeLessThanOrEqual(1e-3 + 1e-15);
            if (step > warmupSteps) expect(rate).toBeLessThanOrEqual(last + 1e-15);
            last = rate;
          }
        },
      ),
    );
  });

  it("reads a warm-up below 1 as a share of all steps", () => {
    expect(resolveWarmupSteps(0.1, 500)).toBe(50);
    expect(resolveWarmupSteps(7, 500)).toBe(7);
    expect(resolveWarmupSteps(0, 500)).toBe(0);
  });
});
