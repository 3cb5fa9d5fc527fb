import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createEngine } from "../../src/engine/create.ts";
import { initialiseWeight, modelOf, parseModelConfig } from "../../src/model/index.ts";
import { ExampleStore, exampleSplit } from "../../src/text/index.ts";
import type { Batch, Batches } from "../../src/text/index.ts";
import { buildTrainingPlan } from "../../src/train/step/step-plan.ts";
import { Trainer } from "../../src/train/step/trainer.ts";
import { evaluateModel, resolveModelFolder, train } from "../../src/train/index.ts";
import type { TrainEvent, TrainSettings } from "../../src/train/index.ts";
import { Random } from "../../src/util/random.ts";
import { GPT2_JSON, LLAMA_JSON } from "../model/configs.ts";

const S = 16;
const random = new Random(5);
const LENGTHS = [3, 17, 2, 9, 4, 12, 2, 7];
const EXAMPLES = new ExampleStore("made");
for (const length of LENGTHS) {
  EXAMPLES.add(
    {
      ids: Array.from({ length }, () => random.below(50)),
      isLearned: Array.from({ length }, (_, place) => place > length / 3),
    },
    S + 1,
  );
}

function batchesOf(batches: readonly Batch[], isPacked: boolean): Batches {
  let position = 0;
  return {
    isPacked,
    get state() {
      return position;
    },
    next: () => {
      const batch = batches[position++ % batches.length];
      if (batch === undefined) throw new Error("no batch");
      return batch;
    },
  };
}

/** Loss and norm of the gradients of one step over all examples, cut into batches of so many rows. */
async function oneStep(
  json: object,
  batchSize: number,
  isPacked: boolean,
): Promise<readonly [number, number, number]> {
  const engine = await createEngine("cpu", { threads: 1 });
  const split = exampleSplit(EXAMPLES, { contextLength: S, isPacked });
  const batches = [...split.evaluation({ batchSize })];
  const { plan, model } = buildTrainingPlan({
    model: modelOf(parseModelConfig(json)),
    ...{ batchSize, sequenceLength: S, isPacked, recompute: "full" },
  });
  const loaded = await engine.load(plan);
  for (const weight of model.parameters.weights)
    initialiseWeight(weight, 4, loaded.view(weight.name) as Float32Array);
  const trainer = new Trainer({
    loaded,
    batches: batchesOf(batches, isPacked),
    schedule: {
      ...{ kind: "constant", learningRate: 1e-3, minimumLearningRate: 0 },
      ...{ warmupSteps: 0, maxSteps: 2 },
    },
    accumulationSteps: batches.length,
    ...{ beta1: 0.9, beta2: 0.95, weightDecay: 0.1, maxGradientNorm: 1 },
  });
  const { loss, gradientNorm, tokenCount } = await trainer.update(() => undefined);
  await loaded.close();
  await engine.close();
  return [loss, gradientNorm, tokenCount];
}

describe("examples of very unequal lengths", () => {
  it.each([LLAMA_JSON, GPT2_JSON])(
    "of $model_type have one loss and one gradient in micro-batches, in one batch, and packed",
    async (json) => {
      const [loss, norm, count] = await oneStep(json, LENGTHS.length, false);
      for (const [batchSize, isPacked] of [
        [1, false],
        [3, false],
        [1, true],
        [2, true],
      ] as const) {
        const other = await oneStep(json, batchSize, isPacked);
        expect(other[2]).toBe(count);
        expect(Math.abs(other[0] / loss - 1)).toBeLessThan(1e-6);
        expect(Math.abs(other[1] / norm - 1)).toBeLessThan(1e-5);
      }
    },
  );
});

describe("a run on examples", () => {
  let folder: string;
  let base: string;
  let data: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "anecdote-examples-"));
    const text = join(folder, "text.txt");
    writeFileSync(text, "red green blue cat dog ".repeat(60));
    data = join(folder, "data");
    const rows = Array.from({ length: 40 }, (_, index) => {
      const word = ["red", "green", "blue"][index % 3] ?? "";
      return { prompt: `${word}? `, completion: `${word} ${word}`.repeat(1 + (index % 2)) };
    });
    writeFileSync(`${data}.jsonl`, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
    const run = await train({
      ...COMMON,
      ...{ data: text, tokenizer: "byte", layers: 2, hidden_size: 16, heads: 2, ffn_size: 32 },
      ...{ max_steps: 5, learning_rate: 1e-2, output_dir: join(folder, "base") },
    });
    await run.finished();
    base = resolveModelFolder(join(folder, "base"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const COMMON: TrainSettings = {
    ...{ max_seq_length: 32, batch_size: 2, eval_steps: 0, save_steps: 0 },
    ...{ engine: "cpu", threads: 1 },
  };
  const finetune = async (
    name: string,
    more: TrainSettings,
  ): Promise<readonly [TrainEvent, readonly TrainEvent[]]> => {
    const events: TrainEvent[] = [];
    const run = await train(
      {
        ...COMMON,
        ...{ model: base, data: `${data}.jsonl`, method: "lora", mask_prompt: true },
        ...{ max_steps: 6, learning_rate: 2e-2, output_dir: join(folder, name), ...more },
      },
      { onEvent: (event) => events.push(event) },
    );
    return [await run.finished(), events];
  };

  it("is judged alike whether rows are packed or not, by itself and afterwards", async () => {
    const [end, events] = await finetune("packed", {
      packing: true,
      gradient_accumulation_steps: 2,
    });
    expect(end.kind).toBe("end");
    const evaluation = events.find(({ kind }) => kind === "eval");
    const rows = { mask_prompt: true, prompt_field: "prompt" };
    const held = join(folder, "held.jsonl");
    const lines = readFileSync(`${data}.jsonl`, "utf8").trim().split("\n");
    writeFileSync(held, `${lines.slice(-4).join("\n")}\n`);
    const judged = await evaluateModel({
      ...{ model: join(folder, "packed"), data: held, rows, sequenceLength: 32 },
      ...{ engine: "cpu", threads: 1 },
    });
    expect(evaluation).toMatchObject({ eval_tokens: judged.tokens });
    const loss = evaluation?.kind === "eval" ? evaluation.eval_loss : Number.NaN;
    expect(Math.abs(judged.loss / loss - 1)).toBeLessThan(1e-5);
  });

  it.each([false, true])("goes on exactly where it was stopped (packed: %s)", async (packing) => {
    const more = { packing, lr_scheduler_type: "constant" } as const;
    await finetune(`whole-${packing}`, { ...more, save_steps: 3 });
    await finetune(`halves-${packing}`, { ...more, max_steps: 3 });
    const again = await train({
      output_dir: join(folder, `halves-${packing}`),
      ...{ resume: true, max_steps: 6 },
    });
    await again.finished();
    const [one, other] = ["whole", "halves"].map((name) =>
      readFileSync(join(folder, `${name}-${packing}`, "checkpoint-6", "adapter_model.safetensors")),
    );
    expect(one?.equals(other ?? Buffer.alloc(0))).toBe(true);
  });

  it("has as many steps as its epochs have examples", async () => {
    const [end] = await finetune("epochs", { epochs: 1 });
    // 36 of 40 examples, two a step.
    expect(end).toMatchObject({ kind: "end", step: 18 });
  });

  it("from nothing has a tokenizer that is made of the examples", async () => {
    const run = await train({
      ...COMMON,
      ...{ data: `${data}.jsonl`, tokenizer: "char", layers: 1, hidden_size: 8, heads: 2 },
      ...{ ffn_size: 16, max_steps: 2, output_dir: join(folder, "fresh") },
    });
    expect((await run.finished()).kind).toBe("end");
  });

  it("refuses to pack a stream", async () => {
    await expect(
      finetune("stream", { data: join(folder, "text.txt"), packing: true }),
    ).rejects.toThrow("--packing puts examples into rows, and the data are one stream of text");
  });
});
