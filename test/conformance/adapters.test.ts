import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createAneEngine } from "../../src/engine/ane/index.ts";
import { createEngine } from "../../src/engine/create.ts";
import type { Engine, LoadedPlan } from "../../src/engine/engine.ts";
import { createSimEngine } from "../../src/engine/sim/index.ts";
import { weightViews } from "../../src/engine/weight-views.ts";
import { Decoder } from "../../src/generate/index.ts";
import { loadWeightPlan } from "../../src/generate/weight-plan.ts";
import {
  adaptableModules,
  deriveNorms,
  fillWeights,
  holdsAdapter,
  initialiseWeight,
  modelOf,
  openModel,
  parseModelConfig,
  quantized,
  refillAdapter,
  saveTrainedWeights,
  saveWeights,
  withAdapter,
  withOrigin,
  writeModelConfig,
} from "../../src/model/index.ts";
import type { Model } from "../../src/model/index.ts";
import type { Plan } from "../../src/plan/plan.ts";
import type { Storage } from "../../src/plan/storage.ts";
import { exportModel } from "../../src/runs/export-model.ts";
import { chooseBase, describeBase, withBaseConstants } from "../../src/train/run/frozen-base.ts";
import { buildTrainingPlan } from "../../src/train/step/step-plan.ts";
import { openDouble } from "../engine/ane/double-library.ts";
import { trainerOf } from "../engine/ane/training.ts";
import { GPT2_JSON, LLAMA_JSON, QWEN3_JSON } from "../model/configs.ts";

const INT4: Storage = {
  ...{ kind: "int4", groupSize: 16, scaleType: "fp16", zeroPoint: 0, hasBiases: true },
};
const FAMILIES = [
  ["llama", { ...LLAMA_JSON, hidden_size: 32, intermediate_size: 64 }],
  ["qwen3", { ...QWEN3_JSON, hidden_size: 32, intermediate_size: 64 }],
  ["gpt2", { ...GPT2_JSON, n_embd: 32 }],
] as const;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "anecdote-adapters-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A model's numbers, larger than fresh ones so that every part of it counts. */
function filled(model: Model, viewOf: (name: string) => Float32Array, seed = 4): void {
  for (const weight of model.parameters.weights) {
    const view = viewOf(weight.name);
    initialiseWeight(weight, seed, view);
    if (view[0] !== 1) for (let i = 0; i < view.length; i++) view[i] = 4 * (view[i] ?? 0);
  }
}

/** Writes the folder of a model. */
function baseFolder(name: string, json: object): string {
  const place = join(folder, name);
  mkdirSync(place, { recursive: true });
  const model = modelOf(parseModelConfig(json));
  const memory = new Map(
    model.parameters.weights.map(({ name: weight, type }) => [
      weight,
      new Float32Array(type.shape.reduce<number>((size, length) => size * Number(length), 1)),
    ]),
  );
  filled(model, (weight) => memory.get(weight) ?? new Float32Array(0));
  writeModelConfig(place, model.config);
  saveWeights(place, model.parameters, (weight) => memory.get(weight) ?? new Float32Array(0));
  return place;
}

interface Kind {
  readonly rank?: number;
  readonly isQuantized?: boolean;
  readonly method?: "lora" | "dora";
  readonly modules?: readonly string[];
}

const KINDS: readonly Kind[] = [
  { rank: 4 },
  { rank: 4 },
  { rank: 2, modules: ["q_proj", "v_proj"] },
];

/** The model of a folder with a fresh adapter beside it. */
function adapted(base: string, json: object, kind: Kind = {}): Model {
  const config = parseModelConfig(json);
  const whole = withOrigin(modelOf(config), { kind: "file", folder: base });
  const isMatrix = (name: string, shape: readonly unknown[]): boolean =>
    /\.\d+\..*(proj|c_attn|c_fc)/.test(name) && shape.length === 2;
  const frozen =
    kind.isQuantized === true
      ? quantized(whole, INT4, ({ name, type }) => isMatrix(name, type.shape))
      : whole;
  const model = withAdapter(frozen, {
    ...{ method: kind.method ?? "lora", rank: kind.rank ?? 2, alpha: 6 },
    ...{ isRankStabilized: false, dropout: 0 },
    modules: adaptableModules(frozen, kind.modules),
    layers: [...frozen.parameters.blocks.keys()],
  });
  return withOrigin(model, { kind: "drawn", seed: 7 }, ({ trainable }) => trainable);
}

interface Training {
  readonly steps?: number;
  readonly save?: string;
  /** The base's matrices are constants of programs. */
  readonly isBaseConstant?: boolean;
  /** Another adapter for a last step, and what is called before it is put in. */
  readonly swapped?: { readonly adapter: string; readonly before: () => void };
}

function baseAsConstants(plan: Plan, model: Model, engine: Engine): Plan {
  const choice = chooseBase(
    plan,
    model,
    { method: "lora", base_weights: "constants", gradient_accumulation_steps: 2 },
    { engine: engine.description, updateCount: 3 },
  );
  if (choice === undefined) throw new Error("a Neural Engine has constants");
  expect(choice.constantCount).toBeGreaterThan(0);
  expect(describeBase(choice)).toMatch(/are constants, \d+ programs \(asked for\)/);
  return withBaseConstants(plan, model, choice);
}

/** Trains some steps; losses and gradient norms, and the adapter where a folder is given. */
async function trained(
  engine: Engine,
  model: Model,
  { steps = 3, save, isBaseConstant = false, swapped }: Training = {},
): Promise<readonly (readonly number[])[]> {
  const { plan: planned } = buildTrainingPlan({
    ...{ model, batchSize: 2, sequenceLength: 16, recompute: "full" },
  });
  const plan = isBaseConstant ? baseAsConstants(planned, model, engine) : planned;
  const loaded = await engine.load(plan);
  fillWeights(
    model,
    weightViews((name) => loaded.view(name)),
  );
  const trainer = trainerOf(loaded, 2, { weightDecay: 0 });
  const told: (readonly number[])[] = [];
  for (let step = 0; step < steps; step++) {
    const { loss, gradientNorm } = await trainer.update(() => undefined);
    told.push([loss, gradientNorm]);
  }
  if (swapped !== undefined) {
    swapped.before();
    refillAdapter(
      model,
      weightViews((name) => loaded.view(name)),
      [{ folder: swapped.adapter, weight: 1 }],
    );
    // Another trainer: the first one has begun its next step beside the update, by the weights of then.
    const other = trainerOf(loaded, 2, { weightDecay: 0 });
    const { loss, gradientNorm } = await other.update(() => undefined);
    told.push([loss, gradientNorm]);
  }
  if (save !== undefined) {
    mkdirSync(save, { recursive: true });
    writeModelConfig(save, model.config);
    saveTrainedWeights(save, model.parameters, (name) => loaded.view(name) as Float32Array);
  }
  await loaded.close();
  return told;
}

const TOKENS = Array.from({ length: 12 }, (_, index) => (index * index + 3 * index + 1) % 50);

/** Logits of every token of a text. */
async function logitsOf(
  engine: Engine,
  place: string,
  adapters: readonly string[] = [],
): Promise<Float32Array> {
  const opened = openModel(
    place,
    adapters.map((one) => ({ folder: one, weight: 1 })),
  );
  const weights = await loadWeightPlan(engine, opened);
  const logits = await readOut(engine, opened.model, weights);
  await weights.close();
  return logits;
}

async function readOut(engine: Engine, model: Model, weights: LoadedPlan): Promise<Float32Array> {
  const decoder = new Decoder({ engine, model, weights });
  const { logits } = await decoder.scoreSome(decoder.sequence(), TOKENS);
  const kept = Float32Array.from(logits);
  await decoder.close();
  return kept;
}

function furthest(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  return a.reduce((most, value, index) => Math.max(most, Math.abs(value - (b[index] ?? NaN))), 0);
}

describe.each(FAMILIES)("an adapter beside a %s", (family, json) => {
  it.each([
    ["lora", false],
    ["lora", true],
    ["dora", false],
    ["dora", true],
  ] as const)(
    "of the method %s gives the logits that the fused model gives (base of 4 bits: %s)",
    async (method, isQuantized) => {
      const name = `${family}-${method}-${isQuantized}`;
      const base = baseFolder(name, json);
      const place = join(folder, `${name}-adapter`);
      const engine = await createEngine("cpu", { threads: 1 });
      await trained(engine, adapted(base, json, { isQuantized, method }), {
        steps: 6,
        save: place,
      });
      const beside = await logitsOf(engine, place);
      const plain = await logitsOf(engine, base);
      const fused = join(folder, `${name}-fused`);
      exportModel(place, fused, { type: "float32" });
      const together = await logitsOf(engine, fused);
      await engine.close();
      expect(furthest(beside, plain)).toBeGreaterThan(0.01);
      expect(furthest(beside, together)).toBeLessThan(1e-5);
    },
  );
});

describe("lengths of matrices", () => {
  it.each(FAMILIES)(
    "of a %s begin as the base's, and follow every update",
    async (family, json) => {
      const base = baseFolder(`lengths-${family}`, json);
      const model = adapted(base, json, { method: "dora" });
      const engine = await createEngine("cpu", { threads: 1 });
      const { plan } = buildTrainingPlan({ model, batchSize: 2, sequenceLength: 16 });
      const loaded = await engine.load(plan);
      const view = weightViews((name) => loaded.view(name));
      fillWeights(model, view);
      const before = await evaluated(loaded);
      const plain = await engine.load(
        buildTrainingPlan({ model: lora(base, json), batchSize: 2, sequenceLength: 16 }).plan,
      );
      fillWeights(
        lora(base, json),
        weightViews((name) => plain.view(name)),
      );
      // With B zero both are the base.
      expect(Math.abs(before / (await evaluated(plain)) - 1)).toBeLessThan(1e-6);
      const trainer = trainerOf(loaded, 1, { weightDecay: 0 });
      for (let step = 0; step < 3; step++) await trainer.update(() => undefined);
      const norms = model.parameters.weights.filter(({ name }) => name.includes("inverse_norm"));
      const followed = norms.map(({ name }) => Float32Array.from(loaded.view(name)));
      deriveNorms(model, view, ({ name }) => name.includes("inverse_norm"));
      for (const [index, { name }] of norms.entries()) {
        const exact = loaded.view(name) as Float32Array;
        followed[index]?.forEach((value, at) =>
          expect(Math.abs(value / (exact[at] ?? NaN) - 1), name).toBeLessThan(1e-5),
        );
      }
      const moved = model.parameters.weights.filter(({ name }) => name.includes("magnitude"));
      expect(moved.every(({ trainable }) => trainable)).toBe(true);
      await loaded.close();
      await plain.close();
      await engine.close();
    },
  );

  const lora = (base: string, json: object): Model => adapted(base, json);
  const evaluated = async (loaded: LoadedPlan): Promise<number> => {
    for (const name of ["tokens", "targets"]) {
      const ids = loaded.view(name);
      for (let i = 0; i < ids.length; i++) ids[i] = (i * i + 5 * i) % 50;
    }
    await loaded.run("evaluate");
    return loaded.view("loss_sum")[0] ?? NaN;
  };
});

describe("adapters through the drivers", () => {
  it.each([
    ["e5rt", "e5rt", FAMILIES[0][1]],
    ["in-memory", "objc", FAMILIES[1][1]],
  ] as const)(
    "%s: a base as constants of programs gives the simulator's bits, and another adapter compiles nothing",
    async (driver, library, json) => {
      const base = baseFolder(`constants-${driver}`, json);
      const model = adapted(base, json);
      const double = openDouble(library);
      double.violations();
      const sim = createSimEngine("m4", { threads: 1, driver });
      const other = join(folder, `constants-${driver}-other`);
      const asInputs = await trained(sim, model, { save: other });
      let compiled = 0;
      const swapped = {
        adapter: other,
        before: () => void (compiled = double.count("compilations")),
      };
      const options = { isBaseConstant: true, swapped };
      const wanted = await trained(sim, model, options);
      const engine = await createAneEngine({
        ...{ driver, library: double.path, chip: "m4", host: sim, timeoutMs: 30_000 },
        cacheFolder: join(folder, "constants-cache"),
      });
      const got = await trained(engine, model, options);
      expect(double.count("compilations")).toBe(compiled);
      expect(compiled).toBeGreaterThan(0);
      await engine.close();
      await sim.close();
      expect(got).toEqual(wanted);
      // Loss and norm; scales at products come from the numbers themselves here, and from what is expected of them there.
      for (const [step, [loss = NaN, norm = NaN]] of asInputs.entries()) {
        const [constantLoss = NaN, constantNorm = NaN] = wanted[step] ?? [];
        expect(Math.abs(constantLoss - loss)).toBeLessThan(2e-3);
        expect(Math.abs(constantNorm / norm - 1)).toBeLessThan(0.03);
      }
      expect(double.violations()).toEqual({ count: 0, first: "" });
    },
  );

  it.each([
    ["e5rt", "e5rt", "m4", FAMILIES[0][1], {}],
    ["e5rt", "e5rt", "m4", FAMILIES[1][1], { isQuantized: true }],
    ["in-memory", "objc", "m4", FAMILIES[0][1], { isQuantized: true }],
    ["in-memory", "objc", "m1", FAMILIES[1][1], {}],
    ["e5rt", "e5rt", "m4", FAMILIES[0][1], { method: "dora", isQuantized: true }],
  ] as const)(
    "%s: are trained to the simulator's bits (%s, %s)",
    async (driver, library, chip, json, kind) => {
      const base = baseFolder(`driver-${driver}-${json.model_type}`, json);
      const model = adapted(base, json, kind);
      const double = openDouble(library);
      double.violations();
      const sim = createSimEngine(chip, { threads: 1, driver });
      const wanted = await trained(sim, model);
      const engine = await createAneEngine({
        ...{ driver, library: double.path, chip, host: sim, timeoutMs: 30_000 },
        cacheFolder: join(folder, "cache"),
      });
      const got = await trained(engine, model);
      await engine.close();
      await sim.close();
      expect(got).toEqual(wanted);
      expect(wanted.flat().every(Number.isFinite)).toBe(true);
      expect(wanted.at(-1)?.[0]).not.toBe(wanted[0]?.[0]);
      expect(double.violations()).toEqual({ count: 0, first: "" });
    },
  );

  it.each([
    ["e5rt", "e5rt"],
    ["in-memory", "objc"],
  ] as const)(
    "%s: are swapped, for one of fewer ranks too, and nothing is compiled",
    async (driver, library) => {
      const [, json] = FAMILIES[0];
      const base = baseFolder(`swap-${driver}`, json);
      const cpu = await createEngine("cpu", { threads: 1 });
      const places = await Promise.all(
        KINDS.map(async (kind, index) => {
          const place = join(folder, `swap-${driver}-${index}`);
          const model = adapted(base, json, kind);
          await trained(cpu, model, { steps: 2 + index, save: place });
          return place;
        }),
      );
      await cpu.close();
      const double = openDouble(library);
      const sim = createSimEngine("m4", { threads: 1, driver });
      const engine = await createAneEngine({
        ...{ driver, library: double.path, chip: "m4", host: sim, timeoutMs: 30_000 },
        cacheFolder: join(folder, "swap-cache"),
      });
      const source = (place: string) => [{ folder: place, weight: 1 }];
      const opened = openModel(base, source(places[0] ?? ""));
      const weights = await loadWeightPlan(engine, opened);
      const decoder = new Decoder({ engine, model: opened.model, weights });
      const read = async (): Promise<Float32Array> => {
        const { logits } = await decoder.scoreSome(decoder.sequence(), TOKENS);
        return Float32Array.from(logits);
      };
      const first = await read();
      const before = double.count("compilations");
      expect(before).toBeGreaterThan(0);
      const view = weightViews((name) => weights.view(name));
      const answers: Float32Array[] = [];
      for (const place of [places[1] ?? "", places[2] ?? "", places[0] ?? ""]) {
        expect(holdsAdapter(opened.model, source(place))).toBe(true);
        refillAdapter(opened.model, view, source(place));
        answers.push(await read());
      }
      expect(double.count("compilations") - before).toBe(0);
      expect(furthest(answers[0] ?? first, first)).toBeGreaterThan(0.01);
      expect(answers[2]).toEqual(first);
      await decoder.close();
      await weights.close();
      for (const [index, place] of [places[1] ?? "", places[2] ?? ""].entries())
        expect(
          furthest(answers[index] ?? first, await logitsOf(engine, base, [place])),
        ).toBeLessThan(0.02);
      await engine.close();
      await sim.close();
    },
  );
});
