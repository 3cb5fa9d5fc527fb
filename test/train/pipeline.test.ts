import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { halves, sumTree } from "../../src/engine/collective.ts";
import { mergesAfter } from "../../src/train/step/gradient-sums.ts";
import {
  balanceBlocks,
  fastestShares,
  pipelineTurns,
  slotCountOf,
  treeShares,
} from "../../src/cluster/index.ts";
import { divideBatches, parseShares, shareOf } from "../../src/train/run/batch-shares.ts";
import type { ReplicaShares } from "../../src/train/run/batch-shares.ts";
import { stageCosts } from "../../src/train/costs/stage-costs.ts";
import { plannedModel, resolveTrainConfig, trainedModel } from "../../src/train/index.ts";
import { measuredShares, speedNotice } from "../../src/train/run/speed-meter.ts";

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

  it("are more where a process is faster", () => {
    const blocks = Array.from({ length: 12 }, () => 1);
    expect(balanceBlocks({ embed: 0, blocks, head: 0 }, 2, [3, 1])).toEqual([0, 9]);
    expect(balanceBlocks({ embed: 0, blocks, head: 3 }, 3, [1, 2, 2])).toEqual([0, 3, 9]);
  });

  it("cost what the cost model says where the engine has a chip, and their operations elsewhere", () => {
    const values = { layers: 3, hidden_size: 64, heads: 4, vocab_size: 512, max_seq_length: 32 };
    const { config } = resolveTrainConfig({}, [{ origin: "test", values }]);
    const model = trainedModel(config, plannedModel(config));
    const on = (name: string, device: string) => stageCosts(config, model, { name, device });
    const cpu = on("cpu", "a processor");
    expect(cpu.basis).toBe("floating-point operations");
    const m4 = on("sim:m4", "a processor");
    expect(m4.basis).toBe("the cost model of M4");
    expect(on("ane", "Apple M4, Neural Engine")).toEqual(m4);
    const share = ({ costs }: typeof m4): number => costs.head / (costs.blocks[0] ?? NaN);
    expect(m4.costs.blocks).toHaveLength(3);
    expect(share(m4)).not.toBeCloseTo(share(cpu), 2);
  });

  it("give the process with the head fewer of them, and are refused where there are too few", () => {
    const blocks = Array.from({ length: 12 }, () => 1);
    const [, , , last = 0] = balanceBlocks({ embed: 0, blocks, head: 2 }, 4);
    expect(blocks.length - last).toBeLessThan(3);
    expect(() => balanceBlocks({ embed: 0, blocks: [1, 1], head: 1 }, 3)).toThrow(/2 or less/);
  });
});

const replicas = (...weights: readonly number[]): ReplicaShares => ({ kind: "replicas", weights });

describe("an update's micro-batches", () => {
  it("are divided as speeds say, none without one, all of them", () => {
    const sizes = { batch_size: 4, gradient_accumulation_steps: 8 };
    expect(divideBatches(sizes, 2)).toEqual({ rowCount: 4, microBatches: [4, 4] });
    expect(divideBatches(sizes, 2, replicas(3, 1))).toEqual({ rowCount: 4, microBatches: [6, 2] });
    expect(divideBatches(sizes, 3, replicas(100, 1, 1))).toEqual({
      rowCount: 4,
      microBatches: [6, 1, 1],
    });
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
            replicas(...weights),
          );
          expect(microBatches.reduce((sum, value) => sum + value, 0)).toBe(count);
          expect(Math.min(...microBatches)).toBeGreaterThanOrEqual(1);
        },
      ),
    );
  });

  it("are divided by pipelines or by processes, and words that say neither are refused", () => {
    const four = { replicaCount: 2, stageCount: 2 };
    expect(parseShares("auto", four)).toEqual({ kind: "auto" });
    expect(parseShares("3,1", four)).toEqual({ kind: "replicas", weights: [3, 1] });
    expect(parseShares("3,1,3,1", four)).toEqual({ kind: "processes", weights: [3, 1, 3, 1] });
    for (const text of ["3", "3,0", "fast", "3,Infinity", "1,1,1"])
      expect(() => parseShares(text, four)).toThrow(/2 \(a pipeline\) or 4 \(a process\) numbers/);
  });

  it("as measured end as soon as any division does", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 4 }),
        fc.nat({ max: 6 }),
        (eachMs, more) => {
          const count = eachMs.length + more;
          const endOf = (shares: readonly number[]): number =>
            Math.max(...shares.map((share, i) => share * (eachMs[i] ?? 0)));
          const every = (left: number, members: number): number[][] =>
            members === 1
              ? [[left]]
              : Array.from({ length: left - members + 1 }, (_, i) => i + 1).flatMap((first) =>
                  every(left - first, members - 1).map((rest) => [first, ...rest]),
                );
          const found = fastestShares(count, eachMs);
          expect(found.reduce((sum, share) => sum + share, 0)).toBe(count);
          expect(endOf(found)).toBe(Math.min(...every(count, eachMs.length).map(endOf)));
        },
      ),
    );
    // A pipeline is as fast as its slowest process.
    const measured = { eachMs: [10, 10, 10, 30], stageCount: 2 };
    expect(measuredShares(8, measured)).toEqual([6, 2]);
    expect(speedNotice([6, 2], measured)).toContain("pipelines take 6, 2 of an update");
  });

  it("are whole branches of the tree of sums where bits are promised, or refused", () => {
    const sizes = { batch_size: 4, gradient_accumulation_steps: 6, sum_order: "tree" } as const;
    expect(divideBatches(sizes, 4).microBatches).toEqual([2, 1, 2, 1]);
    expect(divideBatches(sizes, 2, replicas(5, 5)).microBatches).toEqual([3, 3]);
    expect(() => divideBatches(sizes, 2, replicas(2, 1))).toThrow(/the tree has 3, 3/);
    expect(() => divideBatches(sizes, 2, { kind: "auto" })).toThrow(/branch of its tree/);
    expect(() => divideBatches(sizes, 8)).toThrow(/6 micro-batches are too few for 8 processes/);
    expect(() => divideBatches({ ...sizes, sum_order: "serial" }, 6, { kind: "auto" })).toThrow(
      /nothing to divide/,
    );
  });

  it("know where in an update they stand", () => {
    const sizes = { batch_size: 4, gradient_accumulation_steps: 5 };
    const shares = divideBatches(sizes, 2);
    expect(shareOf(shares, sizes, 1)).toEqual({ first: 3, count: 2, partCount: 1 });
    const few = { batch_size: 4, gradient_accumulation_steps: 2 };
    expect(shareOf(divideBatches(few, 4), few, 3)).toEqual({ first: 3, count: 1, partCount: 2 });
  });

  it("are added in one tree, however many processes share them", () => {
    const terms = (count: number): Float32Array[] =>
      Array.from({ length: count }, (_, i) => Float32Array.of(Math.sin(i * 7.1) * 10 ** (i % 5)));
    for (const count of [1, 2, 3, 4, 5, 8, 12]) {
      const whole = terms(count);
      sumTree(whole);
      for (const size of [1, 2, 3, 4, 7]) {
        if (size > count) continue;
        let first = 0;
        const parts = treeShares(count, size).map((share) => {
          const own = terms(count).slice(first, first + share);
          first += share;
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
