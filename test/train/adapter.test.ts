import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { printProgram } from "../../src/mil/text/index.ts";
import { programOf } from "../../src/mil/builder.ts";
import { withGenerator } from "../../src/generate/index.ts";
import { readAdapter } from "../../src/model/adapters/adapter-files.ts";
import { fusedWeights, modelOfFolder, openModel } from "../../src/model/index.ts";
import { readEvents } from "../../src/runs/event-log.ts";
import { exportModel } from "../../src/runs/export-model.ts";
import { evaluateModel, resolveModelFolder, train } from "../../src/train/index.ts";
import type { TrainEvent, TrainSettings } from "../../src/train/index.ts";

const COMMON: TrainSettings = {
  max_seq_length: 16,
  batch_size: 4,
  eval_steps: 0,
  save_steps: 0,
  engine: "cpu",
  threads: 1,
};

describe("an adapter beside a model that was trained on another text", () => {
  let folder: string;
  let base: string;
  let data: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "anecdote-finetune-"));
    const first = join(folder, "first.txt");
    data = join(folder, "second.txt");
    writeFileSync(first, "red green blue cat dog ".repeat(100));
    writeFileSync(data, "one two three four five six ".repeat(100));
    const run = await train({
      ...COMMON,
      ...{ data: first, tokenizer: "byte", layers: 2, hidden_size: 16, heads: 2, ffn_size: 32 },
      ...{ max_steps: 20, learning_rate: 1e-2, output_dir: join(folder, "base") },
    });
    await run.finished();
    base = resolveModelFolder(join(folder, "base"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const weightsHash = (): string =>
    createHash("sha256")
      .update(readFileSync(join(base, "model.safetensors")))
      .digest("hex");
  const finetune = async (name: string, more: TrainSettings): Promise<TrainEvent> => {
    const run = await train({
      ...COMMON,
      ...{ model: base, data, method: "lora", lora_rank: 4, learning_rate: 2e-2, max_steps: 12 },
      ...{ output_dir: join(folder, name), ...more },
    });
    return await run.finished();
  };
  const lossOf = async (model: string, adapters: readonly string[] = []): Promise<number> => {
    const { loss } = await evaluateModel({
      ...{ model, data, sequenceLength: 16, engine: "cpu", threads: 1 },
      adapters: adapters.map((place) => ({ folder: place, weight: 1 })),
    });
    return loss;
  };

  it("lowers the loss, leaves the base's bytes alone, and equals the fused model", async () => {
    const before = weightsHash();
    const end = await finetune("lora", {});
    expect(end).toMatchObject({ kind: "end", adapter: join(folder, "lora", "checkpoint-12") });
    expect(weightsHash()).toBe(before);
    const adapter = join(folder, "lora", "checkpoint-12");
    const [plain, adapted, own] = [
      await lossOf(base),
      await lossOf(base, [adapter]),
      await lossOf(adapter),
    ];
    expect(adapted).toBeLessThan(plain - 0.1);
    expect(Math.abs(own - adapted)).toBeLessThan(1e-5);
    const fused = join(folder, "fused");
    exportModel(base, fused, { type: "float32", adapters: [{ folder: adapter, weight: 1 }] });
    const settings = { engine: "cpu", threads: 1 };
    const greedy = { maxTokens: 8, temperature: 0 };
    const write = async (place: string, adapters: readonly string[]): Promise<string> =>
      await withGenerator(
        place,
        { ...settings, adapters: adapters.map((one) => ({ folder: one, weight: 1 })) },
        async (generator) => (await generator.generate("one ", greedy)).text,
      );
    expect(await write(fused, [])).toBe(await write(base, [adapter]));
  });

  it("goes on exactly where it was stopped: weights, moments and data", async () => {
    await finetune("whole", { max_steps: 8, save_steps: 4, lr_scheduler_type: "constant" });
    await finetune("halves", { max_steps: 4, lr_scheduler_type: "constant" });
    const again = await train({
      output_dir: join(folder, "halves"),
      ...{ resume: true, max_steps: 8 },
    });
    await again.finished();
    for (const file of ["adapter_model.safetensors", "optimizer.safetensors"]) {
      const [one, other] = ["whole", "halves"].map((name) =>
        readFileSync(join(folder, name, "checkpoint-8", file)),
      );
      expect(one?.equals(other ?? Buffer.alloc(0)), file).toBe(true);
    }
  });

  it("of the method dora goes on exactly, keeps lengths, and equals the fused model", async () => {
    const dora = { method: "dora", lr_scheduler_type: "constant" } as const;
    await finetune("dora", { ...dora, max_steps: 8, save_steps: 4 });
    await finetune("dora-halves", { ...dora, max_steps: 4 });
    const again = await train({
      output_dir: join(folder, "dora-halves"),
      ...{ resume: true, max_steps: 8 },
    });
    await again.finished();
    const places = ["dora", "dora-halves"].map((name) => join(folder, name, "checkpoint-8"));
    for (const file of ["adapter_model.safetensors", "optimizer.safetensors"]) {
      const [one, other] = places.map((place) => readFileSync(join(place, file)));
      expect(one?.equals(other ?? Buffer.alloc(0)), file).toBe(true);
    }
    const [place = ""] = places;
    const [plain, own, beside] = [
      await lossOf(base),
      await lossOf(place),
      await lossOf(base, [place]),
    ];
    expect(own).toBeLessThan(plain - 0.1);
    expect(Math.abs(own - beside)).toBeLessThan(1e-5);
    const fused = join(folder, "fused-dora");
    exportModel(place, fused, { type: "float32" });
    // Nobody knows of a fused model how its texts began; test/conformance/adapters.test.ts compares logits.
    expect(Math.abs((await lossOf(fused)) - own)).toBeLessThan(1e-3);
    const half = [{ folder: place, weight: 0.5 }];
    expect(() => openModel(base, half)).toThrow("lengths of matrices do not add up");
  });

  it("with dropout draws the same masks after a stop, and none when it is used", async () => {
    const dropout = { lora_dropout: 0.3, gradient_accumulation_steps: 2 };
    const settings = { ...dropout, lr_scheduler_type: "constant" } as const;
    await finetune("drop", { ...settings, max_steps: 6, save_steps: 3 });
    await finetune("drop-halves", { ...settings, max_steps: 3 });
    const again = await train({
      output_dir: join(folder, "drop-halves"),
      ...{ resume: true, max_steps: 6 },
    });
    await again.finished();
    await finetune("drop-none", { ...settings, lora_dropout: 0, max_steps: 6 });
    const adapterOf = (name: string): Buffer =>
      readFileSync(join(folder, name, "checkpoint-6", "adapter_model.safetensors"));
    expect(adapterOf("drop").equals(adapterOf("drop-halves"))).toBe(true);
    expect(adapterOf("drop").equals(adapterOf("drop-none"))).toBe(false);
    const place = join(folder, "drop", "checkpoint-6");
    expect(readAdapter(place).dropout).toBe(0.3);
    expect(Math.abs((await lossOf(place)) - (await lossOf(base, [place])))).toBeLessThan(1e-5);
  });

  it("on a base of 4 bits loses little, and is fused onto the numbers it was trained beside", async () => {
    await finetune("lora-again", { max_steps: 12 });
    await finetune("qlora", { method: "qlora", base_group_size: 16 });
    const [dense, packed] = [
      await lossOf(join(folder, "lora-again", "checkpoint-12")),
      await lossOf(join(folder, "qlora", "checkpoint-12")),
    ];
    expect(Math.abs(packed / dense - 1)).toBeLessThan(0.02);
    const place = join(folder, "qlora", "checkpoint-12");
    const kinds = modelOfFolder(place).parameters.weights.map(({ storage }) => storage.kind);
    expect(kinds.filter((kind) => kind === "int4").length).toBe(14);
    const fused = join(folder, "fused-qlora");
    exportModel(place, fused, { type: "float32" });
    expect(Math.abs((await lossOf(fused)) - packed)).toBeLessThan(1e-3);
  });

  it.each(["4", "8"] as const)(
    "of the method dora on a base of %s bits has the losses of one on a base of the same numbers unpacked",
    async (bits) => {
      const common = {
        ...{ max_steps: 3, logging_steps: 1, lr_scheduler_type: "constant", warmup_steps: 0 },
        // A fused model does not know how the base's texts began.
        ...{ max_grad_norm: 0, begin_tokens: "none" },
      } satisfies TrainSettings;
      const packing = { base_bits: bits, base_group_size: 16 } as const;
      const told = async (name: string, more: TrainSettings) => {
        await finetune(name, { ...common, ...more });
        const events = readEvents(join(folder, name, "events.ndjson"));
        const losses = events.flatMap((event) => (event.kind === "step" ? [event.train_loss] : []));
        expect(losses.length).toBe(3);
        const end = events.findLast((event) => event.kind === "eval");
        return [...losses, ...(end === undefined ? [] : [end.eval_loss])];
      };
      // An adapter that learned nothing beside a packed base, fused: the base's numbers as they are unpacked.
      const place = (name: string): string => join(folder, name, "checkpoint-3");
      const still = { method: "qlora", learning_rate: 1e-30 } as const;
      await finetune(`still-${bits}`, { ...common, ...packing, ...still });
      const unpacked = join(folder, `unpacked-${bits}`);
      exportModel(place(`still-${bits}`), unpacked, { type: "float32" });
      const dora = { method: "dora" } as const;
      const packed = await told(`dora-${bits}`, { ...dora, ...packing, quantize_base: true });
      const kinds = modelOfFolder(place(`dora-${bits}`)).parameters.weights.map(
        ({ storage }) => storage.kind,
      );
      expect(kinds.filter((kind) => kind === `int${bits}`).length).toBe(14);
      const dense = await told(`dora-unpacked-${bits}`, { ...dora, model: unpacked });
      const furthest = (from: readonly number[]): number =>
        Math.max(...packed.map((loss, index) => Math.abs(loss - (from[index] ?? NaN))));
      expect(packed.length).toBe(4);
      expect(furthest(dense)).toBeLessThan(1e-5);
      // Of the numbers before they were packed it has others.
      if (bits === "4") expect(furthest(await told("dora-whole", dora))).toBeGreaterThan(1e-3);
    },
  );

  it("takes half the effect by half the weight, and adapters add up", () => {
    const adapter = join(folder, "lora", "checkpoint-12");
    const name = "model.layers.1.mlp.down_proj.weight";
    const numbers = (weights: readonly number[]) =>
      fusedWeights(
        openModel(
          base,
          weights.map((weight) => ({ folder: adapter, weight })),
        ),
      ).viewOf(name);
    const whole = numbers([1]);
    const halves = numbers([0.5, 0.5]);
    expect(
      Math.max(...whole.map((value, index) => Math.abs(value - (halves[index] ?? 0)))),
    ).toBeLessThan(1e-6);
    expect(whole).not.toEqual(numbers([0.5]));
  });

  it("of another model is refused with both shapes", async () => {
    const other = join(folder, "other");
    const run = await train({
      ...COMMON,
      ...{ data, tokenizer: "byte", layers: 1, hidden_size: 8, heads: 2, ffn_size: 16 },
      ...{ max_steps: 1, output_dir: other },
    });
    await run.finished();
    const adapter = join(folder, "lora", "checkpoint-12");
    expect(() => openModel(resolveModelFolder(other), [{ folder: adapter, weight: 1 }])).toThrow(
      /is of another model: its "model.layers.0.self_attn.q_proj" goes from 16 channels/,
    );
    await expect(finetune("again", { model: adapter })).rejects.toThrow("anecdote fuse");
  });

  it("has the programs of any other one of its rank, so that swapping them compiles nothing", () => {
    const places = ["lora", "lora-again"].map((name) => join(folder, name, "checkpoint-12"));
    const programs = places.map((place) => {
      const { model } = openModel(base, [{ folder: place, weight: 0.5 }]);
      return printProgram(
        programOf(model.functions.cachedBlock({ rowCount: 1, cacheLength: 64, dataType: "fp32" })),
      );
    });
    expect(programs[0]).toBe(programs[1]);
  });
});
