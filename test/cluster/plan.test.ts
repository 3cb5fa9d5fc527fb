import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { simulate } from "../../src/cluster/plan/events.ts";
import { exchangeMs, linkNamed, simulateStep } from "../../src/cluster/index.ts";
import type { ClusterStep } from "../../src/cluster/index.ts";
import { resolveTrainConfig } from "../../src/train/index.ts";
import { planCluster, priceMachines } from "../../src/train/index.ts";

const LINK = linkNamed("8gbit:0ms");
const STEP: ClusterStep = {
  blockCount: 8,
  times: {
    ...{ embedForward: 0, blockForward: 1, blockBackward: 2, head: 0, embedBackward: 0 },
    ...{ blockUpdate: 0, embedUpdate: 0, headUpdate: 0 },
  },
  bytes: {
    ...{
      blockGradient: 0,
      embedGradient: 0,
      headGradient: 0,
      blockWeights: 10,
      blockOptimizer: 20,
    },
    ...{ endWeights: 0, endOptimizer: 0, blockTaps: 1, transient: 0, hidden: 0 },
  },
  ...{ stageCount: 1, replicaCount: 1, isSharded: false, wire: "fp32", batchCount: 8 },
  link: { ...LINK, messageMs: 0 },
  hostNsPerNumber: 0,
};

describe("a simulated step", () => {
  it("of one machine takes what its parts take", () => {
    expect(simulateStep(STEP)).toMatchObject({ stepMs: 8 * 24, bubbleMs: 0, exposedMs: 0 });
  });

  it("of a pipeline has the bubble of one forward, one backward: (P - 1) / (M + P - 1)", () => {
    for (const stageCount of [2, 4, 8]) {
      const { stepMs, bubbleMs } = simulateStep({ ...STEP, stageCount });
      const perBatch = 24 / stageCount;
      expect(stepMs).toBeCloseTo((8 + stageCount - 1) * perBatch, 6);
      expect(bubbleMs / stepMs).toBeCloseTo((stageCount - 1) / (8 + stageCount - 1), 6);
    }
  });

  it("hides exchanges beside the backward pass as far as it lasts", () => {
    // 1 MB a block: 1 ms each way at 8 Gbit/s and two members, half of the bytes twice.
    const bytes = { ...STEP.bytes, blockGradient: 1e6 };
    const step = simulateStep({ ...STEP, bytes, replicaCount: 2, batchCount: 16 });
    expect(exchangeMs(1e6, 2, STEP.link).ms).toBeCloseTo(0.5, 9);
    expect(step.linkMs).toBeCloseTo(8, 6);
    // All but the last block's.
    expect(step.exposedMs).toBeCloseTo(1, 6);
    const slow = simulateStep({
      ...{ ...STEP, bytes, replicaCount: 2, batchCount: 16 },
      link: { ...STEP.link, bytesPerMs: 1e5 },
    });
    expect(slow.linkMs).toBeCloseTo(80, 6);
    expect(slow.exposedMs).toBeCloseTo(80 - 14, 6);
    const half = simulateStep({ ...STEP, bytes, replicaCount: 2, batchCount: 16, wire: "fp16" });
    expect(half.linkMs).toBeCloseTo(4, 6);
    // What rounding lost is kept beside every gradient.
    expect(half.memoryBytes).toBe(step.memoryBytes + 8 * 1e6);
  });

  it("needs less memory where the optimizer's state is shared, and keeps more micro-batches at the first stage", () => {
    const alone = simulateStep(STEP).memoryBytes;
    expect(simulateStep({ ...STEP, replicaCount: 4, isSharded: true }).memoryBytes).toBe(
      alone - 8 * 15,
    );
    expect(simulateStep({ ...STEP, stageCount: 2 }).memoryBytes).toBe(4 * 30 + 4 * 2);
  });

  it("never runs two things at once on one resource, nor anything before what it waits for", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(1, 2, 4),
        fc.constantFrom(1, 2, 3),
        fc.integer({ min: 1, max: 9 }),
        fc.boolean(),
        (stageCount, replicaCount, batches, isSharded) => {
          const bytes = { ...STEP.bytes, blockGradient: 3e6, embedGradient: 1e6, hidden: 1e5 };
          const { tasks } = simulateStep({
            ...{ ...STEP, stageCount, replicaCount, bytes, isSharded },
            batchCount: batches * replicaCount,
          });
          const ends = new Map(tasks.map(({ id, endMs }) => [id, endMs]));
          const free = new Map<string, number>();
          for (const { resource, startMs, endMs, after } of tasks) {
            expect(startMs).toBeGreaterThanOrEqual(free.get(resource) ?? 0);
            free.set(resource, endMs);
            for (const id of after)
              expect(startMs).toBeGreaterThanOrEqual(ends.get(id) ?? Infinity);
          }
        },
      ),
      { numRuns: 40 },
    );
    expect(() =>
      simulate([
        { id: "a", resource: "compute 0", ms: 1, after: ["b"], label: "", kind: "update" },
      ]),
    ).toThrow("wait for each other");
  });
});

describe("a simulated step of machines that differ", () => {
  const slow = {
    ...STEP.times,
    ...{ blockForward: 3 * STEP.times.blockForward, blockBackward: 3 * STEP.times.blockBackward },
  };

  it("gives each as many micro-batches as it can do, and ends with the slowest", () => {
    const machines = [STEP.times, slow, slow];
    const step = simulateStep({ ...STEP, replicaCount: 3, batchCount: 10, machines });
    expect(step.arrangement.shares).toEqual([6, 2, 2]);
    expect(step.stepMs).toBe(6 * 24);
    // Two of the three do the same.
    expect(step.arrangement.kinds.map(({ replicaCount }) => replicaCount)).toEqual([1, 2]);
    const uneven = simulateStep({ ...STEP, replicaCount: 3, batchCount: 10 });
    expect(uneven.arrangement.shares).toEqual([4, 3, 3]);
    expect(uneven.stepMs).toBe(4 * 24);
  });

  it("makes sums wait for the slowest, and gives a slow stage fewer blocks", () => {
    const bytes = { ...STEP.bytes, blockGradient: 1e6 };
    const machines = [STEP.times, slow];
    const step = simulateStep({ ...STEP, bytes, replicaCount: 2, batchCount: 5, machines });
    expect(step.arrangement.shares).toEqual([4, 1]);
    // The fast one's fourth micro-batch ends at 96 ms, the slow one's only one at 72; one block's sum is left.
    expect(step.stepMs).toBeCloseTo(96 + 1, 6);
    const piped = simulateStep({ ...STEP, stageCount: 2, machines });
    expect(piped.arrangement.firsts).toEqual([0, 6]);
  });

  it("is the step of like machines where they are alike", () => {
    for (const stageCount of [1, 2])
      for (const isSharded of [false, true]) {
        const bytes = { ...STEP.bytes, blockGradient: 2e6, embedGradient: 1e6, hidden: 1e5 };
        const like = { ...STEP, bytes, stageCount, isSharded, replicaCount: 2, batchCount: 8 };
        const machines = Array.from({ length: 2 * stageCount }, () => ({ ...STEP.times }));
        const { tasks: _, arrangement: __, ...found } = simulateStep({ ...like, machines });
        expect(simulateStep(like)).toMatchObject(found);
      }
  });
});

describe("links", () => {
  it("have names, or a rate and a latency; a wrong name suggests the nearest", () => {
    expect(linkNamed("10gbe").bytesPerMs).toBeCloseTo((1.25e6 * 1448) / 1538, 0);
    expect(linkNamed("800mbit:1.5ms")).toMatchObject({ bytesPerMs: 1e5, latencyMs: 1.5 });
    expect(() => linkNamed("10gb")).toThrow(/10gbe/);
  });
});

describe("a plan of machines", () => {
  it("shards what one machine does not hold, and picks what is fastest of what fits", () => {
    const { config } = resolveTrainConfig({}, [
      {
        origin: "test",
        values: {
          ...{ layers: 8, hidden_size: 512, heads: 8, vocab_size: 8192 },
          ...{ max_seq_length: 128, batch_size: 2 },
        },
      },
    ]);
    const parts = priceMachines(config, [{ chip: "m4", count: 1 }]);
    const { times } = parts.parts;
    expect(times.blockBackward).toBeGreaterThan(times.blockForward);
    const plan = (machineBytes: number) =>
      planCluster(parts, {
        machines: [{ chip: "m4", count: 4 }],
        ...{ link: linkNamed("10gbe"), machineBytes },
      });
    const { best, layouts } = plan(2 ** 40);
    expect(layouts.map(({ kind }) => kind)).toEqual([
      ...["data", "sharded", "pipeline", "pipeline, sharded", "pipeline"],
    ]);
    expect(best.step.stepMs).toBe(Math.min(...layouts.map(({ step }) => step.stepMs)));
    const [data, sharded] = layouts;
    const between = ((data?.step.memoryBytes ?? 0) + (sharded?.step.memoryBytes ?? 0)) / 2;
    const small = plan(between);
    expect(small.layouts[0]?.fits).toBe(false);
    expect(small.best.fits).toBe(true);
  });

  it("with mixed chips gives the faster ones more, and counts against what each can do", () => {
    const { config } = resolveTrainConfig({}, [
      {
        origin: "test",
        values: {
          ...{ layers: 4, hidden_size: 512, heads: 8, vocab_size: 4096 },
          ...{ max_seq_length: 128, batch_size: 2 },
        },
      },
    ]);
    const machines = [
      { chip: "m5", count: 2 },
      { chip: "m1", count: 2 },
    ];
    const parts = priceMachines(config, machines);
    const { layouts, best } = planCluster(parts, {
      ...{ machines, link: linkNamed("thunderbolt5"), machineBytes: 2 ** 40, batchCount: 24 },
    });
    const [data] = layouts;
    const shares = data?.step.arrangement.shares ?? [];
    expect(shares.reduce((sum, share) => sum + share, 0)).toBe(24);
    expect(shares[0]).toBeGreaterThan(shares[3] ?? NaN);
    for (const { efficiency } of layouts) expect(efficiency).toBeLessThanOrEqual(1 + 1e-9);
    expect(best.efficiency).toBeGreaterThan(0.3);
  });
});
