import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createEngine } from "../../src/engine/create.ts";
import {
  fillWeights,
  frozen,
  loadWeights,
  modelOf,
  onlyLastBlocks,
  openSafetensors,
  parameterCount,
  parseModelConfig,
  saveWeights,
  trainableWeights,
  withOrigin,
} from "../../src/model/index.ts";
import type { Model, Parameters } from "../../src/model/index.ts";
import { matrixWeight, ZEROS } from "../../src/model/weights.ts";
import { planMemory } from "../../src/plan/memory.ts";
import { adamwProgram } from "../../src/train/step/adamw.ts";
import { buildTrainingPlan, DEFAULT_ADAMW } from "../../src/train/step/step-plan.ts";
import type { TrainingPlan } from "../../src/train/step/step-plan.ts";
import { restoreWeights, runBuffers, runWriters } from "../../src/train/run/checkpoint-contents.ts";
import { openFileSource } from "../../src/util/byte-source.ts";
import { GPT2_JSON, LLAMA_JSON } from "../model/configs.ts";

const LLAMA = parseModelConfig({
  ...LLAMA_JSON,
  num_hidden_layers: 4,
  max_position_embeddings: 32,
});

function build(model: Model): TrainingPlan {
  return buildTrainingPlan({ model, batchSize: 2, sequenceLength: 16 });
}

describe("a model of which only the last block is trained", () => {
  const whole = modelOf(LLAMA);
  const last = onlyLastBlocks(whole, 1);
  const weightBytes = 4 * parameterCount(whole.parameters.weights);
  const trainedBytes = 4 * parameterCount(trainableWeights(last.parameters));

  it("has gradients and moments of that block alone", () => {
    const { plan } = build(last);
    const names = trainableWeights(last.parameters).map(({ name }) => name);
    expect(names.every((name) => name.startsWith("model.layers.3."))).toBe(true);
    const of = (role: string): string[] =>
      [...plan.buffers.values()].filter((spec) => spec.role === role).map(({ name }) => name);
    expect(of("gradient").sort()).toEqual(names.map((name) => `gradient:${name}`).sort());
    expect(of("optimizer").length).toBe(2 * names.length);
    expect(of("tap").every((name) => name.startsWith("tap:block.3:"))).toBe(true);
    const labels = (plan.sections.get("forward_backward") ?? []).map(({ label }) => label);
    expect(labels.filter((label) => label.startsWith("backward"))).toEqual(["backward block.3"]);
  });

  it("takes the memory that the plan says: four bytes a frozen weight, sixteen a trained one, taps of one layer", async () => {
    const engine = await createEngine("cpu", { threads: 1 });
    const bytes: { planned: number; held: number; transient: number }[] = [];
    for (const model of [whole, last]) {
      const { plan } = build(model);
      const { persistent, persistentByteLength, transientByteLength } = planMemory(plan);
      expect(persistent.weight).toBe(weightBytes);
      const trained = 4 * parameterCount(trainableWeights(model.parameters));
      expect(persistent.gradient).toBe(trained);
      expect(persistent.optimizer).toBe(2 * trained);
      const loaded = await engine.load(plan);
      const held = loaded.memory().persistentBytes;
      bytes.push({ planned: persistentByteLength, held, transient: transientByteLength });
      await loaded.close();
    }
    const [all, one] = bytes;
    if (all === undefined || one === undefined) throw new Error("two plans");
    expect(all.planned - one.planned).toBe(3 * (weightBytes - trainedBytes));
    expect(all.held - one.held).toBe(all.planned - one.planned);
    expect(one.transient).toBeLessThan(all.transient / 2);
    await engine.close();
  });

  it("is refused with nothing left to train, and with more layers than there are", () => {
    expect(() => build(frozen(whole))).toThrow("every weight of the model is frozen");
    expect(() => onlyLastBlocks(whole, 5)).toThrow("the model has 4");
    expect(() => onlyLastBlocks(whole, 0)).toThrow("the model has 4");
  });

  it("has a program for each set of trained weights, and no more", () => {
    const mixed = frozen(
      whole,
      ({ name }) =>
        name.includes("layers.1.mlp") || name.includes("embed") || name === "lm_head.weight",
    );
    const { plan } = build(mixed);
    const of = (start: string): string[] =>
      [...plan.programs.keys()].filter((name) => name.startsWith(start));
    // Layer 0 passes no gradient on, layer 1 has no gradients of its MLP, 2 and 3 have all.
    expect(of("block_backward").length).toBe(3);
    expect(of("adamw_block").length).toBe(2);
    expect(of("gradient_norm_block").length).toBe(2);
    expect(of("adamw_embed")).toEqual([]);
  });
});

describe("decay", () => {
  it("is a fact of its own: a matrix that begins at zero decays", () => {
    const weight = matrixWeight("", "lora_b.weight", [3, 2], ZEROS);
    expect(weight.decays).toBe(true);
    const { kernel } = adamwProgram("adamw", [weight], DEFAULT_ADAMW);
    expect(kernel).toMatchObject({ parameters: [{ decay: true }] });
  });
});

describe("a checkpoint of a partly frozen model", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "anecdote-frozen-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  type Numbers = ReadonlyMap<string, Float32Array>;

  function memoryOf({ plan }: TrainingPlan): Numbers {
    return new Map(
      [...plan.buffers.values()].flatMap(({ name, type, role }) =>
        role === "weight" || role === "optimizer"
          ? [[name, new Float32Array(type.shape.reduce<number>((n, size) => n * Number(size), 1))]]
          : [],
      ),
    );
  }

  const viewOf =
    (numbers: Numbers) =>
    (name: string): Float32Array => {
      const view = numbers.get(name);
      if (view === undefined) throw new Error(`no buffer ${name}`);
      return view;
    };

  function save(model: Model, parameters: Parameters, numbers: Numbers): void {
    const files = { model: model.config, parameters, tokenizer: undefined };
    for (const write of runWriters(files, viewOf(numbers), {})) write(folder);
  }

  it.each([
    ["drawn", LLAMA, "model.layers.3."],
    ["read from a folder", LLAMA, "model.layers.3."],
    ["read from a folder", parseModelConfig(GPT2_JSON), "transformer.wpe."],
  ])("whose frozen weights were %s restores every number of %#", (where, config, trained) => {
    let model = withOrigin(modelOf(config), { kind: "drawn", seed: 5 });
    const base = join(folder, "base");
    if (where !== "drawn") {
      const numbers = memoryOf(build(model));
      fillWeights(model, viewOf(numbers));
      saveWeights(base, model.parameters, viewOf(numbers));
      model = withOrigin(model, { kind: "file", folder: base });
    }
    model = frozen(model, ({ name }) => !name.startsWith(trained));
    const training = build(model);
    const numbers = memoryOf(training);
    restoreWeights(model, undefined, viewOf(numbers));
    const kept = runBuffers(model.parameters);
    expect(kept.every((name) => name.includes(trained))).toBe(true);
    for (const [number, name] of kept.entries())
      viewOf(numbers)(name).forEach((_, i, view) => (view[i] = number + i / 7));
    const before = where === "drawn" ? undefined : readFileSync(join(base, "model.safetensors"));
    save(model, model.parameters, numbers);

    const stored = openFileSource(join(folder, "trained.safetensors"));
    expect([...openSafetensors(stored).entries.keys()].sort()).toEqual(
      trainableWeights(model.parameters)
        .map(({ name }) => name)
        .sort(),
    );
    stored.close();
    expect(existsSync(join(folder, "model.safetensors"))).toBe(false);
    const again = memoryOf(training);
    restoreWeights(model, folder, viewOf(again));
    expect(again).toEqual(numbers);
    // Whoever only reads the model finds all of its weights as well.
    const read = memoryOf(training);
    loadWeights(folder, modelOf(config), viewOf(read));
    for (const { name } of model.parameters.weights)
      expect(viewOf(read)(name)).toEqual(viewOf(numbers)(name));
    if (before !== undefined)
      expect(readFileSync(join(base, "model.safetensors")).equals(before)).toBe(true);
  });

  it("says what is wrong with its base", () => {
    const model = onlyLastBlocks(withOrigin(modelOf(LLAMA), { kind: "drawn", seed: 5 }), 1);
    const numbers = memoryOf(build(model));
    save(model, model.parameters, numbers);
    const path = join(folder, "base.json");
    const base = JSON.parse(readFileSync(path, "utf8")) as { frozen: { origin: object }[] };
    const load = (): unknown => loadWeights(folder, model, viewOf(numbers));
    const write = (json: object): void => writeFileSync(path, JSON.stringify(json));

    write({ ...base, version: 3 });
    expect(load).toThrow("version");
    for (const group of base.frozen) group.origin = { kind: "file", folder };
    write(base);
    expect(load).toThrow("names itself");
    const gone = join(folder, "gone");
    for (const group of base.frozen) group.origin = { kind: "file", folder: gone };
    write(base);
    expect(load).toThrow(`${gone} has neither model.safetensors nor`);
  });

  it("is refused where a frozen weight is only shared with another plan", () => {
    const model = onlyLastBlocks(withOrigin(modelOf(LLAMA), { kind: "shared" }), 1);
    const numbers = memoryOf(build(model));
    expect(() => save(model, model.parameters, numbers)).toThrow("shared with another plan");
  });
});
