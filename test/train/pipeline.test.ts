import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { halves, sumTree } from "../../src/engine/collective.ts";
import { mergesAfter } from "../../src/train/step/gradient-sums.ts";
import { balanceBlocks } from "../../src/train/step/pipeline-balance.ts";
import { pipelineTurns, slotCountOf } from "../../src/cluster/index.ts";
import { divideBatches, parseShares } from "../../src/train/run/batch-shares.ts";

describe("one forward, one backward", () => {
  it("runs every micro-batch once each way, in order, and never holds more than its slots", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 20 }),
        (stageCount, batchCount) => {
          for (let stage = 0; stage < stageCount; stage++) {
            const turns = pipelineTurns(stage, stageCount, batchCount);
            const order = (kind: string): readonly number[] =>
              turns.filter((turn) => turn.kind === kind).map(({ batch }) => batch);
            const all = Array.from({ length: batchCount }, (_, batch) => batch);
            expect(order("forward")).toEqual(all);
            expect(order("backward")).toEqual(all);
            let held = 0;
            for (const { kind, batch } of turns) {
              held += kind === "forward" ? 1 : -1;
              expect(held).toBeGreaterThanOrEqual(0);
              expect(held).toBeLessThanOrEqual(slotCountOf(stage, stageCount, batchCount));
              // Its forward pass came first.
              if (kind === "backward")
                expect(
                  turns.findIndex((turn) => turn.batch === batch && turn.kind === "forward"),
                ).toBeLessThan(
                  turns.findIndex((turn) => turn.batch === batch && turn.kind === "backward"),
                );
            }
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it("ends for every stage, whatever the others wait for", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 8 }),
        fc.integer({ min: 1, max: 12 }),
        (stageCount, batchCount) => {
          const left = Array.from({ length: stageCount }, (_, stage) => [
            ...pipelineTurns(stage, stageCount, batchCount),
          ]);
          const done = new Set<string>();
          for (let moved = true; moved;) {
            moved = false;
            left.forEach((turns, stage) => {
              const [next] = turns;
              if (next === undefined) return;
              const { kind, batch } = next;
              const needs =
                kind === "forward"
                  ? stage === 0 || done.has(`forward ${stage - 1} ${batch}`)
                  : stage === stageCount - 1 || done.has(`backward ${stage + 1} ${batch}`);
              if (!needs) return;
              done.add(`${kind} ${stage} ${batch}`);
              turns.shift();
              moved = true;
            });
          }
          expect(left.flat()).toEqual([]);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe("blocks over processes", () => {
  it("are divided so that no other division has a cheaper dearest process", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 7 }),
        fc.nat({ max: 9 }),
        fc.nat({ max: 30 }),
        fc.integer({ min: 1, max: 4 }),
        (blocks, embed, head, wanted) => {
          const stageCount = Math.min(wanted, blocks.length);
          const worst = (firsts: readonly number[]): number =>
            Math.max(
              ...firsts.map((first, stage) => {
                const end = firsts[stage + 1] ?? blocks.length;
                const sum = blocks.slice(first, end).reduce((total, cost) => total + cost, 0);
                return sum + (first === 0 ? embed : 0) + (end === blocks.length ? head : 0);
              }),
            );
          const every = (from: number, count: number): number[][] =>
            count === 0
              ? [[]]
              : Array.from({ length: blocks.length - from }, (_, i) => from + i).flatMap((first) =>
                  every(first + 1, count - 1).map((rest) => [first, ...rest]),
                );
          const best = Math.min(...every(1, stageCount - 1).map((rest) => worst([0, ...rest])));
          const found = balanceBlocks({ embed, blocks, head }, stageCount);
          expect(found).toHaveLength(stageCount);
          expect(found[0]).toBe(0);
          expect(worst(found)).toBe(best);
        },
      ),
    );
  });

  it("give the process with the head fewer of them, and are refused where there are too few", () => {
    const blocks = Array.from({ length: 12 }, () => 1);
    const [, , , last = 0] = balanceBlocks({ embed: 0, blocks, head: 2 }, 4);
    expect(blocks.length - last).toBeLessThan(3);
    expect(() => balanceBlocks({ embed: 0, blocks: [1, 1], head: 1 }, 3)).toThrow(/2 or less/);
  });
});

describe("an update's micro-batches", () => {
  it("are divided as speeds say, none without one, all of them", () => {
    const sizes = { batch_size: 4, gradient_accumulation_steps: 8 };
    expect(divideBatches(sizes, 2)).toEqual({ rowCount: 4, microBatches: [4, 4] });
    expect(divideBatches(sizes, 2, [3, 1])).toEqual({ rowCount: 4, microBatches: [6, 2] });
    expect(divideBatches(sizes, 3, [100, 1, 1])).toEqual({ rowCount: 4, microBatches: [6, 1, 1] });
    expect(divideBatches({ ...sizes, gradient_accumulation_steps: 1 }, 4)).toEqual({
      rowCount: 1,
      microBatches: [1, 1, 1, 1],
    });
    expect(() => divideBatches({ ...sizes, gradient_accumulation_steps: 1 }, 3)).toThrow(
      /which 3 processes cannot share evenly/,
    );
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0.1, max: 9, noNaN: true }), { minLength: 1, maxLength: 9 }),
        fc.nat({ max: 40 }),
        (weights, more) => {
          const count = weights.length + more;
          const { microBatches } = divideBatches(
            { batch_size: 1, gradient_accumulation_steps: count },
            weights.length,
            weights,
          );
          expect(microBatches.reduce((sum, value) => sum + value, 0)).toBe(count);
          expect(Math.min(...microBatches)).toBeGreaterThanOrEqual(1);
        },
      ),
    );
    expect(parseShares("3,1", 2)).toEqual([3, 1]);
    expect(() => parseShares("3", 2)).toThrow(/2 numbers above 0/);
  });

  it("are added in one tree, however many processes share them", () => {
    const terms = (count: number): Float32Array[] =>
      Array.from({ length: count }, (_, i) => Float32Array.of(Math.sin(i * 7.1) * 10 ** (i % 5)));
    for (const count of [1, 2, 3, 4, 5, 8, 12]) {
      const whole = terms(count);
      sumTree(whole);
      for (const size of [1, 2, 4]) {
        if (count % size !== 0) continue;
        const parts = Array.from({ length: size }, (_, member) => {
          const own = terms(count).slice((member * count) / size, ((member + 1) * count) / size);
          const kept: Float32Array[] = [];
          const merges = mergesAfter(own.length);
          let sum: Float32Array = Float32Array.of(0);
          own.forEach((term, i) => {
            sum = term;
            for (let merge = merges[i] ?? 0; merge > 0; merge--) {
              const left = kept.pop() ?? Float32Array.of(NaN);
              sum = Float32Array.of((left[0] ?? NaN) + (sum[0] ?? NaN));
            }
            kept.push(sum);
          });
          return sum;
        });
        sumTree(parts);
        expect(parts[0]).toEqual(whole[0]);
      }
    }
    expect(halves(5)).toEqual([3, 2]);
  });
});
