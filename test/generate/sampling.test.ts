import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Random } from "../../src/util/random.ts";
import { GREEDY, checkSampling, sampleToken } from "../../src/generate/sampling.ts";
import type { SamplingOptions } from "../../src/generate/sampling.ts";

const PLAIN: SamplingOptions = { ...GREEDY, temperature: 1 };

function frequencies(logits: readonly number[], options: SamplingOptions, seen: number[] = []) {
  const random = new Random(7);
  const counts = logits.map(() => 0);
  for (let draw = 0; draw < 20_000; draw++) {
    const token = sampleToken(Float32Array.from(logits), options, random, seen);
    counts[token] = (counts[token] ?? 0) + 1;
  }
  return counts.map((count) => count / 20_000);
}

describe("sampling", () => {
  it("takes the most likely token at temperature 0", () => {
    expect(sampleToken(Float32Array.of(0, 3, 1), GREEDY, new Random(1))).toBe(1);
  });

  it("takes the first of the likeliest wherever it stands, and finds a broken score anywhere", () => {
    const scores = fc.array(fc.constantFrom(-Infinity, -2, -0.5, -0, 0, 0.5, 3), {
      minLength: 1,
      maxLength: 21,
    });
    fc.assert(
      fc.property(scores, fc.nat(), fc.constantFrom(NaN, Infinity), (given, at, broken) => {
        const logits = Float32Array.from(given);
        const first = given.findIndex((score) => score === Math.max(...given));
        expect(sampleToken(logits, GREEDY, new Random(1))).toBe(first);
        const place = at % given.length;
        logits[place] = broken;
        expect(() => sampleToken(logits, GREEDY, new Random(1))).toThrow(
          `the score of token ${place} is ${broken}`,
        );
      }),
    );
  });

  it("draws tokens as often as the softmax says", () => {
    const [a = 0, b = 0, c = 0] = frequencies([Math.log(6), Math.log(3), Math.log(1)], PLAIN);
    expect(a).toBeCloseTo(0.6, 1);
    expect(b).toBeCloseTo(0.3, 1);
    expect(c).toBeCloseTo(0.1, 1);
  });

  it("sharpens with a temperature below 1", () => {
    const [a = 0] = frequencies([Math.log(2), 0], { ...PLAIN, temperature: 0.5 });
    expect(a).toBeCloseTo(0.8, 1);
  });

  it("never draws outside the k most likely, the top-p set or the min-p set", () => {
    const logits = [0.5, 0.3, 0.15, 0.05].map(Math.log);
    expect(frequencies(logits, { ...PLAIN, topK: 2 }).slice(2)).toEqual([0, 0]);
    expect(frequencies(logits, { ...PLAIN, topP: 0.8 }).slice(2)).toEqual([0, 0]);
    expect(frequencies(logits, { ...PLAIN, topP: 0.81 })[3]).toBe(0);
    expect(frequencies(logits, { ...PLAIN, minP: 0.25 })[3]).toBe(0);
    expect(frequencies(logits, { ...PLAIN, minP: 0.25 })[2]).toBeGreaterThan(0);
  });

  it("makes tokens seen before less likely", () => {
    const plain = frequencies([2, 2], PLAIN)[0] ?? 0;
    const punished = frequencies([2, 2], { ...PLAIN, repetitionPenalty: 2 }, [0])[0] ?? 0;
    expect(plain).toBeCloseTo(0.5, 1);
    expect(punished).toBeCloseTo(1 / (1 + Math.E), 1);
  });

  it("gives the same tokens for the same seed", () => {
    const draw = () => {
      const random = new Random(42);
      return Array.from({ length: 20 }, () =>
        sampleToken(Float32Array.of(1, 1, 1, 1), PLAIN, random),
      );
    };
    expect(draw()).toEqual(draw());
  });

  /** As the first version did it: every id, sorted by a comparison. */
  function slowSample(
    scores: Float32Array,
    topK: number,
    random: Random,
    { topP, minP }: Pick<SamplingOptions, "topP" | "minP"> = PLAIN,
  ): number {
    const ids = Array.from(scores.keys());
    ids.sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0) || a - b);
    let kept = topK > 0 ? ids.slice(0, topK) : ids;
    const highest = scores[kept[0] ?? 0] ?? 0;
    const weightOf = (token: number): number => Math.exp((scores[token] ?? 0) - highest);
    const total = kept.reduce((sum, token) => sum + weightOf(token), 0);
    let reached = 0;
    kept = kept.filter((token) => {
      const isIn = topP === 1 || reached < topP * total;
      reached += weightOf(token);
      return isIn;
    });
    kept = kept.filter((token, index) => index === 0 || weightOf(token) >= minP);
    const weights = kept.map(weightOf);
    let threshold = 0;
    for (const weight of weights) threshold += weight;
    threshold *= random.uniform();
    for (const [index, weight] of weights.entries()) {
      threshold -= weight;
      if (threshold < 0) return kept[index] ?? 0;
    }
    return kept.at(-1) ?? 0;
  }

  it("draws what sorting the whole vocabulary draws, ties, zeros of both signs and ruled out tokens too", () => {
    const score = fc.oneof(
      fc.constantFrom(0, -0, 1, -1, 1.5, -Infinity),
      fc.float({ min: -20, max: 20, noNaN: true }),
    );
    fc.assert(
      fc.property(
        fc.array(score, { minLength: 1, maxLength: 60 }),
        fc.integer({ min: 0, max: 70 }),
        fc.integer({ min: 0, max: 1000 }),
        (scores, topK, seed) => {
          fc.pre(scores.some((value) => value > -Infinity));
          const logits = Float32Array.from(scores);
          expect(sampleToken(logits, { ...PLAIN, topK }, new Random(seed))).toBe(
            slowSample(logits, topK, new Random(seed)),
          );
        },
      ),
    );
  });

  it("draws the same where few tokens decide and where thousands do", () => {
    const random = new Random(3);
    const settings = [{}, { topP: 0.5 }, { topP: 0.999 }, { minP: 0.02 }, { topP: 0.9, minP: 0.3 }];
    for (const sharpness of [0, 0.5, 4]) {
      const logits = Float32Array.from({ length: 5000 }, () => random.normal() * sharpness);
      for (const setting of settings) {
        const options = { ...PLAIN, ...setting };
        for (let seed = 0; seed < 12; seed++)
          expect([
            sharpness,
            setting,
            seed,
            sampleToken(logits, options, new Random(seed)),
          ]).toEqual([sharpness, setting, seed, slowSample(logits, 0, new Random(seed), options)]);
      }
    }
  });

  it("refuses scores that are no numbers or infinite, instead of drawing the first token", () => {
    for (const broken of [NaN, Infinity]) {
      for (const options of [GREEDY, PLAIN])
        expect(() => sampleToken(Float32Array.of(1, broken, 2), options, new Random(1))).toThrow(
          `the score of token 1 is ${broken}`,
        );
    }
    expect(sampleToken(Float32Array.of(-Infinity, 2), GREEDY, new Random(1))).toBe(1);
  });

  it("refuses settings out of range by name", () => {
    expect(() => checkSampling({ ...PLAIN, topP: 0 })).toThrow(/top_p is 0/);
    expect(() => checkSampling({ ...PLAIN, temperature: -1 })).toThrow(/temperature is -1/);
  });
});
