import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createAneEngine } from "../../src/engine/ane/index.ts";
import { createCpuEngine } from "../../src/engine/cpu/index.ts";
import type { Engine, LoadedPlan } from "../../src/engine/engine.ts";
import { createReferenceEngine } from "../../src/engine/reference/index.ts";
import { createSimEngine } from "../../src/engine/sim/index.ts";
import { weightViews } from "../../src/engine/weight-views.ts";
import { buildDecodePlan, decodeBuffers } from "../../src/generate/decode-plan.ts";
import { byteLengthOf } from "../../src/mil/types.ts";
import { FunctionBuilder, shaped } from "../../src/mil/builder.ts";
import {
  fillWeights,
  frozen,
  modelOf,
  parameterCount,
  parseModelConfig,
  quantized,
  WeightMemory,
  withOrigin,
} from "../../src/model/index.ts";
import type { Model } from "../../src/model/index.ts";
import { PlanBuilder } from "../../src/plan/builder.ts";
import { planMemory } from "../../src/plan/memory.ts";
import type { Plan } from "../../src/plan/plan.ts";
import { packNumbers, unpackNumbers } from "../../src/plan/stored-numbers.ts";
import { formatStorage, storedTypes } from "../../src/plan/storage.ts";
import type { GroupedStorage, Storage } from "../../src/plan/storage.ts";
import { unpackNames, unpackProgram } from "../../src/plan/unpack.ts";
import { buildTrainingPlan } from "../../src/train/step/step-plan.ts";
import { Random } from "../../src/util/random.ts";
import { openSoftwareDevice, strictEngine } from "../engine/gpu/software-device.ts";
import { openDouble } from "../engine/ane/double-library.ts";
import { GPT2_JSON, LLAMA_JSON } from "../model/configs.ts";

const noGpu = openSoftwareDevice();

const MLX: GroupedStorage = {
  ...{ kind: "int4", groupSize: 64, scaleType: "fp16", zeroPoint: 0, hasBiases: true },
};
const STORAGES: readonly Storage[] = [
  { kind: "fp16" },
  { kind: "bf16" },
  MLX,
  { ...MLX, groupSize: 32, scaleType: "bf16" },
  { ...MLX, kind: "int8", groupSize: 128, scaleType: "fp32" },
  { ...MLX, groupSize: 32, zeroPoint: 8, hasBiases: false },
  { ...MLX, kind: "int8", groupSize: 32, zeroPoint: 128, hasBiases: false },
];
const NAMED = STORAGES.map((storage) => [formatStorage(storage), storage] as const);

const [ROWS, COLUMNS] = [6, 128];
const TYPE = shaped("fp32", ROWS, COLUMNS);

/** A stored weight unpacked into an output, and into scratch that a product reads. */
function unpackingPlan(storage: Storage): Plan {
  const plan = new PlanBuilder("unpacking");
  const weight = { parameter: "w", type: TYPE, storage };
  const { function: fn, kernel } = unpackProgram("unpack", [weight]);
  plan.program("unpack", fn, kernel);
  const types = storedTypes("w", [ROWS, COLUMNS], storage);
  const names = unpackNames(weight);
  const inputs: Record<string, string> = { [names.codes]: "codes" };
  plan.buffer("codes", types.codes, "weight");
  if (types.scales !== undefined && names.scales !== undefined)
    inputs[names.scales] = plan.buffer("scales", types.scales, "weight");
  if (types.biases !== undefined && names.biases !== undefined)
    inputs[names.biases] = plan.buffer("biases", types.biases, "weight");
  const f = new FunctionBuilder("product");
  const x = f.input("x", shaped("fp32", 32, COLUMNS));
  const y = f.input("w", TYPE);
  plan.program("product", f.finish({ z: f.op("matmul", { x, y, transpose_y: true }) }));
  plan.buffer("x", shaped("fp32", 32, COLUMNS), "input");
  plan.buffer("z", shaped("fp32", 32, ROWS), "output");
  plan.buffer("numbers", TYPE, "output");
  plan.buffer("scratch", TYPE, "scratch");
  plan.dispatch("run", "unpack for people", "unpack", inputs, { w: "numbers" });
  plan.dispatch("run", "unpack", "unpack", inputs, { w: "scratch" });
  plan.dispatch("run", "product", "product", { x: "x", w: "scratch" }, { z: "z" });
  return plan.finish();
}

function withoutKernels(plan: Plan): Plan {
  const programs = new Map(
    [...plan.programs].map(([name, { function: fn }]) => [name, { name, function: fn }]),
  );
  return { ...plan, programs };
}

function randomNumbers(count: number, seed: number): Float32Array {
  const random = new Random(seed);
  return Float32Array.from({ length: count }, () => random.uniform() * 2 - 1);
}

async function unpackedOn(engine: Engine, plan: Plan, storage: Storage) {
  const loaded = await engine.load(plan);
  const view = weightViews((name) => loaded.view(name));
  packNumbers(storage, randomNumbers(ROWS * COLUMNS, 3), {
    codes: view("codes"),
    scales: plan.buffers.has("scales") ? view("scales") : undefined,
    biases: plan.buffers.has("biases") ? view("biases") : undefined,
  });
  loaded.view("x").set(randomNumbers(32 * COLUMNS, 4));
  for (let run = 0; run < 2; run++) await loaded.run("run");
  const result = { numbers: floats(loaded, "numbers"), z: floats(loaded, "z") };
  await loaded.close();
  return result;
}

function floats(loaded: LoadedPlan, name: string): Float32Array {
  return Float32Array.from(loaded.view(name));
}

const cacheFolder = mkdtempSync(join(tmpdir(), "anecdote-storage-"));
const engines = new Map<string, Engine>();
beforeAll(async () => {
  engines.set("cpu", await createCpuEngine({ threads: 1 }));
  engines.set("reference", createReferenceEngine());
  engines.set("sim:m4", createSimEngine("m4", { threads: 1 }));
});
afterAll(async () => {
  for (const engine of engines.values()) await engine.close();
  rmSync(cacheFolder, { recursive: true, force: true });
});

function engineNamed(name: string): Engine {
  const engine = engines.get(name);
  if (engine === undefined) throw new Error(name);
  return engine;
}

/** Runs `use` with each driver through its double, the simulator as its host. */
async function throughDoubles(
  use: (engine: Engine, simulator: Engine) => Promise<void>,
): Promise<void> {
  for (const [driver, name] of [
    ["e5rt", "e5rt"],
    ["in-memory", "objc"],
  ] as const) {
    const double = openDouble(name);
    double.violations();
    const host = createSimEngine("m4", { threads: 1, driver });
    const engine = await createAneEngine({
      ...{ driver, library: double.path, chip: "m4", host, cacheFolder, timeoutMs: 30_000 },
    });
    await use(engine, host);
    await engine.close();
    await host.close();
    expect(double.violations()).toEqual({ count: 0, first: "" });
  }
}

describe("stored weights", () => {
  it.each(NAMED)("%s are unpacked to the same bits on every engine", async (_, storage) => {
    const plan = unpackingPlan(storage);
    const expected = await unpackedOn(engineNamed("reference"), plan, storage);
    expect(new Set(expected.numbers).size).toBeGreaterThan(64);
    const cpu = await unpackedOn(engineNamed("cpu"), plan, storage);
    const asFunction = await unpackedOn(engineNamed("cpu"), withoutKernels(plan), storage);
    const sim = await unpackedOn(engineNamed("sim:m4"), plan, storage);
    // The reference engine writes -0 as 0.
    const unsigned = ({ numbers }: typeof cpu): Float32Array => numbers.map((value) => value + 0);
    for (const other of [cpu, asFunction, sim]) expect(unsigned(other)).toEqual(expected.numbers);
    expect(sim.numbers).toEqual(cpu.numbers);
    expect(asFunction.numbers).toEqual(cpu.numbers);
    expect(asFunction.z).toEqual(cpu.z);
    cpu.z.forEach((value, i) => expect(value).toBeCloseTo(expected.z[i] ?? NaN, 4));
    sim.z.forEach((value, i) => expect(value).toBeCloseTo(expected.z[i] ?? NaN, 1));
  });

  it.skipIf(noGpu !== undefined)(
    `are unpacked on the GPU, by the program${noGpu === undefined ? "" : `, skipped: ${noGpu}`}`,
    async () => {
      const gpu = strictEngine();
      for (const storage of STORAGES) {
        const plan = unpackingPlan(storage);
        const expected = await unpackedOn(engineNamed("reference"), plan, storage);
        const actual = await unpackedOn(gpu, plan, storage);
        // A device may round a product and a sum at once.
        actual.numbers.forEach((value, i) =>
          expect(value, formatStorage(storage)).toBeCloseTo(expected.numbers[i] ?? NaN, 6),
        );
        actual.z.forEach((value, i) => expect(value).toBeCloseTo(expected.z[i] ?? NaN, 4));
      }
      await gpu.close();
    },
  );

  it(`are unpacked to the simulator's bits through both drivers`, async () => {
    await throughDoubles(async (engine, simulator) => {
      for (const storage of STORAGES) {
        const plan = unpackingPlan(storage);
        const expected = await unpackedOn(simulator, plan, storage);
        expect(await unpackedOn(engine, plan, storage)).toEqual(expected);
      }
    });
  });
});

const SMALL = { ...LLAMA_JSON, hidden_size: 64, intermediate_size: 128, num_hidden_layers: 3 };

/** The model of which only the last block is trained, the rest stored otherwise. */
function adapted(
  json: object,
  storage: Storage,
): { readonly packed: Model; readonly plain: Model } {
  const model = withOrigin(modelOf(parseModelConfig(json)), { kind: "drawn", seed: 3 });
  const plain = frozen(model, ({ name }) => !name.includes(".2."));
  const isMatrix = ({ trainable, type }: { trainable: boolean; type: typeof TYPE }): boolean =>
    !trainable && type.shape.length === 2;
  return { packed: quantized(plain, storage, isMatrix), plain };
}

function plansOf(model: Model) {
  const sizes = { batchSize: 1, sequenceLength: 32 };
  return {
    step: buildTrainingPlan({ model, ...sizes }).plan,
    decode: buildDecodePlan({ model, bucket: 64, prefillRowCount: 8 }),
  };
}

const SCALARS = { learning_rate: 0.01, weight_decay: 0.1, gradient_scale: 1, loss_scale: 1 / 32 };

/** A step, a judgement and a prompt; `numbers` replaces the weights' where they are given. */
async function run(engine: Engine, model: Model, numbers?: ReadonlyMap<string, Float32Array>) {
  const { step, decode } = plansOf(model);
  const loaded = await engine.load(step);
  const view = weightViews((name) => loaded.view(name));
  if (numbers === undefined) fillWeights(model, view);
  else for (const [name, values] of numbers) loaded.view(name).set(values);
  const unpacked = new Map(
    model.parameters.weights.map((weight) => [
      weight.name,
      Float32Array.from([...new WeightMemory(weight, view).read()].flatMap((part) => [...part])),
    ]),
  );
  const { vocabularySize } = model.config;
  for (const [name, factor] of [
    ["tokens", 7],
    ["targets", 11],
  ] as const) {
    const ids = loaded.view(name);
    for (let i = 0; i < ids.length; i++) ids[i] = (i * i + factor * i) % vocabularySize;
  }
  for (const [name, value] of Object.entries(SCALARS)) loaded.view(name)[0] = value;
  const results: Float32Array[] = [];
  for (let number = 1; number <= 2; number++) {
    loaded.view("bias_correction1")[0] = 1 - 0.9 ** number;
    loaded.view("bias_correction2")[0] = 1 - 0.95 ** number;
    for (const section of ["forward_backward", "gradient_norm", "update"])
      await loaded.run(section);
    results.push(floats(loaded, "loss_sum"), floats(loaded, "gradient_square_sum"));
  }
  await loaded.run("evaluate");
  results.push(floats(loaded, "loss_sum"));
  const decoder = await engine.load(decode, { share: loaded });
  decoder.view(decodeBuffers.mask).fill(-1e9);
  await decoder.run("prefill");
  results.push(floats(decoder, decodeBuffers.logits));
  await decoder.close();
  await loaded.close();
  return { results, unpacked };
}

describe("training and decoding over stored weights", () => {
  it.each([
    ["cpu", "int4 of a llama", SMALL, MLX],
    ["cpu", "bf16 of a tied gpt2", { ...GPT2_JSON, n_embd: 64, n_layer: 3 }, { kind: "bf16" }],
    ["cpu", "int8 of a tied llama", { ...SMALL, tie_word_embeddings: true }, STORAGES[6] ?? MLX],
    ["reference", "int4 of a llama", { ...SMALL, intermediate_size: 64 }, STORAGES[5] ?? MLX],
    ["sim:m4", "int4 of a llama", SMALL, MLX],
  ] as const)(
    "on %s, %s, give the bits that their numbers give as fp32",
    async (name, _, json, storage) => {
      const { packed, plain } = adapted(json, storage);
      const engine = engineNamed(name);
      const { results, unpacked } = await run(engine, packed);
      expect(results.flatMap((numbers) => [...numbers]).every(Number.isFinite)).toBe(true);
      const whole = await run(engine, plain, unpacked);
      expect(results).toEqual(whole.results);
    },
  );

  it(`give the simulator's bits through both drivers`, async () => {
    const { packed } = adapted({ ...SMALL, intermediate_size: 64 }, MLX);
    await throughDoubles(async (engine, simulator) => {
      const expected = await run(simulator, packed);
      expect((await run(engine, packed)).results).toEqual(expected.results);
    });
  });

  it("take the memory that their storage says", async () => {
    const { packed, plain } = adapted(SMALL, MLX);
    const loadedBytes = async (model: Model): Promise<number> => {
      const loaded = await engineNamed("cpu").load(plansOf(model).step);
      const { persistentBytes } = loaded.memory();
      await loaded.close();
      return persistentBytes;
    };
    const stored = parameterCount(
      packed.parameters.weights.filter(({ storage }) => storage.kind === "int4"),
    );
    // Four bits a number, and a scale and a bias of two bytes each for 64 of them.
    const saved = stored * (4 - 0.5 - 4 / 64);
    const [less, more] = [packed, plain].map((model) => planMemory(plansOf(model).step));
    expect((more?.persistent.weight ?? 0) - (less?.persistent.weight ?? 0)).toBe(saved);
    expect((await loadedBytes(plain)) - (await loadedBytes(packed))).toBe(saved);
    // What is unpacked lives for one stage at a time, not for the whole step.
    const { step } = plansOf(packed);
    const scratch = [...step.buffers.values()].filter(({ role }) => role === "scratch");
    const bytes = scratch.reduce((sum, { type }) => sum + byteLengthOf(type), 0);
    expect(bytes).toBeGreaterThan(4 * stored - 1);
    const growth = (less?.transientByteLength ?? 0) - (more?.transientByteLength ?? 0);
    expect(growth).toBeLessThan(bytes / 2);
  });

  it("are refused where they are to be trained, or rows are not made of whole groups", () => {
    const model = modelOf(parseModelConfig(SMALL));
    expect(() => plansOf(quantized(model, MLX))).toThrow("is to be trained; updates need fp32");
    expect(() => quantized(model, { ...MLX, groupSize: 48 })).toThrow("no weight of this llama");
    expect(() => quantized(model, { ...MLX, groupSize: 48 }, ({ decays }) => decays)).toThrow(
      '"model.embed_tokens.weight" as int4 in groups of 48, fp16 scales and biases: its last axis of 64',
    );
    expect(() => storedTypes("w", [4, 9], { ...MLX, groupSize: 3 })).toThrow("an even number");
    expect(() => storedTypes("w", [4, 64], { ...MLX, zeroPoint: 16 })).toThrow("is no code");
  });
});

describe("numbers that other formats hold", () => {
  const halves = Uint16Array.of(0x2e66, 0xb1c3, 0x0001, 0x7bff);

  it.each([4, 8] as const)("MLX's affine groups of %i bits are exact", (bits) => {
    for (const groupSize of [32, 64, 128]) {
      const storage: GroupedStorage = { ...MLX, kind: bits === 4 ? "int4" : "int8", groupSize };
      const count = 2 * groupSize;
      const quantities = Array.from({ length: count }, (_, i) => (i * 37 + 5) % 2 ** bits);
      const codes = Uint8Array.from(
        bits === 8
          ? quantities
          : Array.from(
              { length: count / 2 },
              (_, i) => (quantities[2 * i] ?? 0) | ((quantities[2 * i + 1] ?? 0) << 4),
            ),
      );
      const [scales, biases] = [halves.slice(0, 2), halves.slice(1, 3)];
      const numbers = new Float32Array(count);
      unpackNumbers(storage, { codes, scales, biases }, numbers);
      // 0x2e66 is 0.0999755859375, 0xb1c3 is -0.1800537109375, 0x0001 is 2^-24.
      const [scale, bias] = [
        [0.0999755859375, -0.1800537109375],
        [-0.1800537109375, 2 ** -24],
      ];
      numbers.forEach((value, i) => {
        const group = Math.floor(i / groupSize);
        const exact = (quantities[i] ?? 0) * ((group === 0 ? scale : bias)?.[0] ?? 0);
        expect(value).toBe(Math.fround(exact + ((group === 0 ? scale : bias)?.[1] ?? 0)));
      });
    }
  });

  it("GGUF's Q4_0 and Q8_0 blocks are exact", () => {
    const scales = halves.slice(0, 1);
    const q4 = new Float32Array(32);
    const nibbles = Array.from({ length: 32 }, (_, i) => (i * 5) % 16);
    const codes = Uint8Array.from(
      { length: 16 },
      (_, i) => (nibbles[2 * i] ?? 0) | ((nibbles[2 * i + 1] ?? 0) << 4),
    );
    unpackNumbers({ ...MLX, groupSize: 32, zeroPoint: 8, hasBiases: false }, { codes, scales }, q4);
    q4.forEach((value, i) => expect(value).toBe(((nibbles[i] ?? 0) - 8) * 0.0999755859375));
    const q8 = new Float32Array(32);
    const signed = Int8Array.from({ length: 32 }, (_, i) => i * 8 - 128);
    unpackNumbers(
      { ...MLX, kind: "int8", groupSize: 32, zeroPoint: 128, hasBiases: false },
      { codes: Uint8Array.from(signed, (q) => q + 128), scales },
      q8,
    );
    q8.forEach((value, i) => expect(value).toBe((signed[i] ?? 0) * 0.0999755859375));
  });

  it("a group whose scale its type cannot hold is refused", () => {
    const storage: Storage = { ...MLX, groupSize: 32 };
    const numbers = new Float32Array(32).fill(3e38).with(3, -3e38);
    const target = {
      codes: new Uint8Array(16),
      scales: new Uint16Array(1),
      biases: new Uint16Array(1),
    };
    expect(() => packNumbers(storage, numbers, target)).toThrow("numbers 0 to 31 cannot be held");
    expect(() => packNumbers(storage, numbers.fill(NaN), target)).toThrow("cannot be held");
  });
});
