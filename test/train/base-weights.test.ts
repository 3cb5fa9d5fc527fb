import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Driver } from "../../src/chip/chip.ts";
import { createAneEngine } from "../../src/engine/ane/index.ts";
import { createEngine } from "../../src/engine/create.ts";
import type { Engine } from "../../src/engine/engine.ts";
import type { DeviceRuntime } from "../../src/engine/gpu/device-runtime.ts";
import { createGpuEngine } from "../../src/engine/gpu/index.ts";
import { planMemory } from "../../src/plan/memory.ts";
import { exportModel } from "../../src/runs/export-model.ts";
import { readEvents } from "../../src/runs/event-log.ts";
import { memoryFit, planOf, resolveRun, trainedModel } from "../../src/train/index.ts";
import { resolveModelFolder, train } from "../../src/train/index.ts";
import type { TrainConfig, TrainSettings } from "../../src/train/index.ts";
import { placeBase } from "../../src/train/run/place-base.ts";
import { readModelConfig } from "../../src/model/index.ts";
import { buildDouble } from "../engine/ane/double-library.ts";
import type { DoubleName } from "../engine/ane/double-library.ts";

function nothingRuns(): never {
  throw new Error("nothing runs on this device");
}

/** A device for the GPU engine that has nothing. */
const NO_DEVICE: DeviceRuntime = {
  ...{ version: "none", hasHalf: false, allocate: nothingRuns, free: nothingRuns },
  ...{ upload: nothingRuns, download: nothingRuns, compile: nothingRuns, close: () => undefined },
};

const throughDouble = async (driver: Driver, library: DoubleName): Promise<Engine> =>
  await createAneEngine({ driver, library: buildDouble(library), chip: "m4", timeoutMs: 30_000 });

/** Engines that hold all weights themselves. */
const HOLDING: Readonly<Record<string, () => Promise<Engine>>> = {
  reference: () => createEngine("reference"),
  "sim:m4": () => createEngine("sim:m4", { threads: 1 }),
  gpu: () => Promise.resolve(createGpuEngine({ runtime: NO_DEVICE })),
  "ane through e5rt": () => throughDouble("e5rt", "e5rt"),
  "ane in memory": () => throughDouble("in-memory", "objc"),
};

describe("a base whose matrices stay in their file", () => {
  let folder: string;
  let base: string;
  let settings: TrainSettings;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "anecdote-base-"));
    const data = join(folder, "text.txt");
    writeFileSync(data, "one two three four five six ".repeat(60));
    const common = { ...{ data, engine: "cpu", threads: 1, max_seq_length: 16, batch_size: 2 } };
    const run = await train({
      ...{ ...common, tokenizer: "byte", layers: 2, hidden_size: 16, heads: 2, ffn_size: 32 },
      ...{ max_steps: 4, eval_steps: 0, save_steps: 0, output_dir: join(folder, "run") },
    });
    await run.finished();
    base = join(folder, "base");
    exportModel(resolveModelFolder(join(folder, "run")), base, { type: "bfloat16" });
    settings = {
      ...{ ...common, model: base, lora_rank: 4, learning_rate: 1e-2, max_steps: 4 },
      ...{ eval_steps: 0, save_steps: 0, gradient_accumulation_steps: 2 },
    };
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const finetune = async (name: string, more: TrainSettings) => {
    const output = join(folder, name);
    const run = await train({ ...settings, ...more, output_dir: output });
    await run.finished();
    const events = readEvents(join(output, "events.ndjson"));
    return {
      adapter: readFileSync(join(output, "checkpoint-4", "adapter_model.safetensors")),
      eval: events.findLast((event) => event.kind === "eval"),
      sample: events.find((event) => event.kind === "sample"),
      memory: events.find((event) => event.kind === "memory"),
    };
  };

  it.each([
    ["lora", { method: "lora" }],
    ["qlora", { method: "qlora", base_group_size: 16 }],
  ] as const)("%s gives the bits it gives with the base in memory", async (name, method) => {
    const samples = name === "lora" ? { final_samples: 1, sample_tokens: 4 } : {};
    const inMemory = await finetune(`${name}-memory`, {
      ...{ ...method, ...samples, base_weights: "memory" },
    });
    const fromFile = await finetune(`${name}-file`, {
      ...{ ...method, ...samples, base_weights: "file" },
    });
    expect(fromFile.adapter.equals(inMemory.adapter)).toBe(true);
    const { eval_loss: loss } = fromFile.eval as { eval_loss: number };
    expect(loss).toBe((inMemory.eval as { eval_loss: number }).eval_loss);
    expect(fromFile.sample).toMatchObject(
      inMemory.sample === undefined ? {} : { text: (inMemory.sample as { text: string }).text },
    );
    const bytes = ({ memory }: typeof fromFile): number =>
      (memory as { persistent_bytes: number }).persistent_bytes;
    expect(bytes(fromFile)).toBeLessThan(bytes(inMemory) - 4000);
  });

  it("stands in constants of a Neural Engine's programs where that is asked for, and goes on with the same bits", async () => {
    const constants = { engine: "sim:m4", method: "lora", base_weights: "constants" } as const;
    const whole = await finetune("constants", constants);
    const notices = readEvents(join(folder, "constants", "events.ndjson")).flatMap((event) =>
      event.kind === "notice" ? [event.message] : [],
    );
    expect(notices.join("\n")).toMatch(
      /\d+ of the base's \d+ uses of matrices are constants, \d+ programs \(asked for\); .* ms with inputs, .* ms with constants/,
    );
    await finetune("in-two", { ...constants, save_steps: 2, save_total_limit: 0 });
    rmSync(join(folder, "in-two", "checkpoint-4"), { recursive: true });
    writeFileSync(join(folder, "in-two", "latest"), "checkpoint-2\n");
    const resumed = await finetune("in-two", { ...constants, save_steps: 2, resume: true });
    expect(resumed.adapter.equals(whole.adapter)).toBe(true);
  });

  it.each([
    [{ engine: "cpu" }, /a Neural Engine's, and this is cpu/],
    [{ engine: "sim:m4", method: "qlora", base_group_size: 16 }, /packed base is unpacked/],
  ] as const)("is refused as constants where it cannot be, by name: %o", async (more, message) => {
    const refused = finetune("refused", { method: "lora", base_weights: "constants", ...more });
    await expect(refused).rejects.toThrow(message);
  });

  const configOf = (more: TrainSettings): TrainConfig =>
    resolveRun([{ origin: "test", values: { ...settings, method: "lora", ...more } }], {}).config;

  it("takes no memory for them, and what memory is too small for fits so", () => {
    const model = readModelConfig(base);
    const planned = (where: "memory" | "file") => {
      const config = configOf({ base_weights: where });
      return planMemory(planOf(config, trainedModel(config, model, base)).plan);
    };
    const [memory, file] = [planned("memory"), planned("file")];
    expect(memory.inFileByteLength).toBe(0);
    expect(file.persistent.weight + file.inFileByteLength).toBe(memory.persistent.weight);
    const config = configOf({});
    const wanted = memoryFit(config, trainedModel(config, model), 1);
    expect(wanted.fromFile?.byteLength).toBeLessThan(wanted.asked.byteLength);
  });

  it.each(Object.entries(HOLDING))(
    "is refused by the engine %s by name, with what to do, by a run's start and by the engine itself",
    async (_, create) => {
      const config = configOf({ base_weights: "file" });
      const { plan } = planOf(config, trainedModel(config, readModelConfig(base), base));
      const engine = await create();
      const { name } = engine.description;
      const refused = (code: string, words: string): unknown =>
        expect.objectContaining({ code, message: expect.stringContaining(words) as string });
      const start = (more: TrainSettings) => () =>
        placeBase(configOf(more), false, engine, () => undefined);
      expect(start({ base_weights: "file" })).toThrow(
        refused("train.base_weights", `--engine cpu and one process; here it is ${name}`),
      );
      expect(start({ base_weights: "file" })).toThrow(/Leave --base-weights out\./);
      await expect(engine.load(plan)).rejects.toEqual(
        refused("engine.stream", "Take --engine cpu, or --base-weights memory."),
      );
      // Where nobody asks for the file, memory is taken, whatever there is of it.
      expect(start({})()).toMatchObject({ base_weights: "memory" });
      await engine.close();
    },
  );

  it("is refused for dora, and for a model without a file", async () => {
    const refused = async (name: string, more: TrainSettings): Promise<string> => {
      try {
        await finetune(name, { base_weights: "file", method: "lora", ...more });
      } catch (error) {
        return String(error);
      }
      return "nothing was refused";
    };
    expect(await refused("dora", { method: "dora" })).toMatch(/must stand in memory/);
    const own = resolveModelFolder(join(folder, "lora-file"));
    expect(await refused("again", { model: own })).toMatch(/adapter beside its model/);
  });
});
