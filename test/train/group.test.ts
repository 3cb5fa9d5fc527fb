import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ALONE } from "../../src/engine/collective.ts";
import { createEngine } from "../../src/engine/create.ts";
import type { BufferView, Engine, LoadedPlan } from "../../src/engine/engine.ts";
import { initialiseWeight, modelOf, parseModelConfig } from "../../src/model/index.ts";
import { countTargets } from "../../src/text/index.ts";
import type { Batch, Batches } from "../../src/text/index.ts";
import { LossScale } from "../../src/train/step/loss-scale.ts";
import { buildTrainingPlan } from "../../src/train/step/step-plan.ts";
import { Trainer } from "../../src/train/step/trainer.ts";
import type { TrainerOptions } from "../../src/train/step/trainer.ts";
import { LLAMA_JSON } from "../model/configs.ts";
import { memoryGroup } from "../helpers/memory-group.ts";

const MODEL = modelOf(parseModelConfig(LLAMA_JSON));
const SIZES = { batchSize: 2, sequenceLength: 8 };
const STEPS = 3;

/** Batch `number`; each has another number of targets that count. */
function batchOf(number: number): Batch {
  const inputs = Int32Array.from({ length: 16 }, (_, i) => (i * i * 7 + number * 13 + i) % 50);
  const targets = inputs.map((token, i) => (i % (number + 2) === 0 ? -100 : (token * 3 + 1) % 50));
  return { ...SIZES, inputs, targets, validTargetCount: countTargets(targets) };
}

/** Every `stride`-th batch from `first` on. */
function batchesFrom(first: number, stride: number): Batches {
  let number = first;
  return {
    isPacked: false,
    get state() {
      return number;
    },
    next: () => {
      const batch = batchOf(number % 6);
      number += stride;
      return batch;
    },
  };
}

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine("cpu", { threads: 1 });
});
afterAll(() => engine.close());

async function fresh(): Promise<LoadedPlan> {
  const loaded = await engine.load(buildTrainingPlan({ model: MODEL, ...SIZES }).plan);
  for (const weight of MODEL.parameters.weights)
    initialiseWeight(weight, 4, loaded.view(weight.name) as Float32Array);
  return loaded;
}

function trainerOf(
  loaded: LoadedPlan,
  batches: Batches,
  options: Partial<TrainerOptions> = {},
): Trainer {
  return new Trainer({
    loaded,
    batches,
    schedule: {
      ...{ kind: "constant", learningRate: 1e-2, minimumLearningRate: 0 },
      ...{ warmupSteps: 0, maxSteps: 10 },
    },
    accumulationSteps: 1,
    ...{ beta1: 0.9, beta2: 0.95, weightDecay: 0.1, maxGradientNorm: 0.5 },
    ...options,
  });
}

function weightsOf(loaded: LoadedPlan): Float32Array[] {
  return MODEL.parameters.weights.map(({ name }) => Float32Array.from(loaded.view(name)));
}

async function stepsOf(trainer: Trainer): Promise<number[][]> {
  const rows: number[][] = [];
  for (let step = 0; step < STEPS; step++) {
    const { loss, gradientNorm, tokenCount } = await trainer.update(() => undefined);
    rows.push([loss, gradientNorm, tokenCount]);
  }
  return rows;
}

describe("a group of replicas", () => {
  it.each([2, 3])("of %i trains as one process does on all of their batches", async (size) => {
    const alone = await fresh();
    const expected = await stepsOf(
      trainerOf(alone, batchesFrom(0, 1), { accumulationSteps: size }),
    );
    const members = await Promise.all(
      memoryGroup(size).map(async (replicas, rank) => {
        const loaded = await fresh();
        const trainer = trainerOf(loaded, batchesFrom(rank, size), { group: { replicas } });
        return { loaded, trainer };
      }),
    );
    const rows = await Promise.all(members.map(({ trainer }) => stepsOf(trainer)));
    for (const row of rows) expect(row).toEqual(rows[0]);
    rows[0]?.forEach(([loss = NaN, norm = NaN, count], step) => {
      const [wantedLoss = NaN, wantedNorm = NaN, wantedCount] = expected[step] ?? [];
      expect(count).toBe(wantedCount);
      expect(loss).toBeCloseTo(wantedLoss, 5);
      expect(norm).toBeCloseTo(wantedNorm, 5);
    });
    const [first, ...others] = members.map(({ loaded }) => weightsOf(loaded));
    for (const other of others) expect(other).toEqual(first);
    weightsOf(alone).forEach((numbers, weight) =>
      numbers.forEach((value, i) => expect(first?.[weight]?.[i]).toBeCloseTo(value, 4)),
    );
    for (const { loaded } of [...members, { loaded: alone }]) await loaded.close();
  });

  it("ends for all where one member has no batches to go on with, and no weight changes", async () => {
    const [left, right] = memoryGroup(2);
    if (left === undefined || right === undefined) throw new Error("two members");
    const loaded = [await fresh(), await fresh()] as const;
    const before = weightsOf(loaded[0]);
    const broken: Batches = {
      ...{ isPacked: false, state: 0 },
      next: () => {
        throw new Error("the disk is gone");
      },
    };
    const first = trainerOf(loaded[0], batchesFrom(0, 2), { group: { replicas: left } });
    const second = trainerOf(loaded[1], broken, { group: { replicas: right } });
    const ends = await Promise.allSettled([stepsOf(first), stepsOf(second)]);
    expect(ends.map((end) => (end.status === "rejected" ? String(end.reason) : ""))).toEqual([
      expect.stringContaining("another member of the group has no batches"),
      expect.stringContaining("the disk is gone"),
    ]);
    expect(weightsOf(loaded[0])).toEqual(before);
    for (const each of loaded) await each.close();
  });
});

function isSameMemory(a: BufferView, b: BufferView): boolean {
  return a.buffer === b.buffer && a.byteOffset === b.byteOffset && a.length === b.length;
}

describe("gradients of a group", () => {
  it("are summed from the moment in which each is whole, while the rest of the backward runs", async () => {
    const heard: string[] = [];
    await Promise.all(
      memoryGroup(2).map(async (replicas, rank) => {
        const loaded = await fresh();
        const watched: LoadedPlan = new Proxy(loaded, {
          get(target, key) {
            if (key === "run") {
              return async (section: string, onDispatches?: (count: number) => void) => {
                await target.run(section, onDispatches);
                if (rank === 0) heard.push(`end of ${section}`);
              };
            }
            const value: unknown = Reflect.get(target, key);
            return typeof value === "function" ? value.bind(target) : value;
          },
        });
        const nameOf = (array: BufferView): string[] =>
          [...loaded.plan.buffers.values()].flatMap(({ name, role }) =>
            role === "gradient" && isSameMemory(loaded.view(name), array) ? [name] : [],
          );
        const told: typeof replicas = {
          ...replicas,
          allReduce: (buffers, wire) => {
            const names = buffers.flatMap(nameOf);
            if (rank === 0 && names.length > 0) heard.push(names.join(" "));
            return replicas.allReduce(buffers, wire);
          },
        };
        const trainer = trainerOf(watched, batchesFrom(rank, 2), { group: { replicas: told } });
        await trainer.update(() => undefined);
        await loaded.close();
      }),
    );
    const end = heard.indexOf("end of forward_backward");
    const at = (name: string): number => heard.findIndex((names) => names.includes(name));
    // The head's first, then the upper block's, both before the section is over.
    expect(at("gradient:lm_head.weight")).toBeGreaterThanOrEqual(0);
    expect(at("gradient:lm_head.weight")).toBeLessThan(at("layers.1."));
    expect(at("layers.1.")).toBeLessThan(at("layers.0."));
    expect(at("layers.0.")).toBeLessThan(end);
  });
});

describe("a group of shards", () => {
  it("clips by the norm of all their gradients", async () => {
    const alone = await fresh();
    const [[, norm = NaN] = []] = await stepsOf(trainerOf(alone, batchesFrom(0, 1)));
    const rows = await Promise.all(
      memoryGroup(2).map(async (shards) => {
        const loaded = await fresh();
        const result = await stepsOf(trainerOf(loaded, batchesFrom(0, 1), { group: { shards } }));
        await loaded.close();
        return result;
      }),
    );
    // Both hold the same here, so the squares count twice.
    for (const [[, shared = NaN] = []] of rows) expect(shared).toBeCloseTo(norm * Math.SQRT2, 5);
    await alone.close();
  });
});

describe("a process on its own", () => {
  it("has the same bits whether or not it is said to be alone", async () => {
    const plain = await fresh();
    const rows = await stepsOf(trainerOf(plain, batchesFrom(0, 1)));
    const said = await fresh();
    const group = { replicas: ALONE, shards: ALONE };
    expect(await stepsOf(trainerOf(said, batchesFrom(0, 1), { group }))).toEqual(rows);
    expect(weightsOf(said)).toEqual(weightsOf(plain));
    await plain.close();
    await said.close();
  });

  it("exchanges with itself at once, and with nobody else", async () => {
    const numbers = Float32Array.of(1, 2, 3);
    expect(ALONE.allReduce([numbers]).isDone()).toBe(true);
    await ALONE.reduceScatter([numbers]).wait();
    await ALONE.allGather([numbers]).wait();
    await ALONE.broadcast([numbers], 0).wait();
    expect(numbers).toEqual(Float32Array.of(1, 2, 3));
    await ALONE.barrier().wait();
    expect(() => ALONE.send([numbers], 1)).toThrow("no member 1 to send to");
    expect(() => ALONE.receive([numbers], 0)).toThrow("no member 0 to receive from");
  });
});

describe("a step whose gradient overflowed", () => {
  it("is done again with half the scale, and ends as if that had been the scale from the start", async () => {
    const scales: number[] = [];
    const ends = await Promise.all(
      [true, false].map(async (overflows) => {
        const loaded = await fresh();
        let left = overflows ? 1 : 0;
        const watched: LoadedPlan = new Proxy(loaded, {
          get(target, key) {
            if (key === "run") {
              return async (section: string) => {
                await target.run(section);
                if (section === "gradient_norm" && left-- > 0)
                  target.view("gradient_square_sum")[0] = Infinity;
              };
            }
            const value: unknown = Reflect.get(target, key);
            return typeof value === "function" ? value.bind(target) : value;
          },
        });
        const trainer = trainerOf(watched, batchesFrom(0, 1), {
          lossScale: overflows
            ? LossScale.dynamic({ scale: 16, stepCount: 0 })
            : LossScale.fixed(8),
          onOverflow: (scale) => scales.push(scale),
        });
        await trainer.update(() => undefined);
        const moments = Float32Array.from(loaded.view("m:lm_head.weight"));
        const result = { moments, weights: weightsOf(loaded) };
        await loaded.close();
        return result;
      }),
    );
    expect(scales).toEqual([8]);
    expect(ends[0]).toEqual(ends[1]);
  });
});
