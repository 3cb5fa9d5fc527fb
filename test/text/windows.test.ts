import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  WindowBatches,
  evaluationBatches,
  evaluationRowCount,
  IGNORED_TARGET,
  memoryTokens,
  SAMPLINGS,
  TextError,
  windowSampler,
} from "../../src/text/index.ts";
import type { BatchOptions, SamplerState, TokenView } from "../../src/text/index.ts";
import { permutation } from "../../src/text/permutation.ts";

const END = 9;

/** Tokens whose id is their position, so that a window shows where it came from. */
const numbered = (tokenCount: number): TokenView =>
  memoryTokens(Uint32Array.from({ length: tokenCount }, (_, index) => index));

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof TextError) return error.code;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("a permutation without memory", () => {
  it("visits every index once, whatever size, seed and epoch", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 700 }),
        fc.nat(2 ** 31),
        fc.nat(1000),
        (size, seed, epoch) => {
          const order = permutation(size, seed, epoch);
          const seen = new Set(Array.from({ length: size }, (_, index) => order(index)));
          expect(seen.size).toBe(size);
          expect(Math.max(...seen)).toBe(size - 1);
        },
      ),
    );
  });

  it("differs between epochs and between seeds, and has no index in a favoured place", () => {
    const first = (seed: number, epoch: number) => {
      const order = permutation(1000, seed, epoch);
      return Array.from({ length: 1000 }, (_, index) => order(index));
    };
    const same = (a: number[], b: number[]) =>
      a.filter((value, index) => value === b[index]).length;
    expect(same(first(1, 0), first(1, 1))).toBeLessThan(10);
    expect(same(first(1, 0), first(2, 0))).toBeLessThan(10);
    expect(same(first(1, 2), first(2, 1))).toBeLessThan(10);
    let sum = 0;
    for (let seed = 0; seed < 400; seed++) sum += permutation(1000, seed, 0)(0);
    // The mean of 400 uniform draws below 1000 lies within six standard errors of 499.5.
    expect(Math.abs(sum / 400 - 499.5)).toBeLessThan(6 * (1000 / Math.sqrt(12 * 400)));
  });

  it("works on sizes beyond 32 bits", () => {
    const size = 2 ** 40 + 12_345;
    const order = permutation(size, 7, 0);
    const seen = new Set(Array.from({ length: 1000 }, (_, index) => order(index)));
    expect(seen.size).toBe(1000);
    for (const value of seen) expect(value).toBeLessThan(size);
    expect(Math.max(...seen)).toBeGreaterThan(2 ** 38);
  });
});

describe("training batches", () => {
  const view = numbered(1003);
  const options = (more: Partial<BatchOptions> = {}): BatchOptions => ({
    sampling: "epochs",
    seed: 5,
    contextLength: 10,
    batchSize: 4,
    endOfText: 100,
    ...more,
  });

  it.each(SAMPLINGS)(
    "%s: targets are the inputs one position later, inside the data",
    (sampling) => {
      const source = new WindowBatches(view, options({ sampling }));
      for (let step = 0; step < 60; step++) {
        const batch = source.next();
        expect(batch.inputs).toHaveLength(40);
        expect(batch.validTargetCount).toBe(40);
        batch.inputs.forEach((id, index) => {
          expect(batch.targets[index]).toBe(id + 1);
          if (index % 10 > 0) expect(id).toBe((batch.inputs[index - 1] ?? 0) + 1);
        });
        expect(Math.max(...batch.targets)).toBeLessThan(1003);
      }
    },
  );

  it.each(SAMPLINGS)(
    "%s: stopped anywhere and restored from JSON, the batches go on bit for bit",
    (sampling) => {
      fc.assert(
        fc.property(fc.nat(70), (stop) => {
          const whole = new WindowBatches(view, options({ sampling }));
          for (let step = 0; step < stop; step++) whole.next();
          const state = JSON.parse(JSON.stringify(whole.state)) as SamplerState;
          const resumed = new WindowBatches(view, options({ sampling }), state);
          for (let step = 0; step < 40; step++) expect(resumed.next()).toEqual(whole.next());
          expect(resumed.state).toEqual(whole.state);
        }),
        { numRuns: 15 },
      );
    },
  );

  it("epochs: every window is seen once an epoch, in another order the next time", () => {
    const sampler = windowSampler(view, options());
    expect(sampler.windowsPerEpoch).toBe(100);
    const epoch = () => Array.from({ length: 100 }, () => sampler.next());
    const first = epoch();
    const second = epoch();
    for (const starts of [first, second]) {
      const sorted = starts.toSorted((a, b) => a - b);
      sorted.forEach((start, index) => expect(start - (sorted[0] ?? 0)).toBe(index * 10));
      expect(sorted[0]).toBeLessThan(3);
    }
    expect(first).not.toEqual(second);
    expect(sampler.state).toMatchObject({ epoch: 1, position: 100 });
  });

  it("random: starts are spread evenly over all places where a window fits", () => {
    const sampler = windowSampler(numbered(20), options({ sampling: "random", contextLength: 15 }));
    const counts = new Map<number, number>();
    for (let index = 0; index < 5000; index++) {
      const start = sampler.next();
      counts.set(start, (counts.get(start) ?? 0) + 1);
    }
    expect([...counts.keys()].toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4]);
    for (const count of counts.values())
      expect(Math.abs(count - 1000)).toBeLessThan(6 * Math.sqrt(800));
  });

  it("documents: windows begin at the end-of-text token before a document, and inside long ones", () => {
    const document = (length: number) => [...Array.from({ length }, () => 1), END];
    const ids = [...document(3), ...document(12), ...document(4), ...document(4)];
    const sampler = windowSampler(
      memoryTokens(Uint16Array.from(ids)),
      options({ sampling: "documents", contextLength: 5, endOfText: END }),
    );
    const starts = Array.from({ length: sampler.windowsPerEpoch }, () => sampler.next());
    expect(starts.toSorted((a, b) => a - b)).toEqual([0, 3, 8, 13, 16, 21]);
  });

  it("documents need a token that ends them", () => {
    expect(
      codeOf(() => windowSampler(view, options({ sampling: "documents", endOfText: undefined }))),
    ).toBe("text.sampling");
  });

  it("a corpus shorter than one window is refused, one of exactly one window is not", () => {
    for (const sampling of SAMPLINGS) {
      expect(codeOf(() => windowSampler(numbered(10), options({ sampling })))).toBe("text.short");
      expect(windowSampler(numbered(11), options({ sampling })).next()).toBe(0);
    }
  });

  it("a state of other data is refused, naming what differs", () => {
    const { state } = new WindowBatches(view, options());
    const resume = (changed: Partial<SamplerState>, now: Partial<BatchOptions> = {}) =>
      codeOf(() => new WindowBatches(view, options(now), { ...state, ...changed }));
    expect(resume({ tokenCount: 1004 })).toBe("text.resume");
    expect(resume({}, { contextLength: 11 })).toBe("text.resume");
    expect(resume({}, { sampling: "random" })).toBe("text.resume");
    expect(resume({}, { seed: 6 })).toBe("text.resume");
    expect(resume({ position: 101 })).toBe("text.resume");
    expect(resume({ epoch: -1 })).toBe("text.resume");
    expect(resume({ random: [1, 2, 3] as unknown as SamplerState["random"] })).toBe("text.resume");
  });

  it("impossible sizes are refused", () => {
    expect(codeOf(() => new WindowBatches(view, options({ batchSize: 0 })))).toBe("text.batch");
    expect(codeOf(() => new WindowBatches(view, options({ contextLength: 1.5 })))).toBe(
      "text.context",
    );
  });
});

describe("evaluation batches", () => {
  it.each([
    ["windows", undefined],
    ["documents", END],
  ])(
    "by %s: every token but the first is a target once, after its own neighbours",
    (_name, endOfText) => {
      const id = fc.integer({ min: 0, max: 9 });
      fc.assert(
        fc.property(
          fc.array(id, { minLength: 2, maxLength: 90 }),
          fc.integer({ min: 1, max: 12 }),
          fc.integer({ min: 1, max: 5 }),
          (ids, contextLength, batchSize) => {
            const view = memoryTokens(Uint16Array.from(ids));
            const options = { batchSize, contextLength, endOfText, padding: 77 };
            const targets: number[] = [];
            let valid = 0;
            let rows = 0;
            for (const batch of evaluationBatches(view, options)) {
              expect(batch.inputs).toHaveLength(batchSize * contextLength);
              expect(batch.targets).toHaveLength(batchSize * contextLength);
              valid += batch.validTargetCount;
              for (let row = 0; row < batchSize; row++) {
                const start = row * contextLength;
                if (batch.targets[start] !== IGNORED_TARGET) rows++;
                for (let at = start; at < start + contextLength; at++) {
                  const target = batch.targets[at] ?? 0;
                  if (target === IGNORED_TARGET) {
                    if (batch.inputs[at] !== 77) expect(batch.targets[at]).toBe(IGNORED_TARGET);
                    continue;
                  }
                  expect(batch.inputs[at]).toBe(ids[targets.length]);
                  targets.push(target);
                  if (endOfText !== undefined && at > start)
                    expect(batch.inputs[at]).not.toBe(endOfText);
                }
              }
            }
            expect(targets).toEqual(ids.slice(1));
            expect(valid).toBe(ids.length - 1);
            expect(evaluationRowCount(view, options)).toBe(rows);
          },
        ),
      );
    },
  );

  it("can stop early, and need two tokens", () => {
    const batches = [
      ...evaluationBatches(numbered(1000), { batchSize: 2, contextLength: 10, batchLimit: 3 }),
    ];
    expect(batches).toHaveLength(3);
    expect(batches.every((batch) => batch.validTargetCount === 20)).toBe(true);
    expect(
      codeOf(() => [...evaluationBatches(numbered(1), { batchSize: 2, contextLength: 10 })]),
    ).toBe("text.short");
  });
});
