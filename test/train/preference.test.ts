import { createHash } from "node:crypto";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createEngine } from "../../src/engine/create.ts";
import { modelOf, parseModelConfig, withAdapter, adaptableModules } from "../../src/model/index.ts";
import { readEvents } from "../../src/runs/event-log.ts";
import { ExampleStore, pairSplit } from "../../src/text/index.ts";
import { buildTrainingPlan } from "../../src/train/step/step-plan.ts";
import { Trainer } from "../../src/train/step/trainer.ts";
import { checkData, resolveModelFolder, train } from "../../src/train/index.ts";
import type { TrainEvent, TrainSettings } from "../../src/train/index.ts";

/** Made by make_preference_fixture.py, which is written from the paper and knows of nothing here. */
interface Fixture {
  readonly settings: Readonly<
    Record<"rank" | "alpha" | "beta" | "learning_rate" | "adam_beta2", number>
  >;
  readonly config: object;
  readonly pairs: readonly (readonly [number[], number[], number[]])[];
  readonly weights: Readonly<Record<string, { readonly numbers: readonly number[] }>>;
  readonly steps: readonly {
    readonly loss: number;
    readonly rewards: readonly (readonly [number, number])[];
    readonly gradient_norm?: number;
  }[];
}

const FIXTURE = JSON.parse(
  readFileSync(new URL("../fixtures/preference.json", import.meta.url), "utf8"),
) as Fixture;

/** Pairs of the fixture; an answer's prompt is not learned. */
function pairsOf({ pairs }: Fixture): ExampleStore {
  const store = new ExampleStore("pairs");
  for (const [prompt, ...answers] of pairs) {
    for (const answer of answers) {
      const ids = [...prompt, ...answer];
      store.add({ ids, isLearned: ids.map((_, place) => place >= prompt.length) }, 13);
    }
  }
  return store;
}

async function trained(engineName: string, batchSize: number, updates = FIXTURE.steps.length - 1) {
  const { settings, config, weights } = FIXTURE;
  const base = modelOf(parseModelConfig(config));
  const model = withAdapter(base, {
    ...{ method: "lora", rank: settings.rank, alpha: settings.alpha, dropout: 0 },
    ...{ isRankStabilized: false, modules: adaptableModules(base), layers: [0, 1] },
  });
  const engine = await createEngine(engineName, { threads: 1 });
  const { plan } = buildTrainingPlan({
    ...{ model, batchSize: 2 * batchSize, sequenceLength: 12 },
    preference: { beta: settings.beta },
    adamw: { beta1: 0.9, beta2: settings.adam_beta2, epsilon: 1e-8 },
  });
  const loaded = await engine.load(plan);
  for (const { name } of model.parameters.weights)
    (loaded.view(name) as Float32Array).set(weights[name]?.numbers ?? []);
  const split = pairSplit(pairsOf(FIXTURE), { contextLength: 12 });
  const trainer = new Trainer({
    ...{ loaded, batches: split.batches({ batchSize, seed: 1 }), maxGradientNorm: 0 },
    accumulationSteps: Math.floor(FIXTURE.pairs.length / batchSize),
    schedule: {
      ...{ kind: "constant", learningRate: settings.learning_rate, minimumLearningRate: 0 },
      ...{ warmupSteps: 0, maxSteps: 100, decaySteps: 100 },
    },
    ...{ beta1: 0.9, beta2: settings.adam_beta2, weightDecay: 0 },
  });
  const before = await trainer.evaluate(split.evaluation({ batchSize }));
  const results = [];
  for (let update = 0; update < updates; update++)
    results.push(await trainer.update(() => undefined));
  const after = await trainer.evaluate(split.evaluation({ batchSize }));
  await loaded.close();
  await engine.close();
  return { before, results, after };
}

describe("pairs of answers, against NumPy", () => {
  it.each([
    ["cpu", 3],
    ["cpu", 1],
    ["reference", 3],
  ] as const)(
    "loss, rewards and gradient of every step on %s, batches of %i",
    async (engine, size) => {
      const { results } = await trained(engine, size);
      for (const [step, { loss, rewards, gradientNorm }] of results.entries()) {
        const expected = FIXTURE.steps[step];
        expect(loss).toBeCloseTo(expected?.loss ?? Number.NaN, 4);
        expect(Math.abs(gradientNorm / (expected?.gradient_norm ?? 0) - 1)).toBeLessThan(1e-4);
        const sum = (place: 0 | 1): number =>
          (expected?.rewards ?? []).reduce((total, pair) => total + pair[place], 0);
        expect(Math.abs((rewards?.chosen ?? 0) - sum(0))).toBeLessThan(1e-4);
        expect(Math.abs((rewards?.rejected ?? 0) - sum(1))).toBeLessThan(1e-4);
        expect(rewards?.count).toBe(3);
      }
    },
  );

  it("an evaluation counts each pair once, though its last batch is filled up", async () => {
    const { before } = await trained("cpu", 2, 0);
    expect(before.loss).toBeCloseTo(FIXTURE.steps[0]?.loss ?? Number.NaN, 4);
    const { after } = await trained("cpu", 3);
    expect(after.loss).toBeCloseTo(FIXTURE.steps.at(-1)?.loss ?? Number.NaN, 4);
    const right = FIXTURE.steps.at(-1)?.rewards.filter(([chosen, rejected]) => chosen > rejected);
    expect(after.rewards?.accuracy).toBeCloseTo((right?.length ?? 0) / 3, 6);
  });

  it("the Neural Engine's arithmetic comes near, sums over answers staying on the host", async () => {
    const { before, after } = await trained("sim:m4", 3);
    expect(Math.abs(before.loss - (FIXTURE.steps[0]?.loss ?? 0))).toBeLessThan(0.02);
    expect(Math.abs(after.loss - (FIXTURE.steps.at(-1)?.loss ?? 0))).toBeLessThan(0.05);
  });

  it("is refused for rows that are no pairs, and for a model without an adapter", () => {
    const model = modelOf(parseModelConfig(FIXTURE.config));
    const options = { model, sequenceLength: 4, preference: { beta: 0.1 } };
    expect(() => buildTrainingPlan({ ...options, batchSize: 3 })).toThrow(/3 rows are not made of/);
    expect(() => buildTrainingPlan({ ...options, batchSize: 2 })).toThrow(/without its adapter/);
  });
});

describe("--method dpo", () => {
  let folder: string;
  let base: string;
  let data: string;
  const settings: TrainSettings = {
    ...{ engine: "cpu", threads: 1, max_seq_length: 24, eval_steps: 0, save_steps: 0 },
  };
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "anecdote-dpo-"));
    const text = join(folder, "text.txt");
    writeFileSync(text, "say: yes. say: no. say: maybe. ".repeat(60));
    const run = await train({
      ...{ ...settings, data: text, tokenizer: "byte", batch_size: 4, max_seq_length: 32 },
      ...{ layers: 2, hidden_size: 16, heads: 2, ffn_size: 32, max_steps: 12, learning_rate: 1e-2 },
      output_dir: join(folder, "base"),
    });
    await run.finished();
    base = resolveModelFolder(join(folder, "base"));
    data = join(folder, "pairs.jsonl");
    const rows = Array.from({ length: 12 }, (_, number) => ({
      prompt: `say ${number}: `,
      chosen: "yes.",
      rejected: "no.",
    }));
    writeFileSync(data, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const finetune = async (name: string, more: TrainSettings = {}) => {
    const output = join(folder, name);
    const run = await train({
      ...{ ...settings, model: base, data, method: "dpo", lora_rank: 4, learning_rate: 1e-2 },
      ...{ weight_decay: 0, max_steps: 6, batch_size: 2, output_dir: output },
      ...{ logging_steps: 2, save_steps: 3, save_total_limit: 0 },
      ...{ eval_on_start: true, ...more },
    });
    const end = await run.finished();
    return { end, output, events: readEvents(join(output, "events.ndjson")) };
  };
  const last = (events: readonly TrainEvent[], kind: "eval" | "step") =>
    events.findLast((event) => event.kind === kind) as Extract<
      TrainEvent,
      { kind: "eval" | "step" }
    >;

  it("widens the margin, tells rewards, and leaves the base's bytes as they were", async () => {
    const hash = (): string =>
      createHash("sha256")
        .update(readFileSync(join(base, "model.safetensors")))
        .digest("hex");
    const before = hash();
    const { end, events } = await finetune("plain");
    const first = events.find((event) => event.kind === "eval");
    // An adapter that has learned nothing is the reference.
    expect(first).toMatchObject({ reward_margin: 0, reward_accuracy: 0 });
    expect(first?.kind === "eval" && first.eval_loss).toBeCloseTo(Math.log(2), 5);
    expect(first).not.toHaveProperty("perplexity");
    expect(last(events, "eval").reward_margin).toBeGreaterThan(0.01);
    expect(last(events, "eval").reward_accuracy).toBe(1);
    expect(last(events, "step").chosen_reward).toBeGreaterThan(
      last(events, "step").rejected_reward ?? Infinity,
    );
    expect(end).toMatchObject({ kind: "end", adapter: join(folder, "plain", "checkpoint-6") });
    expect(hash()).toBe(before);
  });

  it("goes on to the bit where it was stopped, reports included", async () => {
    const whole = join(folder, "plain");
    const part = join(folder, "part");
    cpSync(whole, part, { recursive: true });
    rmSync(join(part, "checkpoint-6"), { recursive: true });
    rmSync(join(part, "best.json"), { force: true });
    const resumed = await train({ output_dir: part, resume: true, max_steps: 6 });
    await resumed.finished();
    for (const file of ["adapter_model.safetensors", "optimizer.safetensors"]) {
      const bytes = (output: string): Buffer => readFileSync(join(output, "checkpoint-6", file));
      expect(bytes(part).equals(bytes(whole)), file).toBe(true);
    }
    const told = (output: string) => {
      const { train_loss, reward_margin } = readEvents(join(output, "events.ndjson")).findLast(
        (event) => event.kind === "step" && event.step === 4,
      ) as Extract<TrainEvent, { kind: "step" }>;
      return { train_loss, reward_margin };
    };
    expect(told(part)).toEqual(told(whole));
  });

  it("takes dora as the adapter, and a base of four bits", async () => {
    const { events } = await finetune("dora", {
      ...{ max_steps: 3, eval_on_start: false, save_steps: 0 },
      ...{ dpo_adapter: "dora", quantize_base: true, base_group_size: 16 },
    });
    expect(last(events, "eval").reward_margin).toBeGreaterThan(0);
  });

  it("tells what is cut and left out, and shows both answers of a pair", async () => {
    const mixed = join(folder, "mixed.jsonl");
    const rows = [
      { prompt: "say: ", chosen: "yes.", rejected: "no." },
      { prompt: "say: ", chosen: "yes, and much more than a row has room for", rejected: "no." },
      { prompt: "a prompt that is longer than the row ", chosen: "yes.", rejected: "no." },
      { prompt: "say: ", chosen: "yes.", rejected: "yes." },
    ];
    writeFileSync(mixed, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
    const { shown, splits } = checkData({ data: mixed, model: base, sequenceLength: 24 });
    expect(splits[0]).toMatchObject({ rows: 4, examples: 2 });
    expect(splits[0]?.truncated).toEqual([expect.stringMatching(/row 2, chosen$/)]);
    expect(splits[0]?.dropped.map(({ reason }) => reason)).toEqual(["cut off", "same"]);
    expect(shown.slice(0, 2).map(({ where }) => where.split(", ").at(-1))).toEqual([
      "chosen",
      "rejected",
    ]);
    expect(shown[0]?.pieces[0]).toEqual({ text: "say: ", learned: false });
    const { events } = await finetune("mixed", {
      ...{ data: mixed, max_steps: 1, validation_fraction: 0, eval_on_start: false },
    });
    const notes = events.flatMap((event) => (event.kind === "notice" ? [event.message] : []));
    expect(notes.join("\n")).toMatch(/1 of 2 train examples are longer than 24 tokens/);
    expect(notes.join("\n")).toMatch(/row 4 was left out: it has two answers that are the same/);
  });

  it("refuses other data, and other methods refuse pairs", async () => {
    const plain = join(folder, "plain.jsonl");
    writeFileSync(plain, '{"prompt": "a", "completion": "b"}\n');
    await expect(finetune("other", { data: plain })).rejects.toThrow(
      /learns from pairs of answers.*completions/,
    );
    await expect(finetune("not", { method: "lora" })).rejects.toThrow(/nothing but --method dpo/);
  });
});
